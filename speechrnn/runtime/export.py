"""A recogniser written for other programs: one `.onnx` file, or a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import onnx

import speechrnn
from speechrnn.files import refuse_existing, replacing
from speechrnn.language import LanguageModel
from speechrnn.recognizer import SpeechRecognizer, load, load_any
from speechrnn.runtime import frontend, network, onnxfile, steps
from speechrnn.runtime.graph import Graph
from speechrnn.runtime.language_export import language_bytes
from speechrnn.runtime.streaming import KIND

_log = logging.getLogger(__name__)

_ENDINGS = {"onnx": ".onnx", "savedmodel": ".savedmodel", "litert": ".tflite"}


def export(
    model: SpeechRecognizer | LanguageModel | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    to: Literal["onnx", "savedmodel", "litert"] = "onnx",
    int8: bool = False,
    streaming: bool = False,
    overwrite: bool = False,
) -> str:
    """Write a recogniser, or a recurrent language model, for other programs.

    Args:
        model: A recogniser or a language model, or the path of its .keras file; a language model becomes an .onnx.
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
        ValueError: A layer of the network cannot be written; it is named.
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
    loaded = _loaded(model)
    if isinstance(loaded, LanguageModel):
        if to != "onnx" or int8 or streaming:
            raise ValueError(f"A language model can be an .onnx only. Received: {to=}, {int8=}, {streaming=}.")
        content = language_bytes(loaded)
    elif to == "litert":
        from speechrnn.runtime.litert import litert_bytes

        content = litert_bytes(loaded, int8=int8)
    else:
        content = (step_bytes if streaming else onnx_bytes)(loaded, int8=int8)
    with replacing(target, overwrite=overwrite) as file:
        file.write(content)
    return target


def onnx_bytes(model: SpeechRecognizer, *, int8: bool = False) -> bytes:
    """The whole recogniser as the content of an `.onnx` file.

    Inputs are `signal` float32 `(batch, samples)` and `length` int32 `(batch,)`; outputs are `logits` float32
    `(batch, frames, vocabulary)` and `frames` int32 `(batch,)`, the valid frames of each row. What stands in the
    padding of `signal` has no influence, and the padding of `logits` is zeros.
    """
    graph = Graph(model.name)
    signal = graph.input("signal", "float32", ("batch", "samples"))
    length = graph.input("length", "int32", ("batch",))
    features, frames = frontend.write_features(graph, model.features, signal, length)
    (logits,) = network.write_network(graph, model.network, [features, frames])
    graph.output(logits, "logits", "float32", ("batch", "frames", len(model.vocabulary)))
    with graph.scope("frames"):
        stride = graph.constant(model.stride, "int32")
        rounded = graph.add("Add", frames, graph.constant(model.stride - 1, "int32"))
        valid = graph.add("Div", rounded, stride)
    graph.output(valid, "frames", "int32", ("batch",))
    written = graph.model(metadata(model, kind="recognizer"))
    return (quantised(written) if int8 else written).SerializeToString()


def step_bytes(model: SpeechRecognizer, *, int8: bool = False) -> bytes:
    """One step of a one-directional recogniser as the content of an `.onnx` file; see `speechrnn.runtime.steps`."""
    graph, states = steps.step_graph(model)
    written = graph.model(metadata(model, kind=KIND, states=states, look_ahead=steps.look_ahead(model)))
    return (quantised(written) if int8 else written).SerializeToString()


def metadata(model: SpeechRecognizer, **more: Any) -> dict[str, str]:
    """What a runtime must know of a recogniser, as an ONNX file keeps it: names with a prefix, and JSON."""
    known = {
        "format_version": onnxfile.FORMAT_VERSION,
        "version": speechrnn.__version__,
        "vocabulary": model.vocabulary.get_config(),
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


def _loaded(model: Any) -> SpeechRecognizer | LanguageModel:
    if isinstance(model, SpeechRecognizer | LanguageModel):
        return model
    found = load_any(model)
    return found if isinstance(found, SpeechRecognizer | LanguageModel) else load(model)  # which says what it is


def _target(model: Any, out: str | os.PathLike[str] | None, ending: str) -> str:
    if out is not None:
        return os.fspath(out)
    if isinstance(model, SpeechRecognizer | LanguageModel):
        raise ValueError("`out` must name the file, since a model in memory has no name of its own.")
    return str(Path(model).with_suffix(ending))
