"""A one-directional recognizer for small devices: one step as a LiteRT (TensorFlow Lite) file, built-in operators only.

A block is one frame of logits, so that every shape is fixed. What the runtime must know stands in a zip archive behind
the model, as TensorFlow Lite's own metadata do; interpreters do not look there.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from typing import Any

import keras
import tensorflow as tf

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.steps import signal_steps
from speechrnn.files import replacing
from speechrnn.models.bundle import SignalBundle
from speechrnn.runtime.litert import METADATA


def write(exporter: Exporter, path: str, *, int8: bool, streaming: bool, overwrite: bool) -> None:
    """Write the `.tflite` file of an exporter's model, which is always that of one step; see `litert_bytes`."""
    content = litert_bytes(exporter.model, exporter, int8=int8)
    with replacing(path, overwrite=overwrite) as file:
        file.write(content)


def litert_bytes(model: SignalBundle, exporter: Exporter, *, int8: bool = False) -> bytes:
    """The step as the content of a `.tflite` file: inputs `samples`, `frames` and the states, outputs `logits` and the
    next states, as `speechrnn.export.onnx.steps.step_graph` has them.
    """
    steps = signal_steps(model.features, model.network, samples=model.stride * model.features.hop)

    def step(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = [given[each.name] for each in steps.model.inputs]
        logits, *states = keras.tree.flatten(steps.model(inputs, training=False))
        return {"logits": logits, **{f"next_{name}": state for name, state in zip(steps.states, states, strict=True)}}

    function = tf.function(step, autograph=False).get_concrete_function(
        **{each.name: tf.TensorSpec(each.shape, each.dtype, name=each.name) for each in steps.model.inputs}
    )
    written = _converted(function, model.variables, int8)
    about = exporter.metadata(
        kind=f"streaming {model.kind}",
        precision="int8" if int8 else "float32",
        states=steps.states,
        look_ahead=steps.delay,
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
