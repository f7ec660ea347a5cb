"""Export language models to ONNX graphs, which score sentences and can continue from states."""

from __future__ import annotations

from typing import Any

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.steps import write_steps
from speechrnn.layers.steps import step_network


class LanguageExporter(Exporter):
    """Inputs are `ids` int32 `(batch, steps)`, `length` int32 `(batch,)`, and the states float32 `(batch, units)` that
    the metadata name, zeros at the start of a sentence; outputs are `logits` float32 `(batch, steps, vocabulary)` and
    the states after each row's last step, named `next_` and the state's name.
    """

    stored_attributes = ("vocabulary",)

    def graph(self) -> Graph:
        """See `Exporter.graph`.

        Raises:
            ValueError: A layer reads backwards, or cannot be written; it is named.
        """
        graph, steps = Graph(self.model.name), step_network(self.model.network)
        logits = ("batch", "steps", len(self.model.vocabulary))
        write_steps(graph, steps, {"ids": ("batch", "steps")}, {"logits": logits})
        self._states = steps.states
        return graph

    def graph_metadata(self) -> dict[str, Any]:
        """See `Exporter.graph_metadata`."""
        return {"states": {name: shape[1:] for name, shape in self._states.items()}}
