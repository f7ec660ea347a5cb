"""Write operations of `keras.ops` between layers as ONNX nodes, by the names of Keras's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from speechrnn.export.onnx.graph import TYPES, Graph, Input
from speechrnn.export.onnx.registry import Tensor, cannot, writes

_TYPES = {**TYPES, **dict.fromkeys(("float16", "bfloat16"), TensorProto.FLOAT)}
"""Half precision of mixed policies becomes float32."""

_BINARY = {
    "Add": "Add",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Maximum": "Max",
    "Minimum": "Min",
    "Less": "Less",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "LessEqual": "LessOrEqual",
    "Equal": "Equal",
    "LogicalAnd": "And",
    "LogicalOr": "Or",
    "Matmul": "MatMul",
}
_UNARY = {
    "Negative": "Neg",
    "Absolute": "Abs",
    "Exp": "Exp",
    "Log": "Log",
    "Sqrt": "Sqrt",
    "Tanh": "Tanh",
    "Sigmoid": "Sigmoid",
    "Relu": "Relu",
    "LogicalNot": "Not",
}
_REDUCTIONS = {"Sum": "ReduceSum", "Mean": "ReduceMean", "Max": "ReduceMax", "Min": "ReduceMin"}


@writes(*_BINARY)
def _binary(graph: Graph, operation: Any, x1: Any, x2: Any) -> str:
    return graph.add(_BINARY[type(operation).__name__], *_pair(x1, x2))


@writes(*_UNARY)
def _unary(graph: Graph, operation: Any, x: Tensor) -> str:
    return graph.add(_UNARY[type(operation).__name__], x.name)


@writes(*_REDUCTIONS)
def _reduction(graph: Graph, operation: Any, x: Tensor) -> str:
    axes = list(range(x.rank)) if operation.axis is None else [operation.axis]
    axes = [axis for entry in axes for axis in (entry if isinstance(entry, list | tuple) else [entry])]
    return graph.reduce(_REDUCTIONS[type(operation).__name__], x.name, *axes, keep=operation.keepdims)


@writes("FloorDivide")
def _floor_divide(graph: Graph, operation: Any, x1: Any, x2: Any) -> str:
    dividend, divisor = _pair(x1, x2)
    if (x1 if isinstance(x1, Tensor) else x2).dtype.startswith("float"):
        return graph.add("Floor", graph.add("Div", dividend, divisor))
    return graph.floor_divide(dividend, divisor)


@writes("Divide", "TrueDivide")
def _divide(graph: Graph, operation: Any, x1: Any, x2: Any) -> str:
    return graph.add("Div", *(_as_float(graph, value) for value in (x1, x2)))


@writes("ExpandDims")
def _expand_dims(graph: Graph, operation: Any, x: Tensor) -> str:
    axes = [operation.axis] if isinstance(operation.axis, int) else list(operation.axis)
    return graph.unsqueeze(x.name, *axes)


@writes("Squeeze")
def _squeeze(graph: Graph, operation: Any, x: Tensor) -> str:
    axes = [operation.axis] if isinstance(operation.axis, int) else list(operation.axis or ())
    if not axes:
        raise cannot(operation, "its axis must be given")
    return graph.add("Squeeze", x.name, np.array(axes))


@writes("Concatenate")
def _concatenate(graph: Graph, operation: Any, xs: list[Tensor]) -> str:
    return graph.add("Concat", *(x.name for x in xs), axis=operation.axis)


@writes("Transpose")
def _transpose(graph: Graph, operation: Any, x: Tensor) -> str:
    return graph.add("Transpose", x.name, perm=list(operation.axes or range(x.rank)[::-1]))


@writes("Reshape")
def _reshape(graph: Graph, operation: Any, x: Tensor) -> str:
    return graph.add("Reshape", x.name, np.array(operation.newshape))


@writes("Repeat")
def _repeat(graph: Graph, operation: Any, x: Tensor) -> str:
    """Repeat each entry of an axis `repeats` times."""
    if operation.axis is None or not isinstance(operation.repeats, int):
        raise cannot(operation, "it must repeat along one axis, by one whole number")
    axis = operation.axis % x.rank
    after = list(x.shape[axis + 1 :])
    if None in after:
        raise cannot(operation, f"the sizes behind the axis that it repeats must be known. Received: {x.shape}")
    times = [operation.repeats if position == axis + 1 else 1 for position in range(x.rank + 1)]
    tiled = graph.add("Tile", graph.unsqueeze(x.name, axis + 1), np.array(times))
    return graph.add("Reshape", tiled, np.array([*[0] * axis, -1, *after]))


@writes("Where")
def _where(graph: Graph, operation: Any, condition: Tensor, x1: Any, x2: Any) -> str:
    return graph.add("Where", condition.name, *_pair(x1, x2))


@writes("Cast")
def _cast(graph: Graph, operation: Any, x: Tensor) -> str:
    if operation.dtype not in _TYPES:
        raise cannot(operation, f"{operation.dtype} is not supported")
    return graph.add("Cast", x.name, to=_TYPES[operation.dtype])


@writes("GetItem")
def _get_item(graph: Graph, operation: Any, x: Tensor, key: Any) -> str:
    """Index with slices, whole numbers and new axes; tensors as indices are not supported."""
    keys = list(key) if isinstance(key, list | tuple) else [key]
    result, axis = x.name, 0
    dropped: list[int] = []
    added: list[int] = []
    for position, entry in enumerate(keys):
        if entry is None:
            added.append(position - len(dropped))
            continue
        if isinstance(entry, int):
            stop = entry + 1 if entry != -1 else np.iinfo("int64").max
            result = graph.slice(result, np.array([entry]), np.array([stop]), axis)
            dropped.append(axis)
        elif not isinstance(entry, slice) or (entry.step or 1) < 1:
            raise cannot(operation, f"only slices and whole numbers can be asked for. Received: {entry!r}")
        elif entry != slice(None):
            stop = np.iinfo("int64").max if entry.stop is None else entry.stop
            result = graph.slice(result, np.array([entry.start or 0]), np.array([stop]), axis, entry.step or 1)
        axis += 1
    if dropped:
        result = graph.add("Squeeze", result, np.array(dropped))
    return graph.unsqueeze(result, *added) if added else result


def _pair(x1: Any, x2: Any) -> tuple[Input, Input]:
    """Two operands; a number gets the type of the other."""
    dtype = x1.dtype if isinstance(x1, Tensor) else x2.dtype
    first, second = (x.name if isinstance(x, Tensor) else np.asarray(x, dtype) for x in (x1, x2))
    return first, second


def _as_float(graph: Graph, value: Any) -> Input:
    if not isinstance(value, Tensor):
        return np.float32(value)
    return value.name if value.dtype == "float32" else graph.add("Cast", value.name, to=TensorProto.FLOAT)
