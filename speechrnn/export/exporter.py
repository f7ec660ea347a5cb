"""What an exporter of a kind of model has to say: its graph, its metadata and the formats it can become."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import speechrnn
from speechrnn.export.onnx import features, network
from speechrnn.export.onnx.graph import Graph
from speechrnn.layers.config import written
from speechrnn.models.bundle import Bundle, SignalBundle
from speechrnn.runtime import onnxfile


class Exporter:
    """Writes bundles of one kind; a subclass says what comes out.

    Args:
        model: The bundle.
    """

    takes_signals: ClassVar[bool] = False
    """Whether the inputs are signals and their lengths."""
    streams: ClassVar[bool] = False
    """Whether models of this kind can be written as one step."""
    tells: ClassVar[tuple[str, ...]] = ()
    """Attributes of models of this kind that stand in their metadata."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def graph(self) -> Graph:
        """The whole model as an ONNX graph."""
        raise NotImplementedError

    def of_graph(self) -> dict[str, Any]:
        """What the metadata say of the graph that `graph` made last."""
        return {}

    def about(self) -> dict[str, Any]:
        """What only models of this kind have in their metadata."""
        return {name: written(getattr(self.model, name)) for name in self.tells}

    def step(self) -> tuple[Graph, dict[str, Any]]:
        """One step of a model that streams as an ONNX graph, and what its metadata say of it.

        Raises:
            ValueError: Models of this kind cannot stream, or this one cannot.
        """
        raise ValueError(f"A {type(self.model).__name__} cannot be written as one step. Received: streaming=True.")

    def beside(self) -> dict[str, Graph]:
        """Graphs that stand beside the model's own in an ONNX file, each a whole model, by name."""
        return {}

    def metadata(self, **more: Any) -> dict[str, str]:
        """What a runtime must know of the model, as an ONNX file keeps it: names with a prefix, and JSON."""
        model: Bundle = self.model
        known = {
            "format_version": onnxfile.FORMAT_VERSION,
            "version": speechrnn.__version__,
            "kind": model.kind,
            **self.about(),
            "card": model.card,
            "precision": "float32",
            **more,
        }
        return {onnxfile.PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in known.items()}


class SignalExporter(Exporter):
    """Writes bundles that take signals.

    Inputs are `signal` float32 `(batch, samples)`, or `(batch, samples, channels)` of a model of channels, and `length`
    int32 `(batch,)`. What stands in the padding of `signal` has no influence, and the padding of the outputs is zeros.
    """

    takes_signals = True

    def give(self, graph: Graph, outputs: str, frames: str) -> None:
        """Declares what the network's outputs amount to as the graph's outputs."""
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
        self.give(graph, outputs, frames)
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
        """Valid frames of the outputs, int32 `(batch,)`, from those of the features."""
        stride = self.model.stride
        with graph.scope("frames"):
            rounded = graph.add("Add", frames, graph.constant(stride - 1, "int32"))
            return graph.add("Div", rounded, graph.constant(stride, "int32"))
