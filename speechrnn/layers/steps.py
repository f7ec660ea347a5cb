"""How a network runs on a stream, block by block: the one definition that every graph of steps is made of.

A layer declares two methods, as in Google's sequence-layers:

    initial_state(batch, shape) -> {name: shape}      states, float32, which begin as zeros; `shape` is that of the
                                                      first input, `(batch, None, ...)` where it has frames
    step(states, *arguments, **options) -> (outputs, {name: next state})

`step` takes what `call` takes and computes the outputs of one block of frames with `keras.ops` and layers. Block by
block the outputs are those of the whole sequence. A layer that has no such form raises `cannot_stream` in either, or
declares one thing only, `not_streamable`, the reason. It may declare more:

    delay         frames by which its outputs come late, since it sees as many ahead (0); None where they tell of the
                  frames that come now, however late its inputs are
    frame_window  frames that an output sees, and frames between outputs ((1, 1))

Keras's own layers and operations are declared here, in a table. `step_network` turns a network into the network of one
step, a Keras model whose further inputs and outputs are the states; ONNX, LiteRT and the tests take that.

A block holds a whole number of the network's outputs. What a frame needs from before the block is a state; what it
needs from after itself either lies within the block or makes the outputs come late. Where late and punctual frames
meet, the punctual ones wait, in a state too.
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
    """The error for what has no form block by block; it names the layer."""
    return ValueError(f"{type(operation).__name__} `{operation.name}` cannot stream: {why}.")


class Stateless:
    """A layer whose outputs for a block depend on that block alone: its step is its call."""

    def initial_state(self, batch: int | None, shape: Shape) -> dict[str, Shape]:
        """No state."""
        return {}

    def step(self, states: dict[str, Any], *arguments: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        """The call."""
        return self(*arguments, **options), {}  # type: ignore[operator]


class Declaration(NamedTuple):
    """How operations of one kind run block by block; every function takes the operation first."""

    initial_state: Callable[[Any, int | None, Shape], dict[str, Shape]]
    step: Callable[..., tuple[Any, dict[str, Any]]]
    window: Callable[[Any], tuple[int, int]] = lambda operation: (1, 1)
    context: Callable[[Any], int] = lambda operation: 0
    """Frames from before the block that its outputs begin with, for the window of what follows."""
    delay: Callable[[Any, int], int] = lambda operation, delay: delay
    """Of its outputs, by that of its inputs."""
    ignored: tuple[str, ...] = ("training",)
    """Options of the call that do not matter here."""


def declaration(operation: Any) -> Declaration:
    """How a layer or an operation runs block by block: as it says itself, or as the table says.

    Raises:
        ValueError: Neither says anything; it is named.
    """
    if hasattr(operation, "initial_state") and hasattr(operation, "step"):
        kind = type(operation)
        return Declaration(
            kind.initial_state,
            kind.step,
            window=lambda each: getattr(each, "frame_window", (1, 1)),
            delay=_declared_delay,
        )
    if hasattr(operation, "not_streamable"):
        raise cannot_stream(operation, operation.not_streamable)
    found = _TABLE.get(type(operation) if isinstance(operation, keras.Layer) else type(operation).__name__)
    if found is None:
        raise cannot_stream(operation, "whether it looks ahead is not known; give a layer of your own a method `step`")
    return found


def _declared_delay(layer: Any, delay: int) -> int:
    own = getattr(layer, "delay", 0)
    return 0 if own is None else delay + own


class StepNetwork(NamedTuple):
    """One step of a network."""

    model: keras.Model
    """Takes the network's inputs of one block, then the states; gives its outputs, then the next states."""
    states: dict[str, Shape]
    """Their shapes, in the order of the model's inputs; None is the batch. They begin as zeros."""
    delay: int
    """Frames by which the outputs come late: so many of the first ones lie before the first frame."""


def step_network(network: keras.Model, *, batch: int | None = None, frames: int | None = None) -> StepNetwork:
    """The network of one step.

    Args:
        network: Functional or sequential; its inputs are `(batch, frames, ...)`, or `(batch,)` lengths.
        batch: Rows of a batch; None is any number.
        frames: Frames of a block; None is any number of whole outputs.

    Raises:
        ValueError: A layer cannot run block by block; it is named, with the reason.

    Example:
    >>> x = keras.Input((None, 3))
    >>> step_network(keras.Model(x, keras.layers.GRU(4, return_sequences=True, name="gru")(x))).states
    {'gru_output': (None, 4)}
    """
    steps = Steps(batch)
    shapes = [(batch, frames, *given.shape[2:]) if len(given.shape) > 1 else (batch,) for given in network.inputs]
    inputs = [
        keras.Input(batch_shape=shape, dtype=given.dtype, name=given.name)
        for shape, given in zip(shapes, network.inputs, strict=True)
    ]
    return steps.made(inputs, steps.network(network, inputs), name=network.name)


