"""Examine a model: how each recurrent layer runs, types, sizes, speed, and what to change."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask
from speechrnn.layers.graph import layers_of
from speechrnn.layers.recurrent import sides
from speechrnn.training.diagnostics.options import TimingOptions
from speechrnn.training.diagnostics.paths import LayerPath, layer_paths, recurrent_layers

_REPEATS = 3
_TIMED = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)
"""Cells whose steps are vectors, as many numbers as their kernels have rows."""


@dataclass(frozen=True)
class LayerReport:
    """One recurrent layer."""

    path: LayerPath
    """How it runs, and why."""
    dtype: str
    """Type of its computations."""
    parameters: int
    """Number of its weights."""
    frames_per_second: float | None
    """Frames of a batch that it processes per second, forward pass only; None for cells other than those of LSTM, GRU
    and SimpleRNN, or if another layer runs its cell."""


@dataclass(frozen=True)
class ModelReport:
    """The result of `examine`."""

    name: str
    """Name of the model."""
    parameters: int
    """Weights of the whole model."""
    device: str
    """"GPU" or "CPU"."""
    output_dtype: str
    """Type of the output."""
    masks: str
    """Source of the recurrent layers' masks, and what it means for cuDNN."""
    layers: tuple[LayerReport, ...]
    """The recurrent layers, in order."""
    batch_size: int
    """Rows of the batches that were timed."""
    frames: int
    """Frames of each row."""
    advice: tuple[str, ...]
    """What to change; empty if nothing."""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to change."""
        return not self.advice

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        rows = [
            {**asdict(layer.path), **{k: v for k, v in vars(layer).items() if k != "path"}} for layer in self.layers
        ]
        return {**vars(self), "ok": self.ok, "layers": rows}


@options_as_keywords(TimingOptions)
def examine(  # noqa: D417 - the decorator adds the options
    model: keras.Model, *, options: TimingOptions, batch_size: int = 16
) -> ModelReport:
    """Examine a model.

    Args:
        model: Any Keras model.
        batch_size: Rows of the batches that its recurrent layers are timed with.
    """
    frames = options.frames
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size=}.")
    layers = tuple(
        LayerReport(path, sides(layer)[0].compute_dtype, layer.count_params(), _speed(layer, batch_size, frames))
        for path, layer in zip(layer_paths(model), recurrent_layers(model).values(), strict=True)
    )
    output = _output_dtype(model)
    advice = [f"{layer.path.layer}: {text}" for layer in layers for text in layer.path.advice]
    if output not in ("float32", "float64", "unknown"):
        advice.append(f'the output is {output}: give the last layer dtype="float32", whatever the policy of the others')
    masks, masks_advice = _masks(model)
    if masks_advice:
        advice.append(masks_advice)
    return ModelReport(
        name=model.name,
        parameters=model.count_params(),
        device="GPU" if tf.config.list_logical_devices("GPU") else "CPU",
        output_dtype=output,
        masks=masks,
        layers=layers,
        batch_size=batch_size,
        frames=frames,
        advice=tuple(advice),
    )


def _output_dtype(model: keras.Model) -> str:
    network = getattr(model, "network", model)
    outputs = getattr(network, "outputs", None)
    return str(keras.backend.standardize_dtype(outputs[0].dtype)) if outputs else "unknown"


def _masks(model: keras.Model) -> tuple[str, str | None]:
    """The source of masks, and what to change about it."""
    kinds = {type(layer) for layer in layers_of(model)}
    if keras.layers.Masking in kinds:
        return "Masking: from values, so that cuDNN may meet one with holes", (
            "masks come from keras.layers.Masking, and a silent frame within a row keeps cuDNN away: "
            "use speechrnn.layers.LengthMask"
        )
    if LengthMask in kinds:
        return "LengthMask: right-padded, as cuDNN needs", None
    return "none within the model", None


def _speed(layer: keras.layers.Layer, batch_size: int, frames: int) -> float | None:
    """Frames per second through one layer, the best of a few runs; a copy is timed, so that no state changes."""
    inner = sides(layer)[0]
    if not (layer.built and isinstance(inner.cell, _TIMED)) or getattr(inner, "stepped_by", None):
        return None
    kernel = inner.cell.kernel
    config = layer.get_config()
    (config["layer"]["config"] if inner is not layer else config).update(stateful=False)
    if inner is not layer and config.get("backward_layer"):
        config["backward_layer"]["config"].update(stateful=False)
    copy = type(layer).from_config(config)
    x = np.random.default_rng(0).normal(size=(batch_size, frames, kernel.shape[0])).astype("float32")
    copy.build(x.shape)
    forward = tf.function(lambda values, mask: copy(values, mask=mask, training=False))
    inputs = tf.cast(x, inner.compute_dtype), tf.ones((batch_size, frames), tf.bool)
    tf.nest.map_structure(lambda v: v.numpy(), forward(*inputs))  # compiles
    seconds = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        tf.nest.map_structure(lambda v: v.numpy(), forward(*inputs))
        seconds.append(time.perf_counter() - started)
    return batch_size * frames / min(seconds)
