"""The registry of the functions that write Keras layers and operations as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras


class Tensor(NamedTuple):
    """A tensor that is an argument of a Keras operation."""

    name: str
    """Name in the ONNX graph."""
    dtype: str
    shape: tuple[Any, ...]
    """Shape that Keras knows; None is any size."""

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


class Writer(NamedTuple):
    """The writer of an operation."""

    write: Callable[..., str | tuple[str, ...]]
    """`write(graph, operation, *arguments, **options)` returns the name of the output, or of each."""
    unused: tuple[str, ...]
    """Options that only matter in training; tensors that only they need are not written."""


_LAYER_WRITERS: dict[type, Writer] = {}
_OPERATION_WRITERS: dict[str, Writer] = {}


def writes(*kinds: type | str, unused: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """Register a function as the writer of layers of these classes, or of operations of `keras.ops` by their names.

    The function takes the graph, the layer and the arguments of its call: a `Tensor` for each tensor, other values
    unchanged. It adds nodes to the graph and returns the name of the output, or of each. A subclass needs its own
    writer, since it may compute something else.

    Args:
        *kinds: Layer classes, or names of Keras's operation classes, such as "FloorDivide".
        unused: Options of the call that only matter in training, besides `training` itself.

    Example:
    >>> class Doubled(keras.Layer):
    ...     def call(self, values):
    ...         return 2 * values
    >>> @writes(Doubled)
    ... def doubled(graph, layer, values):
    ...     return graph.add("Mul", values.name, np.float32(2))
    """

    def register(function: Callable) -> Callable:
        writer = Writer(function, ("training", *unused))
        for kind in kinds:
            if isinstance(kind, str):
                _OPERATION_WRITERS[kind] = writer
            else:
                _LAYER_WRITERS[kind] = writer
        return function

    return register


def writer_of(operation: Any) -> Writer:
    """The writer of a layer or operation.

    Raises:
        ValueError: No writer is registered for it.
    """
    if isinstance(operation, keras.Model):
        return Writer(lambda *_: "", ("training",))
    if isinstance(operation, keras.Layer):
        writer = _LAYER_WRITERS.get(type(operation))
    else:
        writer = _OPERATION_WRITERS.get(type(operation).__name__)
    if writer is None:
        raise cannot(operation, "no writer is registered for it")
    return writer


def cannot(operation: Any, why: str) -> ValueError:
    """The error for a layer or operation that cannot be exported; it contains the layer's name."""
    kind = type(operation).__name__
    return ValueError(
        f"{kind} `{operation.name}` cannot be exported: {why}. Replace the layer, or register a writer for it with "
        "`speechrnn.export.onnx.writes`."
    )
