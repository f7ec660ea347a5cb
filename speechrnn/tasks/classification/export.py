"""Classifiers as ONNX graphs."""

from __future__ import annotations

from typing import Any

from speechrnn.export.exporter import SignalExporter
from speechrnn.export.onnx.graph import Graph


class ClassifierExporter(SignalExporter):
    """Outputs are `probabilities` float32 `(batch, [frames,] classes)` and the valid `frames` int32 `(batch,)`."""

    def give(self, graph: Graph, outputs: str, frames: str) -> None:
        """See `SignalExporter.give`."""
        model, valid = self.model, self.valid_frames(graph, frames)
        found = graph.add("Sigmoid", outputs) if model.task == "multi" else graph.add("Softmax", outputs, axis=-1)
        if model.per_frame:
            found = graph.zero_padding(found, graph.length_mask(valid, graph.dimension(found, 1)), 3)
        shape = ("batch", "frames") if model.per_frame else ("batch",)
        graph.output(found, "probabilities", "float32", (*shape, len(model.classes)))
        graph.output(valid, "frames", "int32", ("batch",))

    def about(self) -> dict[str, Any]:
        """See `Exporter.about`."""
        model = self.model
        return {
            "classes": list(model.classes),
            "task": model.task,
            "per_frame": model.per_frame,
            "channels": model.channels,
            **({} if model.tokens is None else {"tokens": model.tokens.get_config()}),
        }
