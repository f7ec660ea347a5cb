"""Walks the operations of a Keras model in order, by Keras's public API alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras


class Call(NamedTuple):
    """One call of a layer, or of an operation of `keras.ops`, in a network."""

    operation: Any
    arguments: Any
    """Positional arguments, with the walk's values in place of tensors."""
    options: dict[str, Any]
    """Keyword arguments, likewise."""
    outputs: list[keras.KerasTensor]
    """Shapes and dtypes of the outputs, as Keras infers them; None is any size."""


def _ignore_nothing(operation: Any) -> tuple[str, ...]:
    return ()


def walk(
    network: keras.Model,
    inputs: Sequence[Any],
    perform: Callable[[Call], Sequence[Any]],
    *,
    ignored: Callable[[Any], tuple[str, ...]] = _ignore_nothing,
) -> list[Any]:
    """Evaluate a functional or sequential model call by call, nested models included.

    Args:
        network: The model. Calls come after those that they depend on; calls that no output depends on are left out.
        inputs: A value for each of its inputs, in its order.
        perform: Returns a value for each output of a call.
        ignored: Names of an operation's options that do not matter; calls that only these depend on are left out too.

    Returns:
        A value for each of the network's outputs.

    Raises:
        ValueError: The network is neither functional nor sequential, so it has no graph.

    Example:
    >>> x = keras.Input((3,))
    >>> network = keras.Model(x, keras.layers.Dense(2, name="out")(keras.layers.ReLU(name="relu")(x)))
    >>> walk(network, ["x"], lambda call: [f"{call.operation.name}({call.arguments[0]})"])
    ['out(relu(x))']
    """
    calls, starts, ends = _record(network)
    values = {id(tensor): value for tensor, value in zip(starts, inputs, strict=True)}

    def filled(structure: Any) -> Any:
        return keras.tree.map_structure(lambda leaf: values[id(leaf)] if _is_tensor(leaf) else leaf, structure)

    for call in _required(calls, ends, ignored):
        if isinstance(call.operation, keras.Model):
            nested = [values[id(leaf)] for leaf in keras.tree.flatten(call.arguments) if _is_tensor(leaf)]
            outputs = walk(call.operation, nested, perform, ignored=ignored)
        else:
            arguments = [filled(argument) for argument in call.arguments]
            options = {name: filled(option) for name, option in call.options.items()}
            outputs = list(perform(Call(call.operation, arguments, options, call.outputs)))
        values |= {id(tensor): value for tensor, value in zip(call.outputs, outputs, strict=True)}
    return [values[id(tensor)] for tensor in ends]


def layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a network, with nested models replaced by their layers."""
    layers: list[keras.layers.Layer] = []
    for layer in network.layers:
        layers += layers_of(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


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


class _Proxy(keras.Operation):
    """Stands for an operation while a network is recorded, so that Keras adds no node to the operation itself."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.operation = operation

    def compute_output_spec(self, *arguments: Any, **options: Any) -> Any:
        """The output of the operation."""
        return self.operation.compute_output_spec(*arguments, **options)


def _record(network: keras.Model) -> tuple[list[Call], list[Any], list[Any]]:
    """The calls of a network, connected by symbolic tensors; its inputs and its outputs."""
    calls: list[Call] = []

    def record(operation: Any, *arguments: Any, **options: Any) -> Any:
        outputs = _Proxy(operation)(*arguments, **options)
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
            f"`{network.name}`, whose `call` has no graph. Build it with `keras.Model(inputs, outputs)`."
        )
    clone = keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=record)
    return calls, clone.inputs, clone.outputs


def _required(calls: list[Call], ends: list[Any], ignored: Callable[[Any], tuple[str, ...]]) -> list[Call]:
    """The calls that the outputs `ends` depend on, without ignored options."""
    required, kept = {id(tensor) for tensor in ends}, []
    for call in reversed(calls):
        if required.isdisjoint(id(tensor) for tensor in call.outputs):
            continue
        dropped = ("training", "mask") if isinstance(call.operation, keras.Model) else ignored(call.operation)
        options = {name: option for name, option in call.options.items() if name not in dropped}
        required |= {id(leaf) for leaf in keras.tree.flatten((call.arguments, options)) if _is_tensor(leaf)}
        kept.append(call._replace(options=options))
    return kept[::-1]


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, keras.KerasTensor)
