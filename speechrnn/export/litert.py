"""Export one step of a one-directional recognizer to a LiteRT (TensorFlow Lite) file of built-in operators.

A block is one frame of logits, so that all shapes are fixed. The metadata are in a zip archive after the model, as
TensorFlow Lite's own are; interpreters ignore it.
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
    """Write the `.tflite` file of an exporter's model, which always contains one step; see `litert_bytes`."""
    content = litert_bytes(exporter.model, exporter, int8=int8)
    with replacing(path, overwrite=overwrite) as file:
        file.write(content)


def litert_bytes(model: SignalBundle, exporter: Exporter, *, int8: bool = False) -> bytes:
    """The content of a `.tflite` file with one step of a model.

    Inputs are `samples`, `frames` and the states, outputs `logits` and the next states, as in
    `speechrnn.export.onnx.steps.step_graph`.
    """
    steps = signal_steps(model.features, model.network, samples=model.stride * model.features.hop)

    def step(**tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = [tensors[each.name] for each in steps.model.inputs]
        logits, *states = keras.tree.flatten(steps.model(inputs, training=False))
        return {"logits": logits, **{f"next_{name}": state for name, state in zip(steps.states, states, strict=True)}}

    function = tf.function(step, autograph=False).get_concrete_function(
        **{each.name: tf.TensorSpec(each.shape, each.dtype, name=each.name) for each in steps.model.inputs}
    )
    content = _converted(function, model.variables, int8)
    metadata = exporter.metadata(
        kind=f"streaming {model.kind}",
        precision="int8" if int8 else "float32",
        states=steps.states,
        look_ahead=steps.delay,
        digest=hashlib.sha256(content).hexdigest(),
    )
    attached = io.BytesIO()
    with zipfile.ZipFile(attached, "w") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(metadata))
    return content + attached.getvalue()


def _converted(function: Any, variables: Any, int8: bool) -> bytes:
    module = tf.Module()
    module.model_variables = [getattr(variable, "value", variable) for variable in variables]
    with tempfile.TemporaryDirectory() as folder:  # by way of a SavedModel, so that inputs and outputs keep their names
        tf.saved_model.save(module, folder, signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()
