"""Export a model to an `.onnx` or `.tflite` file, or to a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import onnx

from speechrnn.export.exporter import Exporter
from speechrnn.export.options import ExportOptions
from speechrnn.export.targets import TARGETS, of_ending
from speechrnn.faults import check_choice, options_as_keywords
from speechrnn.files import refuse_existing, replacing
from speechrnn.models import kinds
from speechrnn.models.bundle import Bundle
from speechrnn.models.loading import load_bundle
from speechrnn.runtime import onnxfile

__all__ = ["export", "exporter_of", "onnx_bytes", "quantized"]

_log = logging.getLogger(__name__)


@options_as_keywords(ExportOptions)
def export(  # noqa: D417 - the decorator adds the options
    model: Bundle | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    options: ExportOptions,
    to: str = "onnx",
) -> str:
    """Export a model.

    Args:
        model: The model, or the path of its .keras file.
        out: The file (for a SavedModel the folder) to write; None takes the model's name with another ending.
        to: Format: onnx (one file, run by ONNX Runtime), savedmodel (a folder for TensorFlow Serving) or litert (a
            .tflite of one step for small devices, of models that can stream).

    Returns:
        The path of the file or folder.

    Raises:
        FileExistsError: It exists and `overwrite` is false.
        ValueError: A layer of the network cannot be exported (the message names it), the format does not support this
            kind of model, or `out` has the ending of another format.
    """
    check_choice("to", to, TARGETS)
    path = _target(model, out, TARGETS[to].ending)
    path_format = of_ending(path)
    if path_format not in (None, to):
        raise ValueError(f"{path}: has the ending of the format {path_format}. Received: {to=}.")
    if not os.path.isdir(path):  # a format that writes folders checks for itself whether it may replace one
        refuse_existing(path, overwrite=options.overwrite)
    exporter = exporter_of(model if isinstance(model, Bundle) else load_bundle(model))
    supported = [name for name, target in TARGETS.items() if target.needs is None or getattr(exporter, target.needs)]
    if to not in supported:
        noun = type(exporter.model).__name__
        raise ValueError(f"A {noun} can be written to {' or '.join(supported)} only. Received: {to=}.")
    kinds.resolve(TARGETS[to].write)(exporter, path, **vars(options))
    return path


def write_onnx(exporter: Exporter, path: str, *, int8: bool, streaming: bool, overwrite: bool) -> None:
    """Write an `.onnx` file; see `export`."""
    content = _onnx(exporter, int8=int8, streaming=streaming)
    with replacing(path, overwrite=overwrite) as file:
        file.write(content)


def exporter_of(model: Bundle) -> Exporter:
    """The exporter of a model's kind."""
    return kinds.resolve(kinds.of(model).export)(model)


def onnx_bytes(model: Bundle, *, int8: bool = False, streaming: bool = False) -> bytes:
    """Export a model to the content of an `.onnx` file; the exporter of its kind documents inputs and outputs.

    Args:
        model: The model.
        int8: See `export`.
        streaming: See `export`.
    """
    return _onnx(exporter_of(model), int8=int8, streaming=streaming)


def _onnx(exporter: Exporter, *, int8: bool, streaming: bool) -> bytes:
    graph, metadata = exporter.step() if streaming else (exporter.graph(), exporter.graph_metadata())
    model = graph.model(exporter.metadata(**metadata))
    content = onnxfile.with_digest(quantized(model) if int8 else model)
    attached = {
        name: onnxfile.with_digest(part.model(exporter.metadata())) for name, part in exporter.attached_graphs().items()
    }
    return onnxfile.with_attachments(content, attached) if attached else content


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with 8-bit weights in its LSTM layers, whose inputs are quantized as it runs.

    Weights use 7 of the 8 bits, since processors without VNNI instructions would overflow with all 8. Dense layers stay
    in float32: they need little time and space, and 8 bits make transcripts worse. GRU and RNN have no 8-bit kernels in
    ONNX Runtime; this is logged.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    operators = {node.op_type for node in model.graph.node}
    for operator in sorted(operators & {"GRU", "RNN"}):
        _log.info("ONNX Runtime has no int8 kernel for %s: these layers stay in float32.", operator)
    if "LSTM" not in operators:
        return model
    properties = {entry.key: entry.value for entry in model.metadata_props}
    prepared = onnx.ModelProto.FromString(model.SerializeToString())
    # Marks the model as processed by ONNX Runtime's optimizer, which would do nothing; without it there is a warning.
    onnx.helper.set_model_props(prepared, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "int8.onnx")
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["LSTM"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        result = onnx.load(target)
    onnx.helper.set_model_props(result, {**properties, onnxfile.PREFIX + "precision": json.dumps("int8")})
    return result


def _target(model: Any, out: str | os.PathLike[str] | None, ending: str) -> str:
    if out is not None:
        return os.fspath(out)
    if isinstance(model, Bundle):
        raise ValueError("`out` must name the file, since a model in memory has no name of its own.")
    return str(Path(model).with_suffix(ending))
