"""Recognizers as ONNX graphs: whole, or one step of those that can stream."""

from __future__ import annotations

from typing import Any

from speechrnn.export.exporter import SignalExporter
from speechrnn.export.onnx import steps
from speechrnn.export.onnx.graph import Graph
from speechrnn.tasks.recognition.streaming import KIND


class RecognizerExporter(SignalExporter):
    """Outputs are `logits` float32 `(batch, frames, vocabulary)` and `frames` int32 `(batch,)`, the valid ones."""

    streams = True

    def give(self, graph: Graph, outputs: str, frames: str) -> None:
        """See `SignalExporter.give`."""
        graph.output(outputs, "logits", "float32", ("batch", "frames", len(self.model.vocabulary)))
        graph.output(self.valid_frames(graph, frames), "frames", "int32", ("batch",))

    def about(self) -> dict[str, Any]:
        """See `Exporter.about`."""
        return {"vocabulary": self.model.vocabulary.get_config()}

    def step(self) -> tuple[Graph, dict[str, Any]]:
        """See `Exporter.step` and `speechrnn.export.onnx.steps`."""
        graph, step = steps.step_graph(self.model)
        return graph, {"kind": KIND, "states": step.states, "look_ahead": step.delay}
