"""A model written for other programs: one `.onnx` file, or a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import onnx

import speechrnn
from speechrnn.bundle import Bundle
from speechrnn.classifier import SequenceClassifier
from speechrnn.files import refuse_existing, replacing
from speechrnn.recognizer import SpeechRecognizer, load_bundle
from speechrnn.runtime import classifier_session, frontend, network, onnxfile, steps
from speechrnn.runtime.graph import Graph
from speechrnn.runtime.streaming import KIND

_log = logging.getLogger(__name__)

_ENDINGS = {"onnx": ".onnx", "savedmodel": ".savedmodel", "litert": ".tflite"}


def export(
    model: Bundle | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    to: Literal["onnx", "savedmodel", "litert"] = "onnx",
    int8: bool = False,
    streaming: bool = False,
    overwrite: bool = False,
) -> str:
    """Write a recogniser or a classifier for other programs.

    Args:
        model: A recogniser or a classifier, or the path of its .keras file.
        out: The file (for a SavedModel the folder) to write; None takes the model's name with another ending.
        to: Format: onnx (one file, run by ONNX Runtime), savedmodel (a folder for TensorFlow Serving) or litert (a
            .tflite of one step for small devices, of models that can stream).
        int8: Keep the weights of LSTM layers in 8 bits: a quarter of their size, and faster on a CPU. Other layers
            stay in float32; for GRU and SimpleRNN ONNX Runtime has no 8-bit kernels.
        streaming: Write the graph of one step, with its states as inputs and outputs, for `speechrnn stream`; the
            model must be one-directional and normalise with "global" statistics or not at all.
        overwrite: Replace what is there.

    Returns:
        What was written.

    Raises:
        FileExistsError: It exists and `overwrite` is false.
        ValueError: A layer of the network cannot be written; it is named. Or the format is not for classifiers.
    """
    if to not in _ENDINGS:
        raise ValueError(f"`to` must be one of {', '.join(_ENDINGS)}. Received: {to!r}.")
    if to == "savedmodel" and (int8 or streaming):
        raise ValueError(f"`int8` and `streaming` are not for savedmodel. Received: {int8=}, {streaming=}.")
    target = _target(model, out, _ENDINGS[to])
    if to == "savedmodel":
        from speechrnn.runtime.savedmodel import write_savedmodel

        return write_savedmodel(model, target, overwrite=overwrite)
    refuse_existing(target, overwrite=overwrite)
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    if to == "onnx" and not streaming:
        content = onnx_bytes(bundle, int8=int8)
    elif not isinstance(bundle, SpeechRecognizer):
        raise ValueError(f"A classifier can be written to onnx as a whole only. Received: {to=}, {streaming=}.")
    elif to == "litert":
        from speechrnn.runtime.litert import litert_bytes

        content = litert_bytes(bundle, int8=int8)
    else:
        content = step_bytes(bundle, int8=int8)
    with replacing(target, overwrite=overwrite) as file:
        file.write(content)
    return target


def onnx_bytes(model: Bundle, *, int8: bool = False) -> bytes:
    """The whole recogniser or classifier as the content of an `.onnx` file.

    Inputs are `signal` float32 `(batch, samples)`, or `(batch, samples, channels)` of a classifier of channels, and
    `length` int32 `(batch,)`. Outputs are, of a recogniser, `logits` float32 `(batch, frames, vocabulary)`; of a
    classifier `probabilities` float32 `(batch, classes)`, or `(batch, frames, classes)`; and of both `frames` int32
    `(batch,)`, the valid frames of each row. What stands in the padding of `signal` has no influence, and the padding
    of the outputs is zeros.
    """
    graph = Graph(model.name)
    shape = ("batch", "samples") if model.channels is None else ("batch", "samples", model.channels)
    signal = graph.input("signal", "float32", shape)
    length = graph.input("length", "int32", ("batch",))
    features, frames = frontend.write_features(graph, model.features, signal, length)
    (logits,) = network.write_network(graph, model.network, [features, frames])
    with graph.scope("frames"):
        stride = graph.constant(model.stride, "int32")
        rounded = graph.add("Add", frames, graph.constant(model.stride - 1, "int32"))
        valid = graph.add("Div", rounded, stride)
    if isinstance(model, SequenceClassifier):
        kind = classifier_session.KIND
        _give_probabilities(graph, model, logits, valid)
    else:
        kind = "recognizer"
        graph.output(logits, "logits", "float32", ("batch", "frames", len(model.vocabulary)))
    graph.output(valid, "frames", "int32", ("batch",))
    written = graph.model(metadata(model, kind=kind))
    return (quantised(written) if int8 else written).SerializeToString()


def _give_probabilities(graph: Graph, model: SequenceClassifier, logits: str, frames: str) -> None:
    found = graph.add("Sigmoid", logits) if model.task == "multi" else graph.add("Softmax", logits, axis=-1)
    if model.per_frame:
        found = graph.zero_padding(found, graph.length_mask(frames, graph.dimension(found, 1)), 3)
    shape = ("batch", "frames") if model.per_frame else ("batch",)
    graph.output(found, "probabilities", "float32", (*shape, len(model.classes)))


def step_bytes(model: SpeechRecognizer, *, int8: bool = False) -> bytes:
    """One step of a one-directional recogniser as the content of an `.onnx` file; see `speechrnn.runtime.steps`."""
    graph, states = steps.step_graph(model)
    written = graph.model(metadata(model, kind=KIND, states=states, look_ahead=steps.look_ahead(model)))
    return (quantised(written) if int8 else written).SerializeToString()


def metadata(model: Bundle, **more: Any) -> dict[str, str]:
    """What a runtime must know of a model, as an ONNX file keeps it: names with a prefix, and JSON."""
    of_kind: dict[str, Any]
    if isinstance(model, SequenceClassifier):
        of_kind = {"classes": list(model.classes), "task": model.task, "per_frame": model.per_frame}
        of_kind["channels"] = model.channels
    else:
        of_kind = {"vocabulary": model.vocabulary.get_config()}
    known = {
        "format_version": onnxfile.FORMAT_VERSION,
        "version": speechrnn.__version__,
        **of_kind,
        "sample_rate": model.sample_rate,
        "frame_period": model.frame_period,
        "stride": model.stride,
        "window": model.features.window,
        "hop": model.features.hop,
        "card": model.card,
        "precision": "float32",
        **more,
    }
    return {onnxfile.PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in known.items()}


def quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with 8-bit weights in its LSTM layers, whose inputs are brought to 8 bits as it runs.

    Weights use 7 of the 8 bits: processors without VNNI instructions would overflow with all of them. Dense layers
    stay as they are: what they take in time and space is little, and 8 bits cost them words. GRU and RNN have no 8-bit
    kernels in ONNX Runtime; this is said in the log.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    operators = {node.op_type for node in model.graph.node}
    for without in sorted(operators & {"GRU", "RNN"}):
        _log.info("ONNX Runtime has no int8 kernel for %s: these layers stay in float32.", without)
    if "LSTM" not in operators:
        return model
    properties = {entry.key: entry.value for entry in model.metadata_props}
    ready = onnx.ModelProto.FromString(model.SerializeToString())
    # The mark of ONNX Runtime's optimiser, which would do nothing here; without it there is a warning.
    onnx.helper.set_model_props(ready, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "int8.onnx")
        quantize_dynamic(
            ready,
            target,
            op_types_to_quantize=["LSTM"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        found = onnx.load(target)
    onnx.helper.set_model_props(found, {**properties, onnxfile.PREFIX + "precision": json.dumps("int8")})
    return found


def _target(model: Any, out: str | os.PathLike[str] | None, ending: str) -> str:
    if out is not None:
        return os.fspath(out)
    if isinstance(model, Bundle):
        raise ValueError("`out` must name the file, since a model in memory has no name of its own.")
    return str(Path(model).with_suffix(ending))
