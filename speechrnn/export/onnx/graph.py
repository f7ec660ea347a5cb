"""Build an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""The oldest operator set that has LayerNormalization, so that old runtimes read the file too."""

_IR_VERSION = 8
TYPES = {
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
"""ONNX's numbers for tensor types."""

Input = str | np.ndarray | np.generic
"""The name of a tensor, or a value that becomes a constant; an empty name leaves an optional input out."""


class Graph:
    """Builds an ONNX graph: its nodes, constants, inputs and outputs.

    Example:
    >>> graph = Graph("double")
    >>> x = graph.input("x", "float32", ("batch", 3))
    >>> graph.output(graph.add("Mul", x, np.float32(2)), "y", "float32", ("batch", 3))
    >>> [node.op_type for node in graph.model({}).graph.node]
    ['Mul', 'Identity']
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lengths: dict[str, str] = {}
        """For right-padded masks, by name: the tensor with each row's number of valid positions, int32 `(batch,)`."""
        self._scope: list[str] = []
        self._names: set[str] = set()
        self._constants: dict[tuple, str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: str, shape: Sequence[int | str | None], *, optional: bool = False) -> str:
        """Declare an input; a string in its shape names a dimension of any size.

        An optional input that is not given is ones.
        """
        self._names.add(name)
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))
        if optional:
            ones = np.ones([size if isinstance(size, int) else 1 for size in shape], dtype)
            self._initializers.append(numpy_helper.from_array(ones, name))
        return name

    def output(self, tensor: str, name: str, dtype: str, shape: Sequence[int | str | None]) -> None:
        """Declare a tensor as an output, under a name."""
        self._names.add(name)
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=self._unique(f"give_{name}")))
        self._outputs.append(helper.make_tensor_value_info(name, TYPES[dtype], shape))

    def constant(self, value: Any, dtype: str | None = None) -> str:
        """The name of a constant; equal constants are stored once."""
        value = np.ascontiguousarray(value, dtype) if np.ndim(value) else np.asarray(value, dtype)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = self._unique("constant")
            self._initializers.append(numpy_helper.from_array(value, self._constants[key]))
        return self._constants[key]

    def add(self, operator: str, *inputs: Input, domain: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.add_many(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def add_many(
        self, operator: str, *inputs: Input, outputs: int, domain: str | None = None, **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs, and return their names."""
        name = self._unique(operator)
        results = [name if outputs == 1 else f"{name}_{i}" for i in range(outputs)]
        named = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(helper.make_node(operator, named, results, name=name, domain=domain, **attributes))
        return results

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """A context in which the names of new nodes begin with `name`."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    def _unique(self, name: str) -> str:
        name = "/".join([*self._scope, name])
        count, unique = 1, name
        while unique in self._names:
            count, unique = count + 1, f"{name}_{count}"
        self._names.add(unique)
        return unique

    # Arithmetic that several writers need

    def dimension(self, tensor: str, axis: int) -> str:
        """The size of an axis, int64 `()`."""
        return self.add("Gather", self.add("Shape", tensor), np.int64(axis), axis=0)

    def unsqueeze(self, tensor: str, *axes: int) -> str:
        """The tensor with new axes of size 1."""
        return self.add("Unsqueeze", tensor, np.array(axes, "int64"))

    def slice(self, tensor: str, start: Input, stop: Input, axis: int, step: int = 1) -> str:
        """A range of one axis; bounds are ints or the names of int64 `(1,)` tensors."""
        return self.add("Slice", tensor, start, stop, np.array([axis], "int64"), np.array([step], "int64"))

    def reduce(self, operator: str, tensor: str, *axes: int, keep: bool = False) -> str:
        """Reduce axes by an operator such as "ReduceMean"; with `keep` they remain as axes of size 1."""
        if operator == "ReduceSum":  # the only one whose axes are an input in this operator set
            return self.add(operator, tensor, np.array(axes, "int64"), keepdims=int(keep))
        return self.add(operator, tensor, axes=list(axes), keepdims=int(keep))

    def floor_divide(self, tensor: Input, divisor: Input) -> str:
        """Whole-number division that rounds down; ONNX's own rounds towards zero."""
        rest = self.add("Mod", tensor, divisor)
        return self.add("Div", self.add("Sub", tensor, rest), divisor)

    def length_mask(self, length: str, size: str) -> str:
        """A mask `(batch, size)` that is True at the first `length[i]` positions of row `i`.

        Args:
            length: int32 `(batch,)`.
            size: int64 `()`.
        """
        positions = self.add("Range", np.int32(0), self.add("Cast", size, to=TensorProto.INT32), np.int32(1))
        mask = self.add("Less", self.unsqueeze(positions, 0), self.unsqueeze(length, 1))
        self.lengths[mask] = length
        return mask

    def zero_padding(self, values: str, mask: str, rank: int) -> str:
        """The values with zeros where the mask `(batch, frames)` is False, even if they are not finite."""
        if rank > 2:
            mask = self.unsqueeze(mask, *range(2, rank))
        return self.add("Where", mask, values, np.float32(0))

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The finished model, with its metadata.

        Raises:
            onnx.checker.ValidationError: The graph is not valid.
        """
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="speechrnn"
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model
