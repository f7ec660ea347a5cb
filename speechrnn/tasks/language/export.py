"""A language model as an ONNX graph, which scores whole sentences and continues from states."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.export.onnx.recurrent import recurrent_node, row_lengths, time_first
from speechrnn.export.onnx.registry import Tensor, Writer, cannot, writer_of
from speechrnn.export.onnx.steps import RECURRENT, layers


class LanguageExporter(Exporter):
    """Inputs are `ids` int32 `(batch, steps)`, `length` int32 `(batch,)`, and the states float32 `(1, batch, units)`
    that the metadata name, zeros at the start of a sentence; outputs are `logits` float32 `(batch, steps, vocabulary)`
    and the states after each row's last step, named `next_` and the state's name.
    """

    def graph(self) -> Graph:
        """See `Exporter.graph`.

        Raises:
            ValueError: A layer reads backwards, or cannot be written; it is named.
        """
        graph = Graph(self.model.name)
        ids, length = graph.input("ids", "int32", ("batch", "steps")), graph.input("length", "int32", ("batch",))
        states = self._states = _States(graph)
        (logits,) = write_network(graph, self.model.network, [ids, length], find=states.writer_of)
        graph.output(logits, "logits", "float32", ("batch", "steps", len(self.model.vocabulary)))
        for name, tensor in states.following.items():
            graph.output(tensor, f"next_{name}", "float32", (1, "batch", states.units[name]))
        return graph

    def of_graph(self) -> dict[str, Any]:
        """See `Exporter.of_graph`."""
        return {"states": self._states.units}

    def about(self) -> dict[str, Any]:
        """See `Exporter.about`."""
        return {"vocabulary": self.model.vocabulary.get_config()}


_FIRST = np.array([1])  # the axis of directions


class _States:
    """The states of the recurrent layers that are being written."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.units: dict[str, int] = {}
        self.following: dict[str, str] = {}

    def writer_of(self, operation: Any) -> Writer:
        """The writer of an operation; recurrent layers are written with their states."""
        if isinstance(operation, layers.Bidirectional) or getattr(operation, "go_backwards", False):
            raise cannot(operation, "a language model must not see what follows")
        return Writer(self._recurrent, ("training",)) if isinstance(operation, RECURRENT) else writer_of(operation)

    def _recurrent(self, graph: Graph, layer: Any, sequence: Tensor, mask: Tensor | None = None) -> str:
        names = [f"{layer.name}_{part}" for part in ("output", "cell")[: 2 if isinstance(layer, layers.LSTM) else 1]]
        before = [graph.input(name, "float32", (1, "batch", layer.units)) for name in names]
        lengths = row_lengths(graph, layer, mask)
        found = recurrent_node(graph, [layer], time_first(graph, sequence.name), lengths, before)
        self.units.update(dict.fromkeys(names, layer.units))
        self.following.update(zip(names, found.states, strict=True))
        return graph.add("Transpose", graph.add("Squeeze", found.outputs, _FIRST), perm=[1, 0, 2])
