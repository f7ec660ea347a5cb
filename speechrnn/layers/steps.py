"""Streaming: how each layer runs block by block, and the network of one step that is made from it.

A layer declares two methods, as in Google's sequence-layers:

    initial_state(batch, shape) -> {name: shape}      states, float32, initially zeros; `shape` is that of the first
                                                      input, `(batch, None, ...)` if it has frames
    step(states, *arguments, **options) -> (outputs, {name: next state})

`step` takes the arguments of `call` and computes the outputs of one block of frames with `keras.ops` and layers. Block
by block the outputs are those of the whole sequence. A layer that cannot do this raises `cannot_stream` in either
method, or has one attribute only, `not_streamable`, the reason. Two more are optional:

    delay         frames by which its outputs are delayed, because it sees as many ahead (0); None if its outputs
                  belong to the current frames, whatever the delay of its inputs
    frame_window  frames that an output sees, and frames between outputs ((1, 1))

Keras's own layers and operations are declared here, in a table. `step_network` turns a network into the network of one
step, a Keras model with the states as additional inputs and outputs; ONNX, LiteRT and the tests use it.

A block yields a whole number of outputs of the network. Frames needed from before the block are a state; frames needed
from after the current one are within the block, or else they delay the outputs. Where delayed and current frames meet,
the current ones are delayed too, by a state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

from speechrnn.layers.graph import Call, reserve_names, walk

__all__ = ["Declaration", "Stateless", "StepNetwork", "Steps", "cannot_stream", "declaration", "step_network"]

layers = keras.layers
Shape = tuple[int | None, ...]


def cannot_stream(operation: Any, why: str) -> ValueError:
    """The error for a layer that cannot run block by block."""
    return ValueError(f"{type(operation).__name__} `{operation.name}` cannot stream: {why}.")


class Stateless:
    """Mixin for layers whose outputs for a block depend on that block alone."""

    def initial_state(self, batch: int | None, shape: Shape) -> dict[str, Shape]:
        """No state."""
        return {}

    def step(self, states: dict[str, Any], *arguments: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Call the layer."""
        return self(*arguments, **options), {}  # type: ignore[operator]


class Declaration(NamedTuple):
    """How a type of operation runs block by block; every function takes the operation first."""

    initial_state: Callable[[Any, int | None, Shape], dict[str, Shape]]
    step: Callable[..., tuple[Any, dict[str, Any]]]
    window: Callable[[Any], tuple[int, int]] = lambda operation: (1, 1)
    context: Callable[[Any], int] = lambda operation: 0
    """Frames from before the block at the start of its outputs, for the window of the next operation."""
    delay: Callable[[Any, int], int] = lambda operation, delay: delay
    """The delay of its outputs, from that of its inputs."""
    ignored: tuple[str, ...] = ("training",)
    """Options of the call that have no effect in streaming."""


def declaration(operation: Any) -> Declaration:
    """How a layer or an operation runs block by block: by its own methods, or by the table.

    Raises:
        ValueError: It has neither.
    """
    if hasattr(operation, "initial_state") and hasattr(operation, "step"):
        return Declaration(
            type(operation).initial_state,
            type(operation).step,
            window=lambda layer: getattr(layer, "frame_window", (1, 1)),
            delay=_declared_delay,
        )
    if hasattr(operation, "not_streamable"):
        raise cannot_stream(operation, operation.not_streamable)
    declared = _TABLE.get(type(operation) if isinstance(operation, keras.Layer) else type(operation).__name__)
    if declared is None:
        raise cannot_stream(operation, "whether it looks ahead is not known; give a layer of your own a method `step`")
    return declared


def _declared_delay(layer: Any, delay: int) -> int:
    added = getattr(layer, "delay", 0)
    return 0 if added is None else delay + added


class StepNetwork(NamedTuple):
    """One step of a network."""

    model: keras.Model
    """Maps the network's inputs of one block, then the states, to its outputs, then the next states."""
    states: dict[str, Shape]
    """Shapes of the states, in the order of the model's inputs; None is the batch. They are initially zeros."""
    delay: int
    """Frames by which the outputs are delayed: this many of the first ones lie before the signal."""


