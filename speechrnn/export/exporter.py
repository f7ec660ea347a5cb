"""Base classes of exporters: a model's ONNX graphs, its metadata and the formats that it supports."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import speechrnn
from speechrnn.export.onnx import features, network
from speechrnn.export.onnx.graph import Graph
from speechrnn.layers.config import serialized
from speechrnn.models.bundle import Bundle, SignalBundle
from speechrnn.runtime import onnxfile


class Exporter:
    """Exports bundles of one kind; a subclass defines the outputs.

    Args:
        model: The bundle.
    """

    takes_signals: ClassVar[bool] = False
    """Whether the inputs are signals and their lengths."""
    streams: ClassVar[bool] = False
    """Whether models of this kind can be exported as one step, for streams."""
    stored_attributes: ClassVar[tuple[str, ...]] = ()
    """Attributes of the model that are stored in the metadata."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def graph(self) -> Graph:
        """The whole model as an ONNX graph."""
        raise NotImplementedError

    def graph_metadata(self) -> dict[str, Any]:
        """Metadata of the graph that `graph` made last."""
        return {}

    def kind_metadata(self) -> dict[str, Any]:
        """Metadata that only models of this kind have."""
        return {name: serialized(getattr(self.model, name)) for name in self.stored_attributes}

    def step(self) -> tuple[Graph, dict[str, Any]]:
        """One step of a streaming model as an ONNX graph, and the metadata of the step.

        Raises:
            ValueError: Models of this kind cannot stream, or this one cannot.
        """
        raise ValueError(f"A {type(self.model).__name__} cannot be written as one step. Received: streaming=True.")

    def attached_graphs(self) -> dict[str, Graph]:
        """Further graphs that are attached to the ONNX file, each a complete model, by name."""
        return {}

    def metadata(self, **more: Any) -> dict[str, str]:
        """The model's metadata, as stored in an ONNX file: names with a prefix, and JSON values."""
        model: Bundle = self.model
        values = {
            "format_version": onnxfile.FORMAT_VERSION,
            "version": speechrnn.__version__,
            "kind": model.kind,
            **self.kind_metadata(),
            "card": model.card,
            "precision": "float32",
            **more,
        }
        return {onnxfile.PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


class SignalExporter(Exporter):
    """Exports bundles that take signals.

    Inputs are `signal` float32 `(batch, samples)`, or `(batch, samples, channels)` for models with channels, and
    `length` int32 `(batch,)`. The padding of `signal` has no influence, and the padding of the outputs is zeros.
    """

    takes_signals = True

    def write_outputs(self, graph: Graph, outputs: str, frames: str) -> None:
        """Write the nodes that turn the network's outputs into the graph's outputs, and declare these."""
        raise NotImplementedError

    def graph(self) -> Graph:
        """See `Exporter.graph`."""
        model: SignalBundle = self.model
        graph = Graph(model.name)
        shape = ("batch", "samples") if model.columns is None else ("batch", "samples", model.columns)
        signal = graph.input("signal", "float32", shape)
        length = graph.input("length", "int32", ("batch",))
        values, frames = features.write_features(graph, model.features, signal, length)
        (outputs,) = network.write_network(graph, model.network, [values, frames])
        self.write_outputs(graph, outputs, frames)
        return graph

    def metadata(self, **more: Any) -> dict[str, str]:
        """See `Exporter.metadata`."""
        model: SignalBundle = self.model
        about = {
            "sample_rate": model.sample_rate,
            "frame_period": model.frame_period,
            "stride": model.stride,
            "window": model.features.window,
            "hop": model.features.hop,
        }
        return super().metadata(**about, **more)

    def valid_frames(self, graph: Graph, frames: str) -> str:
        """Number of valid frames of the outputs, int32 `(batch,)`, from that of the features."""
        stride = self.model.stride
        with graph.scope("frames"):
            rounded = graph.add("Add", frames, graph.constant(stride - 1, "int32"))
            return graph.add("Div", rounded, graph.constant(stride, "int32"))
