"""A Keras network as ONNX nodes: its graph is walked operation by operation, each written by its own writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from speechrnn.export.onnx import operations, pooling, recurrent, segments  # noqa: F401 - each registers what it can write
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.registry import Tensor, Writer, writer_of

Find = Callable[[Any], Writer]
"""Gives the writer of an operation."""


def write_network(graph: Graph, network: keras.Model, inputs: Sequence[str], *, find: Find = writer_of) -> list[str]:
    """Write a functional or sequential model, also one that holds others.

    Only what the outputs need is written.

    Args:
        graph: Where the nodes go.
        network: What to write; its weights become constants.
        inputs: Names of its inputs, in its order.
        find: Gives the writer of each operation.

    Returns:
        Names of its outputs.

    Raises:
        ValueError: A layer or an option of one has no writer; it is named.
    """
    if isinstance(network, keras.Sequential):
        return _write_sequential(graph, network, inputs, find)
    if not hasattr(network, "operations"):
        raise ValueError(
            f"Only functional and sequential Keras models can be exported. Received: {type(network).__name__} "
            f"`{network.name}`, whose `call` is program text."
        )
    return _Walk(graph, network, inputs, find).outputs()


def _write_sequential(graph: Graph, network: keras.Sequential, inputs: Sequence[str], find: Find) -> list[str]:
    tensor = Tensor(inputs[0], _computed(network.inputs[0].dtype), tuple(network.inputs[0].shape))
    for layer in network.layers:
        (name,) = _write(graph, layer, [tensor], {}, find)
        tensor = Tensor(name, _computed(layer.output.dtype), tuple(layer.output.shape))
    return [tensor.name]


class _Walk:
    """One functional model on its way into a graph, by the description that Keras saves of it."""

    def __init__(self, graph: Graph, network: keras.Model, inputs: Sequence[str], find: Find) -> None:
        config = network.get_config()
        self.graph, self.find = graph, find
        self.operations = {operation.name: operation for operation in network.operations}
        self.nodes = {layer["name"]: layer["inbound_nodes"] for layer in config["layers"]}
        self.ends = _histories(config["output_layers"])
        starts = _histories(config["input_layers"])
        self.found: dict[tuple[str, int], list[str]] = {
            (name, node): [given] for (name, node, _), given in zip(starts, inputs, strict=True)
        }

    def outputs(self) -> list[str]:
        return [self._tensor(*history) for history in self.ends]

    def _tensor(self, name: str, node: int, index: int) -> str:
        """The name of what an operation gave; it is written when it is first asked for."""
        if (name, node) not in self.found:
            operation = self.operations[name]
            built_in = isinstance(operation, keras.Model) and not isinstance(operation, keras.Sequential)
            # A functional model is born with a node of its own, which counts and is not in the description.
            call = self.nodes[name][node - built_in]
            unused = self.find(operation).unused
            arguments = [self._filled(value) for value in call["args"]]
            options = {key: self._filled(value) for key, value in call["kwargs"].items() if key not in unused}
            self.found[name, node] = _write(self.graph, operation, arguments, options, self.find)
        return self.found[name, node][index]

    def _filled(self, value: Any) -> Any:
        """An argument with tensors in the place of their descriptions."""
        if isinstance(value, list | tuple):
            return [self._filled(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("class_name") == "__keras_tensor__":
            about = value["config"]
            return Tensor(self._tensor(*about["keras_history"]), _computed(about["dtype"]), tuple(about["shape"]))
        if "class_name" in value:
            return keras.saving.deserialize_keras_object(value)
        return {key: self._filled(item) for key, item in value.items()}


def _histories(described: Any) -> list[tuple[str, int, int]]:
    """`(operation, node, output)` of each tensor in a structure of them."""
    if isinstance(described, dict):
        return [history for value in described.values() for history in _histories(value)]
    if len(described) == 3 and isinstance(described[0], str):
        return [tuple(described)]
    return [history for value in described for history in _histories(value)]


def _computed(dtype: Any) -> str:
    """What a type becomes here: the mixed policies of training are for training."""
    return "float32" if str(dtype) in ("float16", "bfloat16") else str(dtype)


def _write(graph: Graph, operation: Any, arguments: Sequence[Any], options: dict[str, Any], find: Find) -> list[str]:
    """Write one operation or model; gives the names of its outputs."""
    if isinstance(operation, keras.Model):
        given = arguments[0] if isinstance(arguments[0], list) else [arguments[0]]
        with graph.scope(operation.name):
            return write_network(graph, operation, [tensor.name for tensor in given], find=find)
    with graph.scope(operation.name):
        produced = find(operation).write(graph, operation, *arguments, **options)
    return [produced] if isinstance(produced, str) else list(produced)
