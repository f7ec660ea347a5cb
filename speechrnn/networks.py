"""Networks: functions that return a `keras.Model` from features and frame counts to logits."""

from typing import Any, Literal

import keras

from speechrnn.layers import GRU, LSTM, LengthMask, LookAhead, SimpleRNN, ZeroPadding
from speechrnn.layers.subsampling import StackFrames

__all__ = ["recurrent_ctc", "recurrent_lm", "stride"]

_CELLS: dict[str, type[keras.layers.Layer]] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}


def recurrent_ctc(
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    *,
    num_features: int,
    vocabulary_size: int,
    units: int = 256,
    layers: int = 3,
    bidirectional: bool = True,
    look_ahead: int = 0,
    convolutions: int = 0,
    filters: int = 32,
    stack: int = 1,
    dropout: float = 0.0,
    layer_norm: bool = True,
    residual: bool = True,
    unit_forget_bias: bool = True,
    recurrent_initializer: str = "orthogonal",
    dtype: str | None = None,
    name: str = "recurrent_ctc",
) -> keras.Model:
    """Recurrent acoustic network for CTC.

    Optional subsampling (strided convolutions, then frame stacking), then recurrent layers, each behind layer
    normalisation and within a residual connection, then one linear layer to the vocabulary. Right padding, whatever
    it holds, never changes a valid frame.

    Args:
        cell: Recurrent cell.
        num_features: Features a frame.
        vocabulary_size: Number of outputs, the blank counted: `len(vocabulary)`.
        units: State size of each direction of a recurrent layer.
        layers: Number of recurrent layers.
        bidirectional: Read the utterance in both directions; without it the network can stream.
        look_ahead: Future frames of the output that each frame sees, for a network of one direction; as many frames
            later it can stream.
        convolutions: Number of 3 x 3 convolutions that halve time and frequency, each with batch normalisation.
        filters: Channels of the convolutions.
        stack: Number of neighbouring frames joined into one.
        dropout: Share of activations dropped after each recurrent layer while training.
        layer_norm: Normalise the input of each recurrent layer, and the last output.
        residual: Add each recurrent layer's input to its output where the sizes agree.
        unit_forget_bias: Start the LSTM's forget gates open.
        recurrent_initializer: Initialiser of the recurrent weights.
        dtype: Policy of the layers, such as "mixed_bfloat16"; Keras's global policy where it is not given.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, num_features), frames int32 (batch,)]` and output
        float32 `(batch, ceil(frames / stride), vocabulary_size)` logits, where `stride = 2**convolutions * stack`.
        `stride(model)` gives it back.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check(cell, units=units, layers=layers, stack=stack, filters=filters, vocabulary_size=vocabulary_size)
    if look_ahead < 0 or (look_ahead and bidirectional):
        raise ValueError(
            "`look_ahead` must be >= 0, and 0 for a bidirectional network, which sees the whole future. "
            f"Received: look_ahead={look_ahead}, bidirectional={bidirectional}."
        )
    if convolutions < 0 or not 0 <= dropout < 1:
        raise ValueError(
            f"`convolutions` must be >= 0 and `dropout` in [0, 1). Received: convolutions={convolutions}, "
            f"dropout={dropout}."
        )
    features = keras.Input((None, num_features), name="features")
    frames = keras.Input((), dtype="int32", name="frames")
    x, length = ZeroPadding(dtype=dtype)(features, LengthMask()(frames, features)), frames
    if convolutions:
        x, length = _convolutions(x, length, convolutions, filters, num_features, dtype)
    if stack > 1:
        x, length = StackFrames(stack, dtype=dtype)(x), (length + (stack - 1)) // stack
    mask = LengthMask()(length, x)
    width = units * (2 if bidirectional else 1)
    if residual and x.shape[-1] != width:
        x = keras.layers.Dense(width, use_bias=False, dtype=dtype, name="projection")(x)
    for i in range(layers):
        y = keras.layers.LayerNormalization(dtype=dtype, name=f"norm_{i}")(x) if layer_norm else x
        kwargs = {"unit_forget_bias": unit_forget_bias} if cell == "lstm" else {}
        layer = _CELLS[cell](
            units, return_sequences=True, recurrent_initializer=recurrent_initializer, dtype=dtype, **kwargs
        )
        if bidirectional:
            layer = keras.layers.Bidirectional(layer, name=f"bidirectional_{i}", dtype=dtype)
        y = layer(y, mask=mask)
        if dropout:
            y = keras.layers.Dropout(dropout, dtype=dtype, name=f"dropout_{i}")(y)
        x = x + y if residual else y
    if look_ahead:
        x = LookAhead(look_ahead, dtype=dtype, name="look_ahead")(ZeroPadding(dtype=dtype)(x, mask))
    if layer_norm:
        x = keras.layers.LayerNormalization(dtype=dtype, name="norm_out")(x)
    logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([features, frames], ZeroPadding(dtype="float32", name="output")(logits, mask), name=name)


def recurrent_lm(
    cell: Literal["lstm", "gru"] = "lstm",
    *,
    vocabulary_size: int,
    units: int = 384,
    layers: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
    name: str = "recurrent_lm",
) -> keras.Model:
    """Recurrent language model over characters (Graves 2013, section 2).

    Args:
        cell: Recurrent cell.
        vocabulary_size: Number of symbols, the one that begins and ends a sentence counted: `len(vocabulary)`.
        units: State size of a recurrent layer.
        layers: Number of recurrent layers; each but the first is behind layer normalisation and within a residual
            connection.
        embedding: Size of a symbol's vector.
        dropout: Share of activations dropped after each recurrent layer while training.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[ids int32 (batch, steps), length int32 (batch,)]` and output float32 `(batch,
        steps, vocabulary_size)` logits: of what follows each symbol. Right padding never changes a valid step.

    Raises:
        ValueError: An argument is out of its range.
    """
    _check(cell, units=units, layers=layers, embedding=embedding, vocabulary_size=vocabulary_size)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
    ids = keras.Input((None,), dtype="int32", name="ids")
    length = keras.Input((), dtype="int32", name="length")
    mask = LengthMask()(length, ids)
    x = keras.layers.Embedding(vocabulary_size, embedding, name="embedding")(ids)
    for i in range(layers):
        y = keras.layers.LayerNormalization(name=f"norm_{i}")(x) if i else x
        y = _CELLS[cell](units, return_sequences=True, name=f"{cell}_{i}")(y, mask=mask)
        if dropout:
            y = keras.layers.Dropout(dropout, name=f"dropout_{i}")(y)
        x = x + y if i else y
    logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([ids, length], ZeroPadding(dtype="float32", name="output")(logits, mask), name=name)


def stride(network: keras.Model) -> int:
    """Input frames per output frame of a network of this module."""
    total = 1
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            total *= layer.strides[0]
        elif isinstance(layer, StackFrames):
            total *= layer.stack
    return total


def _convolutions(x: Any, length: Any, count: int, filters: int, num_features: int, dtype: Any) -> tuple[Any, Any]:
    """Strided 3 x 3 convolutions: `(batch, frames, features)` to `(batch, ceil(frames / 2**count), ...)`.

    One zero frame on either side, never TensorFlow's "same", whose padding depends on the batch's length.
    """
    x = keras.layers.Reshape((-1, num_features, 1), name="to_image", dtype=dtype)(x)
    for i in range(count):
        x = keras.layers.ZeroPadding2D(1, name=f"conv_padding_{i}", dtype=dtype)(x)
        x = keras.layers.Conv2D(filters, 3, strides=2, use_bias=False, name=f"conv_{i}", dtype=dtype)(x)
        length = (length + 1) // 2
        mask = LengthMask()(length, x)
        everywhere = keras.ops.repeat(keras.ops.expand_dims(mask, -1), x.shape[2], axis=-1)
        x = keras.layers.BatchNormalization(name=f"conv_norm_{i}", dtype=dtype)(x, mask=everywhere)
        x = keras.layers.Activation("relu", name=f"conv_relu_{i}", dtype=dtype)(x)
        x = ZeroPadding(name=f"conv_zero_{i}", dtype=dtype)(x, mask)
    return keras.layers.Reshape((-1, x.shape[2] * x.shape[3]), name="to_frames", dtype=dtype)(x), length


def _check(cell: str, **positive: int) -> None:
    if cell not in _CELLS:
        raise ValueError(f"`cell` must be one of {', '.join(map(repr, _CELLS))}. Received: {cell!r}.")
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}.")