def step_network(network: keras.Model, *, batch: int | None = None, frames: int | None = None) -> StepNetwork:
    """Make the network of one step.

    Args:
        network: Functional or sequential; its inputs are `(batch, frames, ...)`, or `(batch,)` lengths.
        batch: Rows of a batch; None is any number.
        frames: Frames per block; None is any number that gives whole outputs.

    Raises:
        ValueError: A layer cannot run block by block; it is named, with the reason.

    Example:
    >>> x = keras.Input((None, 3))
    >>> step_network(keras.Model(x, keras.layers.GRU(4, return_sequences=True, name="gru")(x))).states
    {'gru_output': (None, 4)}
    """
    steps = Steps(batch)
    shapes = [(batch, frames, *like.shape[2:]) if len(like.shape) > 1 else (batch,) for like in network.inputs]
    inputs = [
        keras.Input(batch_shape=shape, dtype=like.dtype, name=like.name)
        for shape, like in zip(shapes, network.inputs, strict=True)
    ]
    return steps.build(inputs, steps.network(network, inputs), name=network.name)


@dataclass(frozen=True)
class _Block:
    """A tensor of one block."""

    tensor: Any
    has_frames: bool
    """Whether its second axis is that of the frames."""
    delay: int = 0
    context: int = 0

    @property
    def shape(self) -> Shape:
        """The tensor's shape, with None for the number of frames."""
        shape = tuple(self.tensor.shape)
        return (shape[0], None, *shape[2:]) if self.has_frames else shape


class Steps:
    """Builder of the graph of one step, from layers and networks.

    Args:
        batch: Rows of a batch; None is any number.
    """

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch
        self._states: dict[str, Any] = {}
        self._next_states: dict[str, Any] = {}
        self._delay = 0

    def layer(self, layer: Any, *inputs: Any) -> Any:
        """Apply a layer to one block; the names of its states have no prefix."""
        blocks = [_Block(tensor, len(tensor.shape) > 1) for tensor in inputs]
        (output,) = self._apply(Call(layer, blocks, {}, []), prefix="")
        return output.tensor

    def network(self, network: keras.Model, inputs: Sequence[Any]) -> list[Any]:
        """Apply a network to one block.

        Raises:
            ValueError: A layer cannot run block by block, or the network takes a fixed number of frames.
        """
        fixed = [tensor for tensor in network.inputs if len(tensor.shape) > 1 and tensor.shape[1] is not None]
        if fixed:
            raise ValueError(
                f"A network that streams must take any number of frames. Received: `{network.name}`, whose input "
                f"`{fixed[0].name}` is {fixed[0].shape}. Build it with keras.Input((None, ...))."
            )
        reserve_names(network)
        blocks = walk(
            network,
            [_Block(tensor, len(tensor.shape) > 1) for tensor in inputs],
            lambda call: self._apply(call, prefix=f"{call.operation.name}_"),
            ignored=lambda operation: declaration(operation).ignored,
        )
        self._delay = max(block.delay for block in blocks)
        if any(block.context for block in blocks):
            raise ValueError(f"Network `{network.name}` cannot stream: it ends in padding over time.")
        return [block.tensor for block in blocks]

    def build(self, inputs: Sequence[Any], outputs: Sequence[Any], *, name: str) -> StepNetwork:
        """Make the Keras model of the graph."""
        model = keras.Model([*inputs, *self._states.values()], [*outputs, *self._next_states.values()], name=name)
        return StepNetwork(model, {key: tuple(state.shape) for key, state in self._states.items()}, self._delay)

    def _apply(self, call: Call, *, prefix: str) -> list[_Block]:
        operation, declared = call.operation, declaration(call.operation)
        blocks = [leaf for leaf in keras.tree.flatten((call.arguments, call.options)) if isinstance(leaf, _Block)]
        delay = max((block.delay for block in blocks if block.has_frames), default=0)
        self._check_window(operation, declared, max((block.context for block in blocks), default=0), delay)
        if not declared.delay(operation, delay):  # its outputs belong to the current frames
            delay = 0

        def aligned(leaf: Any) -> Any:
            if not isinstance(leaf, _Block):
                return leaf
            missing = delay - leaf.delay if leaf.has_frames else 0
            return self._delayed(leaf.tensor, missing, f"{prefix}late") if missing > 0 else leaf.tensor

        arguments, options = keras.tree.map_structure(aligned, (list(call.arguments), dict(call.options)))
        shapes = declared.initial_state(operation, self.batch, blocks[0].shape)
        if delay and shapes and declared.delay(operation, 0) == 0:
            raise cannot_stream(operation, "it follows a look-ahead, whose first outputs lie before the signal")
        names = {part: self._unused(prefix + part) for part in shapes}
        states = {part: self._state(names[part], shape) for part, shape in shapes.items()}
        outputs, next_states = declared.step(operation, states, *arguments, **options)
        self._next_states.update({names[part]: value for part, value in next_states.items()})
        delay, context, outputs = (
            declared.delay(operation, delay),
            declared.context(operation),
            keras.tree.flatten(outputs),
        )
        has_frames = [len(like.shape) > 1 and like.shape[1] is None for like in call.outputs or outputs]
        return [_Block(*each, delay, context) for each in zip(outputs, has_frames, strict=True)]

    def _check_window(self, operation: Any, declared: Declaration, context: int, delay: int) -> None:
        size, stride = declared.window(operation)
        low, high = max(size - stride, 0), size - 1
        if not low <= context <= high:
            raise cannot_stream(
                operation,
                f"it sees {size} frames for every {stride}, so that {low} to {high} frames of zeros must be padded "
                f"before the signal. Received: {context}",
            )
        if delay and stride > 1:
            raise cannot_stream(operation, "it reduces the number of frames after a look-ahead, which delays them")

    def _unused(self, name: str) -> str:
        count, unused = 1, name
        while unused in self._states:
            count, unused = count + 1, f"{name}_{count}"
        return unused

    def _state(self, name: str, shape: Shape) -> Any:
        self._states[name] = keras.Input(batch_shape=shape, name=name)
        return self._states[name]

    def _delayed(self, tensor: Any, frames: int, name: str) -> Any:
        """A tensor delayed by `frames` frames, initially zeros."""
        name, dtype = self._unused(name), tensor.dtype
        before = self._state(name, (self.batch, frames, *tensor.shape[2:]))
        joined = ops.concatenate([before, ops.cast(tensor, "float32")], axis=1)
        self._next_states[name] = joined[:, -frames:]
        return ops.cast(joined[:, :-frames], dtype)


