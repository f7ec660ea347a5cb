"""A model written for other programs: one `.onnx` file, or a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx

import speechrnn
from speechrnn.export.onnx import features as frontend
from speechrnn.export.onnx import network, steps
from speechrnn.export.onnx.graph import Graph
from speechrnn.files import refuse_existing, replacing
from speechrnn.models.bundle import Bundle
from speechrnn.runtime import onnxfile
from speechrnn.tasks.classification import session as classifier_session
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.forecasting import session as forecaster_session
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.language.export import language_bytes
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.recognition.model import SpeechRecognizer, load_any, load_bundle
from speechrnn.tasks.recognition.streaming import KIND

_log = logging.getLogger(__name__)

_ENDINGS = {"onnx": ".onnx", "savedmodel": ".savedmodel", "litert": ".tflite"}


def export(
    model: Bundle | LanguageModel | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    to: Literal["onnx", "savedmodel", "litert"] = "onnx",
    int8: bool = False,
    streaming: bool = False,
    overwrite: bool = False,
) -> str:
    """Write a recogniser, a classifier, a forecaster or a recurrent language model for other programs.

    Args:
        model: The model, or the path of its .keras file; all but recognisers become an .onnx only.
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
        ValueError: A layer of the network cannot be written; it is named. Or the format is not for this kind of model.
    """
    if to not in _ENDINGS:
        raise ValueError(f"`to` must be one of {', '.join(_ENDINGS)}. Received: {to!r}.")
    if to == "savedmodel" and (int8 or streaming):
        raise ValueError(f"`int8` and `streaming` are not for savedmodel. Received: {int8=}, {streaming=}.")
    target = _target(model, out, _ENDINGS[to])
    if to == "savedmodel":
        from speechrnn.export.savedmodel import write_savedmodel

        return write_savedmodel(model, target, overwrite=overwrite)
    refuse_existing(target, overwrite=overwrite)
    loaded = _loaded(model)
    if isinstance(loaded, LanguageModel):
        if to != "onnx" or int8 or streaming:
            raise ValueError(f"A language model can be an .onnx only. Received: {to=}, {int8=}, {streaming=}.")
        content = language_bytes(loaded)
    elif to == "onnx" and not streaming:
        content = onnx_bytes(loaded, int8=int8)
    elif not isinstance(loaded, SpeechRecognizer):
        noun = type(loaded).__name__
        raise ValueError(f"A {noun} can be written to onnx as a whole only. Received: {to=}, {streaming=}.")
    elif to == "litert":
        from speechrnn.export.litert import litert_bytes

        content = litert_bytes(loaded, int8=int8)
    else:
        content = step_bytes(loaded, int8=int8)
    with replacing(target, overwrite=overwrite) as file:
        file.write(content)
    return target


def onnx_bytes(model: Bundle, *, int8: bool = False) -> bytes:
    """The whole recogniser, classifier or forecaster as the content of an `.onnx` file.

    Inputs are `signal` float32 `(batch, samples)`, or `(batch, samples, channels)` of a model of channels, and `length`
    int32 `(batch,)`. Outputs are, of a recogniser, `logits` float32 `(batch, frames, vocabulary)`; of a classifier
    `probabilities` float32 `(batch, classes)`, or `(batch, frames, classes)`; of both `frames` int32 `(batch,)`, the
    valid frames of each row; of a forecaster `forecast` float32 `(batch, horizon, channels, quantiles)`. What stands in
    the padding of `signal` has no influence, and the padding of the outputs is zeros.
    """
    kind = _kind_of(model)
    graph = Graph(model.name)
    shape = ("batch", "samples") if model.channels is None else ("batch", "samples", model.channels)
    signal = graph.input("signal", "float32", shape)
    length = graph.input("length", "int32", ("batch",))
    features, frames = frontend.write_features(graph, model.features, signal, length)
    (outputs,) = network.write_network(graph, model.network, [features, frames])
    kind.give(graph, model, outputs, frames)
    written = graph.model(metadata(model, kind=kind.name))
    return onnxfile.sealed(quantised(written) if int8 else written)


class _Kind(NamedTuple):
    """How models of one class are written."""

    name: str
    give: Callable[[Graph, Any, str, str], None]
    """`give(graph, model, outputs, frames)` gives out what the network's outputs amount to."""
    about: Callable[[Any], dict[str, Any]]
    """What only models of this kind have in their metadata."""


