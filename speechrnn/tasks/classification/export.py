"""Export classifiers to ONNX graphs."""

from __future__ import annotations

from speechrnn.export.exporter import SignalExporter
from speechrnn.export.onnx.graph import Graph


class ClassifierExporter(SignalExporter):
    """Exports classifiers.

    Outputs are `probabilities` float32 `(batch, [frames,] classes)` and the valid `frames` int32 `(batch,)`.
    """

    stored_attributes = ("classes", "task", "per_frame", "channels", "tokens")

    def write_outputs(self, graph: Graph, outputs: str, frames: str) -> None:
        """See `SignalExporter.write_outputs`."""
        model, valid = self.model, self.valid_frames(graph, frames)
        probabilities = (
            graph.add("Sigmoid", outputs) if model.task == "multi" else graph.add("Softmax", outputs, axis=-1)
        )
        if model.per_frame:
            probabilities = graph.zero_padding(
                probabilities, graph.length_mask(valid, graph.dimension(probabilities, 1)), 3
            )
        shape = ("batch", "frames") if model.per_frame else ("batch",)
        graph.output(probabilities, "probabilities", "float32", (*shape, len(model.classes)))
        graph.output(valid, "frames", "int32", ("batch",))
