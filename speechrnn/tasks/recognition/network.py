"""The recurrent acoustic network for CTC."""

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np

from speechrnn.layers import LengthMask, ZeroPadding
from speechrnn.layers import blocks as parts
from speechrnn.layers.subsampling import StackFrames

__all__ = ["recurrent_ctc", "with_outputs"]


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
    normalization and within a residual connection, then one linear layer to the vocabulary. Right padding, whatever
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
        convolutions: Number of 3 x 3 convolutions that halve time and frequency, each with batch normalization.
        filters: Channels of the convolutions.
        stack: Number of neighboring frames joined into one.
        dropout: Share of activations dropped after each recurrent layer while training.
        layer_norm: Normalize the input of each recurrent layer, and the last output.
        residual: Add each recurrent layer's input to its output where the sizes agree.
        unit_forget_bias: Start the LSTM's forget gates open.
        recurrent_initializer: Initializer of the recurrent weights.
        dtype: Policy of the layers, such as "mixed_bfloat16"; Keras's global policy where it is not given.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, num_features), frames int32 (batch,)]` and output
        float32 `(batch, ceil(frames / stride), vocabulary_size)` logits, where `stride = 2**convolutions * stack`.
        `speechrnn.layers.frames.stride(model)` gives it back.

    Raises:
        ValueError: An argument is out of its range.
    """
    parts.check(cell, units=units, layers=layers, stack=stack, filters=filters, vocabulary_size=vocabulary_size)
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
        x, length = parts.spectral_convolutions(x, length, convolutions, filters, dtype)
    if stack > 1:
        x, length = StackFrames(stack, dtype=dtype)(x), (length + (stack - 1)) // stack
    mask = LengthMask()(length, x)
    x = parts.recurrent_stack(
        x, mask, cell=cell, units=units, layers=layers, bidirectional=bidirectional, dropout=dropout,
        layer_norm=layer_norm, residual=residual, unit_forget_bias=unit_forget_bias,
        recurrent_initializer=recurrent_initializer, dtype=dtype, look_ahead=look_ahead,
    )  # fmt: skip
    logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([features, frames], ZeroPadding(dtype="float32", name="output")(logits, mask), name=name)


def with_outputs(network: keras.Model, kept: Sequence[int]) -> keras.Model:
    """A copy of an acoustic network, weights included, with other outputs.

    Args:
        network: As `recurrent_ctc` makes it.
        kept: For each output of the copy the output of `network` whose weights it takes over, or -1 for fresh ones.

    Raises:
        ValueError: The network has no dense layer named "logits", or `kept` names an output that it does not have.
    """
    before = next((layer for layer in network.layers if layer.name == "logits"), None)
    if not isinstance(before, keras.layers.Dense):
        raise ValueError(
            'The network must end in a dense layer named "logits", as `recurrent_ctc` makes it. '
            f"Received: a network whose layers are {', '.join(layer.name for layer in network.layers)}."
        )
    if not kept or max(kept) >= before.units:
        raise ValueError(f"`kept` must name outputs below {before.units}, at least one. Received: {list(kept)}.")

    def copied(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return layer.__class__.from_config({**config, "units": len(kept)} if layer is before else config)

    made = keras.models.clone_model(network, clone_function=copied)
    for old, new in zip(network.layers, made.layers, strict=True):
        if old is not before:
            new.set_weights(old.get_weights())
    after = made.get_layer("logits")
    chosen = np.asarray(kept)
    for old, new in zip(before.weights, after.weights, strict=True):
        fresh, learned = np.asarray(new), np.asarray(old)
        new.assign(np.where(chosen >= 0, learned[..., chosen], fresh))
    return made
