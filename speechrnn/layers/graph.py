"""A network's operations in order: the one walk over the graph of a Keras model, by Keras's public API alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops`, in a network."""

    operation: Any
    arguments: Any
    """Of the call, in order; in the place of tensors stand the values that the walk carries."""
    options: dict[str, Any]
    """Of the call, by name, likewise."""
    outputs: list[keras.KerasTensor]
    """Shapes and dtypes of what comes out, as Keras knows them; None is any size."""


def _nothing(operation: Any) -> tuple[str, ...]:
    return ()


def walk(
    network: keras.Model,
    inputs: Sequence[Any],
    perform: Callable[[Call], Sequence[Any]],
    *,
    ignored: Callable[[Any], tuple[str, ...]] = _nothing,
) -> list[Any]:
    """Go through a functional or sequential model, also one that holds others, call by call.

    Args:
        network: Whose calls are performed, each after those that it needs; those that no output needs are left out.
        inputs: A value for each of its inputs, in its order.
        perform: Gives a value for each output of a call.
        ignored: Names of options of an operation that do not matter; what only they need is left out as well.

    Returns:
        A value for each of the network's outputs.

    Raises:
        ValueError: The network is neither functional nor sequential, so that there is no graph to walk.

    Example:
    >>> x = keras.Input((3,))
    >>> network = keras.Model(x, keras.layers.Dense(2, name="out")(keras.layers.ReLU(name="relu")(x)))
    >>> walk(network, ["x"], lambda call: [f"{call.operation.name}({call.arguments[0]})"])
    ['out(relu(x))']
    """
    calls, starts, ends = _recorded(network)
    values = {id(tensor): value for tensor, value in zip(starts, inputs, strict=True)}

    def filled(structure: Any) -> Any:
        return keras.tree.map_structure(lambda leaf: values[id(leaf)] if _is_tensor(leaf) else leaf, structure)

    for call in _needed(calls, ends, ignored):
        if isinstance(call.operation, keras.Model):
            given = [values[id(leaf)] for leaf in keras.tree.flatten(call.arguments) if _is_tensor(leaf)]
            found = walk(call.operation, given, perform, ignored=ignored)
        else:
            arguments = [filled(argument) for argument in call.arguments]
            options = {name: filled(option) for name, option in call.options.items()}
            found = list(perform(Call(call.operation, arguments, options, call.outputs)))
        values |= {id(tensor): value for tensor, value in zip(call.outputs, found, strict=True)}
    return [values[id(tensor)] for tensor in ends]


def layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    """Its layers, and in the place of models within it theirs."""
    found: list[keras.layers.Layer] = []
    for layer in network.layers:
        found += layers_of(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def reserve_names(network: keras.Model) -> None:
    """Keep Keras from naming new operations like those of a network that was named in another process.

    A model of both would be refused.
    """
    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.Model):
            reserve_names(operation)
        prefix, _, number = operation.name.rpartition("_")
        if not (prefix and number.isdecimal() and len(number) < 6):  # Keras numbers only the second one and later ones
            prefix, number = operation.name, "0"
        while keras.backend.get_uid(prefix) <= int(number):
            pass


class _Recorded(keras.Operation):
    """Takes an operation's place while a network is recorded, so that the operation itself learns nothing of it."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.operation = operation

    def compute_output_spec(self, *arguments: Any, **options: Any) -> Any:
        """That of the operation."""
        return self.operation.compute_output_spec(*arguments, **options)


def _recorded(network: keras.Model) -> tuple[list[Call], list[Any], list[Any]]:
    """The calls of a network, with tensors as they stand between them; its inputs and its outputs."""
    calls: list[Call] = []

    def record(operation: Any, *arguments: Any, **options: Any) -> Any:
        outputs = _Recorded(operation)(*arguments, **options)
        calls.append(Call(operation, arguments, options, keras.tree.flatten(outputs)))
        return outputs

    if isinstance(network, keras.Sequential):
        first = network.inputs[0]
        tensor = start = keras.Input(batch_shape=first.shape, dtype=first.dtype)
        for layer in network.layers:
            tensor = record(layer, tensor)
        return calls, [start], [tensor]
    if not hasattr(network, "operations"):
        raise ValueError(
            f"A network must be a functional or a sequential Keras model. Received: {type(network).__name__} "
            f"`{network.name}`, whose `call` is program text. Build it with `keras.Model(inputs, outputs)`."
        )
    made = keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=record)
    return calls, made.inputs, made.outputs


def _needed(calls: list[Call], ends: list[Any], ignored: Callable[[Any], tuple[str, ...]]) -> list[Call]:
    """The calls that the ends need, without the options that do not matter."""
    wanted, found = {id(tensor) for tensor in ends}, []
    for call in reversed(calls):
        if wanted.isdisjoint(id(tensor) for tensor in call.outputs):
            continue
        left_out = ("training", "mask") if isinstance(call.operation, keras.Model) else ignored(call.operation)
        options = {name: option for name, option in call.options.items() if name not in left_out}
        wanted |= {id(leaf) for leaf in keras.tree.flatten((call.arguments, options)) if _is_tensor(leaf)}
        found.append(call._replace(options=options))
    return found[::-1]


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, keras.KerasTensor)
