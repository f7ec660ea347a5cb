"""Export voices to ONNX: encoder and decoder in one graph, of which a runtime can compute either."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.tasks.synthesis.network import VARIANCES


class SynthesizerExporter(Exporter):
    """Exports voices.

    The encoder's inputs are `phones` int32 `(batch, phones)` and `phone_count` int32 `(batch,)`; its outputs are
    `encoded` float32 `(batch, phones, features)` and the variances `foretold` float32 `(batch, phones, 3)`, see
    `voice_network`. The decoder's inputs are `read` (the encoder's `encoded`), `variances`, `count`, `shares`, `places`
    and `steps`; its output is `spectrum` float32 `(rows, frames, bands)`.

    All inputs have defaults, so that a runtime can be given those of one part only; ONNX Runtime computes only that
    part with the run option `only_execute_path_to_fetches`.
    """

    stored_attributes = ("vocabulary", "levels", "frames_per_step")

    def graph(self) -> Graph:
        """See `Exporter.graph`.

        Raises:
            ValueError: A layer cannot be exported; the message names it.
        """
        graph = Graph(self.model.name)
        features = self.model.encoder.output_shape[0][-1]
        phones = graph.input("phones", "int32", ("batch", "phones"), optional=True)
        phone_count = graph.input("phone_count", "int32", ("batch",), optional=True)
        # The parts' dimensions have different names: with equal ones ONNX Runtime would share memory between the parts.
        shapes: dict[str, tuple[int | str, ...]] = {
            "read": ("rows", "known", features),
            "variances": ("rows", "known", VARIANCES),
            "count": ("rows",),
            "shares": ("rows", "steps", "known"),
            "places": ("rows", "steps", 1),
            "steps": ("rows",),
        }
        decoder_inputs = [
            graph.input(name, "float32" if len(shape) > 1 else "int32", shape, optional=True)
            for name, shape in shapes.items()
        ]
        encoded, predicted = write_network(graph, self.model.encoder, [phones, phone_count])
        graph.output(encoded, "encoded", "float32", ("batch", "phones", features))
        graph.output(predicted, "foretold", "float32", ("batch", "phones", VARIANCES))
        _, spectrum = write_network(graph, self.model.decoder, decoder_inputs)
        graph.output(spectrum, "spectrum", "float32", ("rows", "frames", self.model.features.num_features))
        return graph

    def kind_metadata(self) -> dict[str, Any]:
        """See `Exporter.kind_metadata`."""
        return {**super().kind_metadata(), "sound": asdict(self.model.sound)}
