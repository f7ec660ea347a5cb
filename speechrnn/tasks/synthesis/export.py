"""Voices as ONNX: encoder and decoder in one graph, of which a runtime asks for either."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.tasks.synthesis.network import VARIANCES


class SynthesizerExporter(Exporter):
    """The encoder's inputs are `phones` int32 `(batch, phones)` and `phone_count` int32 `(batch,)`; its outputs
    `encoded` float32 `(batch, phones, features)` and `foretold` float32 `(batch, phones, 3)`, see `voice_network`.

    The decoder's inputs are `read` (what was `encoded`), `variances`, `count`, `shares`, `places` and `steps`; its
    output is `spectrum` float32 `(rows, frames, bands)`.

    All inputs have defaults, so that a runtime is given those of one half alone; ONNX Runtime computes that half alone
    if its run options say `only_execute_path_to_fetches`.
    """

    stored_attributes = ("vocabulary", "levels", "frames_per_step")

    def graph(self) -> Graph:
        """See `Exporter.graph`.

        Raises:
            ValueError: A layer cannot be written; it is named.
        """
        graph = Graph(self.model.name)
        features = self.model.encoder.output_shape[0][-1]
        phones = graph.input("phones", "int32", ("batch", "phones"), optional=True)
        phone_count = graph.input("phone_count", "int32", ("batch",), optional=True)
        # Dimensions of other names: equal ones would let ONNX Runtime put one half into the other's memory.
        shapes: dict[str, tuple[int | str, ...]] = {
            "read": ("rows", "known", features),
            "variances": ("rows", "known", VARIANCES),
            "count": ("rows",),
            "shares": ("rows", "steps", "known"),
            "places": ("rows", "steps", 1),
            "steps": ("rows",),
        }
        given = [
            graph.input(name, "float32" if len(shape) > 1 else "int32", shape, optional=True)
            for name, shape in shapes.items()
        ]
        encoded, foretold = write_network(graph, self.model.encoder, [phones, phone_count])
        graph.output(encoded, "encoded", "float32", ("batch", "phones", features))
        graph.output(foretold, "foretold", "float32", ("batch", "phones", VARIANCES))
        _, spectrum = write_network(graph, self.model.decoder, given)
        graph.output(spectrum, "spectrum", "float32", ("rows", "frames", self.model.features.num_features))
        return graph

    def kind_metadata(self) -> dict[str, Any]:
        """See `Exporter.kind_metadata`."""
        return {**super().kind_metadata(), "sound": asdict(self.model.sound)}
