"""Encoder-decoders as ONNX: encoder and one step of the decoder in one graph, of which a runtime asks for either."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.export.onnx.recurrent import recurrent_node
from speechrnn.export.onnx.registry import Tensor, writer_of
from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder


class SequenceExporter(Exporter):
    """The encoder's inputs are `source` int32 `(batch, source)` and `source_length` int32 `(batch,)`; its outputs
    `encoded`, `encoded_keys` and `first_output`, the first of the decoder's states.

    A step's inputs are `previous` int32 `(rows,)`, `values` and `keys` (what the encoder gave), `length` (the
    `source_length`) and the states that the metadata name, the others of which begin as zeros. Its outputs are `logits`
    float32 `(rows, target symbols + 1)`, `attention` float32 `(rows, shown)` and each state's `next_`.

    All inputs have defaults, so that a runtime is given those of one half alone; ONNX Runtime computes that half alone
    if its run options say `only_execute_path_to_fetches`.
    """

    def graph(self) -> Graph:
        """See `Exporter.graph`.

        Raises:
            ValueError: A layer cannot be written; it is named.
        """
        decoder: AttentionDecoder = self.model.decoder
        graph = Graph(self.model.name)
        features = self.model.encoder.output_shape[-1]
        source = graph.input("source", "int32", ("batch", "source"), default=np.zeros((1, 1)))
        source_length = graph.input("source_length", "int32", ("batch",), default=np.ones(1))
        shapes = {"values": features, "keys": decoder.attention}
        # Dimensions of other names: equal ones would let ONNX Runtime put one half into the other's memory.
        previous = graph.input("previous", "int32", ("rows",), default=np.zeros(1))
        length = graph.input("length", "int32", ("rows",), default=np.ones(1))
        values, keys = (
            graph.input(name, "float32", ("rows", "shown", size), default=np.zeros((1, 1, size)))
            for name, size in shapes.items()
        )
        states = [
            graph.input(name, "float32", ("rows", decoder.units), default=np.zeros((1, decoder.units)))
            for name in decoder.state_names
        ]
        self._encoder(graph, decoder, source, source_length, shapes)
        self._step(graph, decoder, previous, values, keys, length, states)
        return graph

    def _encoder(self, graph: Graph, decoder: AttentionDecoder, source: str, length: str, shapes: dict) -> None:
        (encoded,) = write_network(graph, self.model.encoder, [source, length])
        with graph.scope("decoder"):
            total = graph.add("ReduceSum", encoded, np.array([1]), keepdims=0)  # there are zeros in the padding
            count = graph.add("Cast", graph.add("Max", length, np.int32(1)), to=TensorProto.FLOAT)
            mean = graph.add("Div", total, graph.unsqueeze(count, 1))
            first = _written(graph, decoder.bridge, mean, (None, shapes["values"]))
            keys = _written(graph, decoder.key, encoded, (None, None, shapes["values"]))
        graph.output(encoded, "encoded", "float32", ("batch", "source", shapes["values"]))
        graph.output(keys, "encoded_keys", "float32", ("batch", "source", shapes["keys"]))
        graph.output(first, "first_output", "float32", ("batch", decoder.units))

    def _step(
        self,
        graph: Graph,
        decoder: AttentionDecoder,
        previous: str,
        values: str,
        keys: str,
        length: str,
        states: list[str],
    ) -> None:
        units = decoder.units
        *inner, fed = states
        with graph.scope("step"):
            symbol = _written(graph, decoder.embed, previous, (None,), "int32")
            inputs = graph.unsqueeze(graph.add("Concat", symbol, fed, axis=1), 0)
            before = [graph.unsqueeze(state, 0) for state in inner]
            found = recurrent_node(graph, [decoder.recurrent], inputs, initial_states=before)
            after = [graph.add("Squeeze", state, np.array([0])) for state in found.states]
            query = graph.unsqueeze(_written(graph, decoder.query, after[0], (None, units)), 1)
            compared = graph.add("Tanh", graph.add("Add", keys, query))
            energies = _written(graph, decoder.energy, compared, (None, None, decoder.attention))
            shown = graph.length_mask(length, graph.dimension(values, 1))
            energies = graph.add("Where", shown, graph.add("Squeeze", energies, np.array([2])), np.float32(-1e9))
            attention = graph.zero_padding(graph.add("Softmax", energies, axis=1), shown, 2)
            context = graph.add("MatMul", graph.unsqueeze(attention, 1), values)
            context = graph.add("Squeeze", context, np.array([1]))
            both = graph.add("Concat", after[0], context, axis=1)
            width = units + self.model.encoder.output_shape[-1]
            vector = _written(graph, decoder.combine, both, (None, width))
            logits = _written(graph, decoder.logits, vector, (None, units))
        graph.output(logits, "logits", "float32", ("rows", len(self.model.target)))
        graph.output(attention, "attention", "float32", ("rows", "shown"))
        for name, state in zip(decoder.state_names, [*after, vector], strict=True):
            graph.output(state, f"next_{name}", "float32", ("rows", units))

    def about(self) -> dict[str, Any]:
        """See `Exporter.about`."""
        model = self.model
        return {
            "source": model.source.get_config(),
            "target": model.target.get_config(),
            "max_length": model.max_length,
            "states": list(model.decoder.state_names),
        }


def _written(graph: Graph, layer: Any, tensor: str, shape: tuple[int | None, ...], dtype: str = "float32") -> str:
    """A layer's output, by the writer of its class."""
    found = writer_of(layer).write(graph, layer, Tensor(tensor, dtype, shape))
    return found if isinstance(found, str) else found[0]
