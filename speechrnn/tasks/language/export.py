"""A language model as one `.onnx` file, which scores whole sentences and goes on from states."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import speechrnn
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.export.onnx.recurrent import recurrent_node, row_lengths, time_first
from speechrnn.export.onnx.registry import Tensor, Writer, cannot, writer_of
from speechrnn.export.onnx.steps import RECURRENT, layers
from speechrnn.runtime import onnxfile
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.language.session import KIND


def language_bytes(model: LanguageModel) -> bytes:
    """The content of the file.

    Inputs are `ids` int32 `(batch, steps)`, `length` int32 `(batch,)`, and the states float32 `(1, batch, units)` that
    the metadata name, zeros at the start of a sentence; outputs are `logits` float32 `(batch, steps, vocabulary)` and
    the states after each row's last step, named `next_` and the state's name.

    Raises:
        ValueError: A layer reads backwards, or cannot be written; it is named.
    """
    graph = Graph(model.name)
    ids, length = graph.input("ids", "int32", ("batch", "steps")), graph.input("length", "int32", ("batch",))
    states = _States(graph)
    (logits,) = write_network(graph, model.network, [ids, length], find=states.writer_of)
    graph.output(logits, "logits", "float32", ("batch", "steps", len(model.vocabulary)))
    for name, tensor in states.following.items():
        graph.output(tensor, f"next_{name}", "float32", (1, "batch", states.units[name]))
    known = {
        "format_version": onnxfile.FORMAT_VERSION,
        "version": speechrnn.__version__,
        "kind": KIND,
        "vocabulary": model.vocabulary.get_config(),
        "card": model.card,
        "states": states.units,
    }
    metadata = {onnxfile.PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in known.items()}
    return onnxfile.sealed(graph.model(metadata))


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
