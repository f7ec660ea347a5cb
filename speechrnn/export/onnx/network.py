"""Write a Keras network as ONNX nodes: each call in its graph is written by the writer of its operation."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from speechrnn.export.onnx import operations, pooling, recurrent, segments  # noqa: F401 - each registers what it can write
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.registry import Tensor, writer_of
from speechrnn.layers.graph import Call, walk


def write_network(graph: Graph, network: keras.Model, inputs: Sequence[str]) -> list[str]:
    """Write a functional or sequential model, and the models in it.

    Only operations that the outputs depend on are written.

    Args:
        graph: The graph to add nodes to.
        network: The model; its weights become constants.
        inputs: Names of its inputs, in its order.

    Returns:
        Names of its outputs.

    Raises:
        ValueError: A layer or an option is not supported; the message names it.
    """

    def write(call: Call) -> list[Tensor]:
        with graph.scope(call.operation.name):
            produced = writer_of(call.operation).write(graph, call.operation, *call.arguments, **call.options)
        names = [produced] if isinstance(produced, str) else produced
        return [_tensor(name, like) for name, like in zip(names, call.outputs, strict=True)]

    starts = [_tensor(name, like) for name, like in zip(inputs, network.inputs, strict=True)]
    return [tensor.name for tensor in walk(network, starts, write, ignored=lambda each: writer_of(each).unused)]


def _tensor(name: str, like: keras.KerasTensor) -> Tensor:
    """A tensor like Keras's; half precision becomes float32."""
    dtype = "float32" if like.dtype in ("float16", "bfloat16") else like.dtype
    return Tensor(name, dtype, tuple(like.shape))