@dataclass(frozen=True)
class _Block:
    """A tensor of one block."""

    tensor: Any
    framed: bool
    """Whether its second axis is that of the frames."""
    delay: int = 0
    context: int = 0

    @property
    def shape(self) -> Shape:
        """None is any number of frames; that of a batch is as it is."""
        shape = tuple(self.tensor.shape)
        return (shape[0], None, *shape[2:]) if self.framed else shape


class Steps:
    """A graph of one step that is being made, out of layers and networks.

    Args:
        batch: Rows of a batch; None is any number.
    """

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch
        self._states: dict[str, Any] = {}
        self._following: dict[str, Any] = {}
        self._delay = 0

    def layer(self, layer: Any, *inputs: Any) -> Any:
        """The output of one block of a layer; its states go by the names that it gives them, without its own."""
        blocks = [_Block(each, len(each.shape) > 1) for each in inputs]
        (found,) = self._performed(Call(layer, blocks, {}, []), prefix="")
        return found.tensor

    def network(self, network: keras.Model, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of one block of a network.

        Raises:
            ValueError: A layer cannot run block by block, or the network takes a fixed number of frames.
        """
        fixed = [given for given in network.inputs if len(given.shape) > 1 and given.shape[1] is not None]
        if fixed:
            raise ValueError(
                f"A network that streams must take any number of frames. Received: `{network.name}`, whose input "
                f"`{fixed[0].name}` is {fixed[0].shape}. Build it with keras.Input((None, ...))."
            )
        reserve_names(network)
        blocks = walk(
            network,
            [_Block(each, len(each.shape) > 1) for each in inputs],
            lambda call: self._performed(call, prefix=f"{call.operation.name}_"),
            ignored=lambda operation: declaration(operation).ignored,
        )
        self._delay = max(block.delay for block in blocks)
        if any(block.context for block in blocks):
            raise ValueError(f"Network `{network.name}` cannot stream: it ends in padding over time.")
        return [block.tensor for block in blocks]

    def made(self, inputs: Sequence[Any], outputs: Sequence[Any], *, name: str) -> StepNetwork:
        """What was made."""
        model = keras.Model([*inputs, *self._states.values()], [*outputs, *self._following.values()], name=name)
        return StepNetwork(model, {key: tuple(state.shape) for key, state in self._states.items()}, self._delay)

    def _performed(self, call: Call, *, prefix: str) -> list[_Block]:
        operation, declared = call.operation, declaration(call.operation)
        blocks = [leaf for leaf in keras.tree.flatten((call.arguments, call.options)) if isinstance(leaf, _Block)]
        delay = max((block.delay for block in blocks if block.framed), default=0)
        self._check_window(operation, declared, max((block.context for block in blocks), default=0), delay)
        if not declared.delay(operation, delay):  # its outputs tell of the frames that come now
            delay = 0

        def waiting(leaf: Any) -> Any:
            if not isinstance(leaf, _Block):
                return leaf
            late = delay - leaf.delay if leaf.framed else 0
            return self._late(leaf.tensor, late, f"{prefix}late") if late > 0 else leaf.tensor

        arguments, options = keras.tree.map_structure(waiting, (list(call.arguments), dict(call.options)))
        shapes = declared.initial_state(operation, self.batch, blocks[0].shape)
        if delay and shapes and declared.delay(operation, 0) == 0:
            raise cannot_stream(operation, "it stands behind a look-ahead, whose first outputs lie before the signal")
        names = {part: self._unused(prefix + part) for part in shapes}
        states = {part: self._state(names[part], shape) for part, shape in shapes.items()}
        outputs, following = declared.step(operation, states, *arguments, **options)
        self._following.update({names[part]: value for part, value in following.items()})
        after, context = declared.delay(operation, delay), declared.context(operation)
        found = keras.tree.flatten(outputs)
        framed = [len(each.shape) > 1 and each.shape[1] is None for each in call.outputs or found]
        return [_Block(*each, after, context) for each in zip(found, framed, strict=True)]

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
            raise cannot_stream(operation, "it makes fewer frames of those that come late, behind a look-ahead")

    def _unused(self, name: str) -> str:
        count, unused = 1, name
        while unused in self._states:
            count, unused = count + 1, f"{name}_{count}"
        return unused

    def _state(self, name: str, shape: Shape) -> Any:
        self._states[name] = keras.Input(batch_shape=shape, name=name)
        return self._states[name]

    def _late(self, tensor: Any, frames: int, name: str) -> Any:
        """The frames of so many before, and zeros before the first."""
        name, dtype = self._unused(name), tensor.dtype
        before = self._state(name, (self.batch, frames, *tensor.shape[2:]))
        joined = ops.concatenate([before, ops.cast(tensor, "float32")], axis=1)
        self._following[name] = joined[:, -frames:]
        return ops.cast(joined[:, :-frames], dtype)


# Keras's layers


def recurrent_state(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    """States of an LSTM, GRU or SimpleRNN, of Keras or of ours."""
    if layer.go_backwards:
        raise _backwards(layer)
    if layer.stateful:
        raise cannot_stream(layer, "stateful=True keeps states of its own")
    size = layer.cell.state_size
    names = ("output", "cell") if isinstance(size, list | tuple) else ("output",)
    return dict.fromkeys(names, (batch, layer.cell.units))


def recurrent_step(
    layer: Any, states: dict[str, Any], sequence: Any, initial_state: Any = None, mask: Any = None
) -> tuple[Any, dict[str, Any]]:
    """A block of an LSTM, GRU or SimpleRNN: Keras's loop over the same cell."""
    if initial_state is not None:
        raise cannot_stream(layer, "its first state is another layer's")
    loop = layers.RNN(
        layer.cell,
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=True,
        unroll=sequence.shape[1] == 1,
        dtype=layer.dtype_policy,
    )
    outputs, *after = loop(sequence, initial_state=list(states.values()), mask=mask)
    last = after[0]
    if mask is not None and layer.zero_output_for_mask:
        last = ops.where(mask[:, -1:], last, ops.zeros_like(last))
    elif mask is not None:
        outputs = ops.where(mask[:, :, None], outputs, last[:, None])
    shown = outputs if layer.return_sequences else last
    return (shown, *after) if layer.return_state else shown, dict(zip(states, after, strict=True))


def _backwards(layer: Any, *_: Any) -> ValueError:
    return cannot_stream(
        layer,
        "it reads the signal backwards, and needs its end first. Train with bidirectional=False (--no-bidirectional)",
    )


def _both_directions(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    raise _backwards(layer)


def _called(operation: Any, states: dict[str, Any], *arguments: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    return operation(*arguments, **options), {}


def _no_state(operation: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    return {}


def _along_no_time(operation: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    """No state; the axis on which it works is not that of the frames."""
    axis = getattr(operation, "axis", -1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    rank = len(shape) + (type(operation).__name__ == "ExpandDims")
    if None in shape[1:2] and (None in axes or any(each % rank < 2 for each in axes)):
        raise cannot_stream(operation, f"it works along the frames. Received: axis={axis}")
    return {}


def _get_item(operation: Any, states: dict[str, Any], values: Any, key: Any) -> tuple[Any, dict[str, Any]]:
    keys = list(key) if isinstance(key, list | tuple) else [key]
    if len(values.shape) > 1 and any(each != slice(None) for each in keys[:2]):
        raise cannot_stream(operation, f"it takes frames out of the whole. Received: {key!r}")
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
    """The last frames before the block in the place of the zeros before it; those after it are never looked at."""
    following = {}
    if states:
        values = ops.concatenate([states["frame"], values], axis=1)
        following["frame"] = values[:, -states["frame"].shape[1] :]
    if len(values.shape) == 4 and any(layer.padding[1]):
        values = layers.ZeroPadding2D(((0, 0), layer.padding[1]))(values)
    return values, following


def _size(layer: Any) -> int:
    """Frames that a convolution or pooling sees."""
    if hasattr(layer, "pool_size"):
        return layer.pool_size[0]
    return (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1


def _window(layer: Any) -> tuple[int, int]:
    return _size(layer) if layer.padding == "valid" else 1, layer.strides[0]


def _convolution_state(layer: Any, batch: int | None, shape: Shape) -> dict[str, Shape]:
    if layer.padding == "same" and _size(layer) > 1:
        raise cannot_stream(layer, 'padding="same" pads by the length of the whole: pad by hand, before the layer')
    earlier = _size(layer) - 1 if layer.padding == "causal" else 0
    return {"frames": (batch, earlier, *shape[2:])} if earlier else {}


def _convolution_step(layer: Any, states: dict[str, Any], values: Any) -> tuple[Any, dict[str, Any]]:
    if not states:
        return layer(values), {}
    joined = ops.concatenate([states["frames"], values], axis=1)
    found = ops.conv(joined, layer.kernel, layer.strides, "valid", layer.data_format, layer.dilation_rate)
    found = found if layer.bias is None else found + ops.convert_to_tensor(layer.bias)
    return layer.activation(found), {"frames": joined[:, -states["frames"].shape[1] :]}


_POINTWISE = Declaration(_along_no_time, _called, ignored=("training", "mask"))
_PLAIN = Declaration(_no_state, _called, ignored=("training", "mask"))
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
    layers.Softmax: Declaration(_along_no_time, _called),
    layers.Reshape: Declaration(_reshape, _called),
    **dict.fromkeys((layers.LSTM, layers.GRU, layers.SimpleRNN), _RECURRENT),
    layers.Bidirectional: Declaration(_both_directions, _called),
    **dict.fromkeys((layers.ZeroPadding1D, layers.ZeroPadding2D), _PADDING),
    **dict.fromkeys(
        (
            layers.Conv1D, layers.Conv2D, layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D,
            layers.AveragePooling2D,
        ),
        _CONVOLUTION,
    ),
    **dict.fromkeys(_OPERATIONS, Declaration(_no_state, _called)),
    **dict.fromkeys(
        ("Concatenate", "ExpandDims", "Max", "Mean", "Min", "Repeat", "Softmax", "Squeeze", "Sum"),
        Declaration(_along_no_time, _called),
    ),
    "GetItem": Declaration(_no_state, _get_item),
}  # fmt: skip
