"""Export a model to a SavedModel for TensorFlow Serving, with TensorFlow's built-in operations only."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import tensorflow as tf

from speechrnn.export.exporter import Exporter
from speechrnn.files import replacing_folder
from speechrnn.layers.recurrent import plain_loops
from speechrnn.models.bundle import SignalBundle


def write(exporter: Exporter, path: str, *, int8: bool, streaming: bool, overwrite: bool) -> None:
    """Write the folder of an exporter's model; see `write_savedmodel`.

    Raises:
        ValueError: `int8` or `streaming` is set.
    """
    if int8 or streaming:
        raise ValueError(f"`int8` and `streaming` are not for savedmodel. Received: {int8=}, {streaming=}.")
    write_savedmodel(exporter.model, path, overwrite=overwrite)


def write_savedmodel(model: SignalBundle, folder: str, *, overwrite: bool = False) -> str:
    """Write a folder that TensorFlow Serving loads.

    Its signature `serving_default` takes `signal` float32 `(batch, samples[, channels])` and `length` int32 `(batch,)`,
    and returns `logits` float32 `(batch, frames, vocabulary)`, or over the classes of a classifier, and `frames` int32
    `(batch,)`; for a forecaster `forecast` float32 `(batch, horizon, channels, quantiles)`. Recurrent layers are
    TensorFlow's plain loops: the graph contains no cuDNN operation, even on a machine with a GPU, and needs no XLA.

    The model must be traced without a visible GPU, and hiding one lasts for the process: if there is a GPU, another
    process traces the model.

    Raises:
        FileExistsError: The folder exists and `overwrite` is false.
        ValueError: The folder exists and is not a SavedModel, so that it is not replaced.
    """
    target = Path(folder)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{folder}: exists already. Pass overwrite=True (--overwrite) to replace it.")
    if target.exists() and not (target / "saved_model.pb").exists():
        raise ValueError(f"{folder}: is there and is no SavedModel, so it is not replaced. Give another name.")
    with replacing_folder(target) as new:
        if tf.config.list_physical_devices("GPU"):
            _write_without_gpu(model, new)
        else:
            _write(model, new)
    return folder


def _write(bundle: SignalBundle, folder: Path) -> None:
    shape = (None, None) if bundle.columns is None else (None, None, bundle.columns)

    @tf.function(
        input_signature=[
            tf.TensorSpec(shape, tf.float32, "signal"),
            tf.TensorSpec((None,), tf.int32, "length"),
        ]
    )
    def serve(signal: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        return bundle.serving_outputs({"signal": signal, "length": length})

    module = tf.Module()
    module.variables_of_model = [variable.value for variable in bundle.variables]
    module.serve = serve
    with plain_loops():
        tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def _write_without_gpu(bundle: SignalBundle, folder: Path) -> None:
    """Call `_write` in a process without a visible GPU."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "model.keras")
        bundle.save(file)
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(file), str(folder), type(bundle).__module__],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ValueError(f"{folder}: the process that writes it failed: {lines[-1][:300]}")


if __name__ == "__main__":
    from speechrnn.models.loading import load_bundle

    importlib.import_module(sys.argv[3])  # registers the model's class with Keras
    _write(load_bundle(sys.argv[1]), Path(sys.argv[2]))