# Keras's layers


def recurrent_state(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    """States of an LSTM, GRU or SimpleRNN, Keras's or ours."""
    if layer.go_backwards:
        raise _backwards_error(layer)
    if layer.stateful:
        raise cannot_stream(layer, "stateful=True keeps states of its own")
    size = layer.cell.state_size
    names = ("output", "cell") if isinstance(size, list | tuple) else ("output",)
    return dict.fromkeys(names, (batch, layer.cell.units))


def recurrent_step(
    layer: Any, states: dict[str, Any], sequence: Any, initial_state: Any = None, mask: Any = None
) -> tuple[Any, dict[str, Any]]:
    """Run an LSTM, GRU or SimpleRNN over a block, by Keras's loop over the same cell."""
    if initial_state is not None:
        raise cannot_stream(layer, "its initial state is another layer's")
    loop = layers.RNN(
        layer.cell,
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=True,
        unroll=sequence.shape[1] == 1,
        dtype=layer.dtype_policy,
    )
    outputs, *final = loop(sequence, initial_state=list(states.values()), mask=mask)
    last = final[0]
    if mask is not None and layer.zero_output_for_mask:
        last = ops.where(mask[:, -1:], last, ops.zeros_like(last))
    elif mask is not None:
        outputs = ops.where(mask[:, :, None], outputs, last[:, None])
    returned = outputs if layer.return_sequences else last
    return (returned, *final) if layer.return_state else returned, dict(zip(states, final, strict=True))


def _backwards_error(layer: Any, *_: Any) -> ValueError:
    return cannot_stream(
        layer,
        "it reads the signal backwards, and needs its end first. Train with bidirectional=False (--no-bidirectional)",
    )


def _bidirectional_state(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    raise _backwards_error(layer)


def _call(operation: Any, states: dict[str, Any], *arguments: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    return operation(*arguments, **options), {}


def _no_state(operation: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    return {}


def _no_state_across_features(operation: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    """No state, and a check that the operation's axis is not that of the frames."""
    axis = getattr(operation, "axis", -1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    rank = len(shape) + (type(operation).__name__ == "ExpandDims")
    if None in shape[1:2] and (None in axes or any(each % rank < 2 for each in axes)):
        raise cannot_stream(operation, f"its axis must not be that of the frames. Received: axis={axis}")
    return {}


def _get_item(operation: Any, states: dict[str, Any], values: Any, key: Any) -> tuple[Any, dict[str, Any]]:
    keys = list(key) if isinstance(key, list | tuple) else [key]
    if len(values.shape) > 1 and any(each != slice(None) for each in keys[:2]):
        raise cannot_stream(operation, f"it selects frames of the whole sequence. Received: {key!r}")
    return operation(values, tuple(keys)), {}


def _reshape(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    if layer.target_shape[0] != -1:
        raise cannot_stream(layer, f"it must keep the frames, as (-1, ...). Received: {layer.target_shape}")
    return {}


def _time_padding(layer: Any) -> tuple[int, int]:
    return tuple(layer.padding[0] if isinstance(layer.padding[0], list | tuple) else layer.padding)


def _padding_state(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    before, _ = _time_padding(layer)
    return {"frame": (batch, before, *shape[2:])} if before else {}


def _padding_step(layer: Any, states: dict[str, Any], values: Any) -> tuple[Any, dict[str, Any]]:
    """Prepend the last frames of the previous block instead of zeros; padding after the block is left out."""
    next_states = {}
    if states:
        values = ops.concatenate([states["frame"], values], axis=1)
        next_states["frame"] = values[:, -states["frame"].shape[1] :]
    if len(values.shape) == 4 and any(layer.padding[1]):
        values = layers.ZeroPadding2D(((0, 0), layer.padding[1]))(values)
    return values, next_states


def _size(layer: Any) -> int:
    """Frames that each output of a convolution or pooling sees."""
    if hasattr(layer, "pool_size"):
        return layer.pool_size[0]
    return (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1


def _window(layer: Any) -> tuple[int, int]:
    return _size(layer) if layer.padding == "valid" else 1, layer.strides[0]


def _convolution_state(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    if layer.padding == "same" and _size(layer) > 1:
        raise cannot_stream(layer, 'padding="same" pads by the length of the sequence: pad by hand, before the layer')
    earlier = _size(layer) - 1 if layer.padding == "causal" else 0
    return {"frames": (batch, earlier, *shape[2:])} if earlier else {}


def _convolution_step(layer: Any, states: dict[str, Any], values: Any) -> tuple[Any, dict[str, Any]]:
    if not states:
        return layer(values), {}
    joined = ops.concatenate([states["frames"], values], axis=1)
    outputs = ops.conv(joined, layer.kernel, layer.strides, "valid", layer.data_format, layer.dilation_rate)
    outputs = outputs if layer.bias is None else outputs + ops.convert_to_tensor(layer.bias)
    return layer.activation(outputs), {"frames": joined[:, -states["frames"].shape[1] :]}


_POINTWISE = Declaration(_no_state_across_features, _call, ignored=("training", "mask"))
_PLAIN = Declaration(_no_state, _call, ignored=("training", "mask"))
_RECURRENT = Declaration(recurrent_state, recurrent_step)
_PADDING = Declaration(_padding_state, _padding_step, context=lambda layer: _time_padding(layer)[0])
_CONVOLUTION = Declaration(_convolution_state, _convolution_step, window=_window)
_OPERATIONS = (
    "Absolute", "Add", "Cast", "Divide", "Equal", "Exp", "FloorDivide", "Greater", "GreaterEqual", "Less",
    "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Multiply", "Negative",
    "Relu", "Sigmoid", "Silu", "Sqrt", "Subtract", "Tanh", "TrueDivide", "Where",
)  # fmt: skip

_TABLE: dict[type | str, Declaration] = {
    **dict.fromkeys(
        (
            layers.Activation, layers.Add, layers.Average, layers.Dense, layers.Dropout, layers.Embedding,
            layers.GaussianDropout, layers.GaussianNoise, layers.Identity, layers.InputLayer, layers.LeakyReLU,
            layers.Maximum, layers.Multiply, layers.ReLU, layers.SpatialDropout1D, layers.Subtract,
        ),
        _PLAIN,
    ),
    **dict.fromkeys((layers.BatchNormalization, layers.Concatenate, layers.LayerNormalization), _POINTWISE),
    layers.Softmax: Declaration(_no_state_across_features, _call),
    layers.Reshape: Declaration(_reshape, _call),
    **dict.fromkeys((layers.LSTM, layers.GRU, layers.SimpleRNN), _RECURRENT),
    layers.Bidirectional: Declaration(_bidirectional_state, _call),
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D), _PADDING),
    **dict.fromkeys(
        (
            layers.Conv1D, layers.Conv2D, layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D,
            layers.AveragePooling2D,
        ),
        _CONVOLUTION,
    ),
    **dict.fromkeys(_OPERATIONS, Declaration(_no_state, _call)),
    **dict.fromkeys(
        ("Concatenate", "ExpandDims", "Max", "Mean", "Min", "Repeat", "Softmax", "Squeeze", "Sum"),
        Declaration(_no_state_across_features, _call),
    ),
    "GetItem": Declaration(_no_state, _get_item),
}  # fmt: skip
