"""A model as a SavedModel for TensorFlow Serving: TensorFlow's built-in operations only."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from speechrnn.export.exporter import Exporter
from speechrnn.layers.recurrent import plain_loops
from speechrnn.models.bundle import SignalBundle


def write(exporter: Exporter, path: str, *, int8: bool, streaming: bool, overwrite: bool) -> None:
    """Write the folder of an exporter's model; see `write_savedmodel`.

    Raises:
        ValueError: 8 bits or a step are asked for.
    """
    if int8 or streaming:
        raise ValueError(f"`int8` and `streaming` are not for savedmodel. Received: {int8=}, {streaming=}.")
    write_savedmodel(exporter.model, path, overwrite=overwrite)


def write_savedmodel(model: SignalBundle, folder: str, *, overwrite: bool = False) -> str:
    """Write a folder that TensorFlow Serving loads.

    Its signature `serving_default` takes `signal` float32 `(batch, samples[, channels])` and `length` int32 `(batch,)`,
    and gives `logits` float32 `(batch, frames, vocabulary)`, or over the classes of a classifier, and `frames` int32
    `(batch,)`; of a forecaster `forecast` float32 `(batch, horizon, channels, quantiles)`. Recurrent layers are
    TensorFlow's plain loops: no cuDNN operation is baked in, even on a machine with a GPU, and nothing needs XLA.

    Raises:
        FileExistsError: The folder is there and `overwrite` is false.
        ValueError: It is there and no SavedModel, so that it is not replaced.
    """
    target = Path(folder)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{folder}: exists already. Pass overwrite=True (--overwrite) to replace it.")
    if target.exists() and not (target / "saved_model.pb").exists():
        raise ValueError(f"{folder}: is there and is no SavedModel, so it is not replaced. Give another name.")
    _hide_gpus()
    bundle = model
    shape = (None, None) if bundle.channels is None else (None, None, bundle.channels)

    @tf.function(
        input_signature=[
            tf.TensorSpec(shape, tf.float32, "signal"),
            tf.TensorSpec((None,), tf.int32, "length"),
        ]
    )
    def serve(signal: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        return bundle.served({"signal": signal, "length": length})

    module = tf.Module()
    module.variables_of_model = [variable.value for variable in bundle.variables]
    module.serve = serve
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made, plain_loops():
        tf.saved_model.save(module, made, signatures={"serving_default": serve})
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(made, target)
    return folder


def _hide_gpus() -> None:
    """Let this process trace for a CPU; where TensorFlow has begun to use a GPU it is too late, and harmless."""
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:  # the layers run plain loops all the same
        return
