"""A one-directional recogniser for small devices: one step as a LiteRT (TensorFlow Lite) file, built-in operators only.

The step is that of `speechrnn.export.onnx.steps` with a block of one frame of logits, so that every shape is fixed.
What the runtime must know stands in a zip archive behind the model, as TensorFlow Lite's own metadata do;
interpreters do not look there.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import keras
import tensorflow as tf

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.network import write_network
from speechrnn.export.onnx.registry import Tensor, Writer
from speechrnn.export.onnx.steps import RECURRENT, carried_samples, check_streaming, look_ahead
from speechrnn.features import spectral
from speechrnn.features.layers import MFCC, LogMel
from speechrnn.layers import LookAhead, ZeroPadding
from speechrnn.models.bundle import SignalBundle
from speechrnn.runtime.litert import METADATA


def litert_bytes(model: SignalBundle, exporter: Exporter, *, int8: bool = False) -> bytes:
    """The step as the content of a `.tflite` file: inputs `samples`, `frames` and the states, outputs `logits` and the
    next states, as `speechrnn.export.onnx.steps.step_graph` has them.
    """
    check_streaming(model)
    shapes: dict[str, list[int]] = {}
    _step(model, shapes, {}, tf.zeros((1, model.stride * model.features.hop)), tf.constant([model.stride]))

    def step(samples: tf.Tensor, frames: tf.Tensor, **states: tf.Tensor) -> dict[str, tf.Tensor]:
        return _step(model, {}, states, samples, frames)

    function = tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec((1, model.stride * model.features.hop), tf.float32, name="samples"),
        tf.TensorSpec((1,), tf.int32, name="frames"),
        **{name: tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes.items()},
    )
    written = _converted(function, model.variables, int8)
    about = exporter.metadata(
        kind=f"streaming {model.kind}",
        precision="int8" if int8 else "float32",
        states=shapes,
        look_ahead=look_ahead(model),
        digest=hashlib.sha256(written).hexdigest(),
    )
    behind = io.BytesIO()
    with zipfile.ZipFile(behind, "w") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(about))
    return written + behind.getvalue()


def _converted(function: Any, variables: Any, int8: bool) -> bytes:
    holder = tf.Module()
    holder.kept = [getattr(variable, "value", variable) for variable in variables]
    with tempfile.TemporaryDirectory() as folder:  # by way of a SavedModel, so that inputs and outputs keep their names
        tf.saved_model.save(holder, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def _step(
    model: SignalBundle,
    shapes: dict[str, list[int]],
    states: dict[str, tf.Tensor],
    samples: tf.Tensor,
    frames: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """One block through features and network; states that are not given begin as zeros, and their shapes are noted."""
    walk = _Walk(shapes, states)
    features = walk.features(model.features, samples, frames)
    walk.values["features"], walk.values["frames"] = features, frames
    (name,) = write_network(walk, model.network, ["features", "frames"], find=walk.writer_of)  # type: ignore[arg-type]
    return {"logits": walk.values[name], **{f"next_{key}": value for key, value in walk.following.items()}}


class _Walk:
    """Runs a network's operations on one block; it stands where an ONNX graph is written, with values behind names."""

    def __init__(self, shapes: dict[str, list[int]], states: dict[str, tf.Tensor]) -> None:
        self.shapes, self.states = shapes, states
        self.values: dict[str, tf.Tensor] = {}
        self.following: dict[str, tf.Tensor] = {}
        self.delayed = False

    def scope(self, name: str) -> Any:
        """No names are made here."""
        return nullcontext()

    def state(self, name: str, *shape: int) -> tf.Tensor:
        self.shapes[name] = list(shape)
        return self.states.get(name, tf.zeros(shape))

    def features(self, layer: LogMel, samples: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        signal = samples
        carried = carried_samples(layer)
        if carried:
            signal = tf.concat([self.state("carry", 1, carried), samples], axis=1)
            self.following["carry"] = signal[:, -carried:]
        if layer.preemphasis:
            signal = signal[:, 1:] - layer.preemphasis * signal[:, :-1]
        power = spectral.power_spectrum(signal, window=layer.window, hop=layer.hop, fft_length=layer.fft_length)
        # A product element by element: a matrix product with 8-bit weights would round the spectrum to 8 bits too.
        mel = tf.reduce_sum(power[..., tf.newaxis] * layer._filterbank(), axis=-2)
        values = spectral.log(mel, floor=layer.floor)
        if isinstance(layer, MFCC):
            values = spectral.mfcc(values, layer.num_coefficients)
        if layer.normalize == "global":
            values = spectral.normalize(values, layer.mean, layer.std, min_std=layer.min_std)
        return spectral.mask_frames(values, frames)

    def writer_of(self, operation: Any) -> Writer:
        """How an operation is run."""
        run: Callable[..., tf.Tensor] = self._call
        if isinstance(operation, RECURRENT):
            run = self._recurrent
        elif isinstance(operation, keras.layers.ZeroPadding2D):
            run = self._frame_before
        elif isinstance(operation, LookAhead):
            run = self._look_ahead
        elif self.delayed and isinstance(operation, ZeroPadding):  # its mask is of the frame that came now
            run = self._values
        needs_mask = isinstance(operation, ZeroPadding)
        return Writer(self._named(run), ("training",) if needs_mask else ("training", "mask"))

    def _named(self, run: Callable[..., tf.Tensor]) -> Callable[..., str]:
        def write(graph: Any, operation: Any, *arguments: Any, **options: Any) -> str:
            name = f"value_{len(self.values)}"
            given = [self._value(argument) for argument in arguments]
            options = {key: self._value(value) for key, value in options.items()}
            self.values[name] = run(operation, *given, **options)
            return name

        return write

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            return self.values[argument.name]
        if isinstance(argument, list):
            return [self._value(entry) for entry in argument]
        return argument

    def _call(self, operation: Any, *arguments: Any, **options: Any) -> tf.Tensor:
        return operation(*arguments, **options)

    def _values(self, operation: Any, values: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        return values

    def _recurrent(self, layer: Any, sequence: tf.Tensor) -> tf.Tensor:
        parts = ("output", "cell")[: 2 if isinstance(layer, keras.layers.LSTM) else 1]
        names = [f"{layer.name}_{part}" for part in parts]
        before = [self.state(name, 1, 1, layer.units)[0] for name in names]
        output, after = layer.cell(sequence[:, 0], before, training=False)
        after = after if isinstance(after, list | tuple) else [after]
        self.following.update({name: value[tf.newaxis] for name, value in zip(names, after, strict=True)})
        return output[:, tf.newaxis]

    def _frame_before(self, layer: Any, values: tf.Tensor) -> tf.Tensor:
        _, _, size, channels = values.shape
        before = self.state(f"{layer.name}_frame", 1, 1, size, channels)
        self.following[f"{layer.name}_frame"] = values[:, -1:]
        return tf.pad(tf.concat([before, values], axis=1), [[0, 0], [0, 0], layer.padding[1], [0, 0]])

    def _look_ahead(self, layer: LookAhead, values: tf.Tensor) -> tf.Tensor:
        self.delayed = True
        joined = tf.concat([self.state(f"{layer.name}_frames", 1, layer.frames, values.shape[-1]), values], axis=1)
        self.following[f"{layer.name}_frames"] = joined[:, -layer.frames :]
        return tf.reduce_sum(joined * layer.kernel, axis=1, keepdims=True)