def _kind_of(model: Bundle) -> _Kind:
    return next(kind for bundle, kind in _KINDS.items() if isinstance(model, bundle))


def _give_logits(graph: Graph, model: SpeechRecognizer, logits: str, frames: str) -> None:
    graph.output(logits, "logits", "float32", ("batch", "frames", len(model.vocabulary)))
    graph.output(_valid(graph, model, frames), "frames", "int32", ("batch",))


def _give_probabilities(graph: Graph, model: SequenceClassifier, logits: str, frames: str) -> None:
    valid = _valid(graph, model, frames)
    found = graph.add("Sigmoid", logits) if model.task == "multi" else graph.add("Softmax", logits, axis=-1)
    if model.per_frame:
        found = graph.zero_padding(found, graph.length_mask(valid, graph.dimension(found, 1)), 3)
    shape = ("batch", "frames") if model.per_frame else ("batch",)
    graph.output(found, "probabilities", "float32", (*shape, len(model.classes)))
    graph.output(valid, "frames", "int32", ("batch",))


def _give_forecast(graph: Graph, model: Forecaster, standard: str, frames: str) -> None:
    count = len(model.quantiles)
    found, _ = graph.add_many("TopK", standard, np.array([count]), outputs=2, axis=-1, largest=0, sorted=1)
    if model.features.normalize is not None:
        mean = np.asarray(model.features.mean, np.float32)
        found = graph.add("Add", graph.add("Mul", found, model.scale[:, None]), mean[:, None])
    graph.output(found, "forecast", "float32", ("batch", model.horizon, model.channels, count))


def _valid(graph: Graph, model: Bundle, frames: str) -> str:
    """Frames of the outputs."""
    with graph.scope("frames"):
        rounded = graph.add("Add", frames, graph.constant(model.stride - 1, "int32"))
        return graph.add("Div", rounded, graph.constant(model.stride, "int32"))


_KINDS: dict[type[Bundle], _Kind] = {
    SpeechRecognizer: _Kind("recognizer", _give_logits, lambda model: {"vocabulary": model.vocabulary.get_config()}),
    SequenceClassifier: _Kind(
        classifier_session.KIND,
        _give_probabilities,
        lambda model: {
            "classes": list(model.classes),
            "task": model.task,
            "per_frame": model.per_frame,
            "channels": model.channels,
        },
    ),
    Forecaster: _Kind(
        forecaster_session.KIND,
        _give_forecast,
        lambda model: {
            "channels": model.channels,
            "context": model.context,
            "horizon": model.horizon,
            "quantiles": list(model.quantiles),
            "scale": model.scale.tolist(),
        },
    ),
}


def step_bytes(model: SpeechRecognizer, *, int8: bool = False) -> bytes:
    """One step of a one-directional recogniser as the content of an `.onnx` file; see `speechrnn.export.onnx.steps`."""
    graph, states = steps.step_graph(model)
    written = graph.model(metadata(model, kind=KIND, states=states, look_ahead=steps.look_ahead(model)))
    return onnxfile.sealed(quantised(written) if int8 else written)


def metadata(model: Bundle, **more: Any) -> dict[str, str]:
    """What a runtime must know of a model, as an ONNX file keeps it: names with a prefix, and JSON."""
    known = {
        "format_version": onnxfile.FORMAT_VERSION,
        "version": speechrnn.__version__,
        **_kind_of(model).about(model),
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


def _loaded(model: Any) -> Bundle | LanguageModel:
    if isinstance(model, Bundle | LanguageModel):
        return model
    found = load_any(model)
    return found if isinstance(found, Bundle | LanguageModel) else load_bundle(model)  # which says what it is


def _target(model: Any, out: str | os.PathLike[str] | None, ending: str) -> str:
    if out is not None:
        return os.fspath(out)
    if isinstance(model, Bundle | LanguageModel):
        raise ValueError("`out` must name the file, since a model in memory has no name of its own.")
    return str(Path(model).with_suffix(ending))
