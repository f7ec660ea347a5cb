"""Export encoder-decoders to ONNX: encoder and one decoder step in one graph; a runtime can compute either."""

from __future__ import annotations

from typing import Any

import keras

from speechrnn.export.exporter import Exporter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
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

    stored_attributes = ("source", "target", "max_length")

    def graph(self) -> Graph:
        """See `Exporter.graph`.

        Raises:
            ValueError: A layer cannot be written; it is named.
        """
        decoder: AttentionDecoder = self.model.decoder
        graph = Graph(self.model.name)
        features = self.model.encoder.output_shape[-1]
        source = graph.input("source", "int32", ("batch", "source"), optional=True)
        source_length = graph.input("source_length", "int32", ("batch",), optional=True)
        begin, step = decoder.networks(features)
        encoded = write_network(graph, self.model.encoder, [source, source_length])
        first = write_network(graph, begin, [*encoded, source_length])
        for tensor, name, size in zip(first, ("encoded", "encoded_keys"), (features, decoder.attention), strict=False):
            graph.output(tensor, name, "float32", ("batch", "source", size))
        graph.output(first[-1], "first_output", "float32", ("batch", decoder.units))
        write_step(graph, decoder, step)
        return graph

    def kind_metadata(self) -> dict[str, Any]:
        """See `Exporter.kind_metadata`."""
        return {**super().kind_metadata(), "states": list(self.model.decoder.state_names)}


def write_step(graph: Graph, decoder: AttentionDecoder, step: keras.Model) -> None:
    """Write one step of a decoder, all inputs with defaults; see `SequenceExporter` for their names.

    Args:
        graph: Where it goes.
        decoder: Whose step it is.
        step: As `decoder.networks` makes it.
    """
    features = step.inputs[1].shape[-1]
    # Dimensions of names of its own: equal ones would let ONNX Runtime put one half into the other's memory.
    previous, length = (graph.input(name, "int32", ("rows",), optional=True) for name in ("previous", "length"))
    values, keys = (
        graph.input(name, "float32", ("rows", "shown", size), optional=True)
        for name, size in (("values", features), ("keys", decoder.attention))
    )
    shapes = {name: ("rows", *(size or "shown" for size in decoder.state_shape(name))) for name in decoder.state_names}
    states = [graph.input(name, "float32", shape, optional=True) for name, shape in shapes.items()]
    logits, attention, *after = write_network(graph, step, [previous, values, keys, length, *states])
    graph.output(logits, "logits", "float32", ("rows", decoder.vocabulary_size))
    graph.output(attention, "attention", "float32", ("rows", "shown"))
    for (name, shape), state in zip(shapes.items(), after, strict=True):
        graph.output(state, f"next_{name}", "float32", shape)
