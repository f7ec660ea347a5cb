"""Which function writes which Keras operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras


class Tensor(NamedTuple):
    """A tensor that is an argument of a Keras operation."""

    name: str
    """In the ONNX graph."""
    dtype: str
    shape: tuple[Any, ...]
    """As Keras knows it; None is any size."""

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


class Writer(NamedTuple):
    """How an operation is written."""

    write: Callable[..., str | tuple[str, ...]]
    """`write(graph, operation, *arguments, **options)`: names of the outputs."""
    unused: tuple[str, ...]
    """Options that only training heeds; what they would need is not written."""


_OF_LAYERS: dict[type, Writer] = {}
_OF_OPERATIONS: dict[str, Writer] = {}


def writes(*kinds: type | str, unused: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """Registers a function as the writer of layers of these classes, or of operations of `keras.ops` by their names.

    The function takes the graph, the layer and the arguments of its call: a `Tensor` for each tensor, anything else as
    it is. It adds nodes to the graph and gives the name of the output, or of each. A subclass needs a writer of its
    own: it may compute something else.

    Args:
        *kinds: Layer classes; operations as Keras names their classes, such as "FloorDivide".
        unused: Options of the call that only training heeds, besides `training` itself.

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
                _OF_OPERATIONS[kind] = writer
            else:
                _OF_LAYERS[kind] = writer
        return function

    return register


def writer_of(operation: Any) -> Writer:
    """The writer of a layer or operation.

    Raises:
        ValueError: It has none.
    """
    if isinstance(operation, keras.Model):
        return Writer(lambda *_: "", ("training",))
    if isinstance(operation, keras.Layer):
        found = _OF_LAYERS.get(type(operation))
    else:
        found = _OF_OPERATIONS.get(type(operation).__name__)
    if found is None:
        raise cannot(operation, "no writer is registered for it")
    return found


def cannot(operation: Any, why: str) -> ValueError:
    """The error for what cannot be written; it names the layer."""
    kind = type(operation).__name__
    return ValueError(
        f"{kind} `{operation.name}` cannot be exported: {why}. Replace the layer, or register a writer for it with "
        "`speechrnn.export.onnx.writes`."
    )
