"""The recurrent classifier: one answer for a sequence, or one for each frame of it."""

from typing import Any, Literal

import keras
from keras import ops

from speechrnn.layers import AttentionPooling, LengthMask, MaskedPooling, ZeroPadding
from speechrnn.layers import blocks as parts

__all__ = ["recurrent_classifier"]


def recurrent_classifier(
    cell: Literal["lstm", "gru", "rnn"] = "gru",
    *,
    num_features: int,
    num_classes: int,
    symbols: int = 0,
    embedding: int = 64,
    units: int = 64,
    layers: int = 1,
    bidirectional: bool = True,
    convolutions: int = 0,
    over: Literal["time", "spectrum"] = "time",
    filters: int = 32,
    widen: float = 1.0,
    kernel: int = 7,
    stem: int = 1,
    pool: int = 2,
    frame_shape: tuple[int, int] | None = None,
    frame_convolutions: int = 3,
    pooling: Literal["attention", "mean", "max", "last"] | None = "attention",
    heads: int = 1,
    dropout: float = 0.0,
    layer_norm: bool = True,
    residual: bool = True,
    unit_forget_bias: bool = True,
    recurrent_initializer: str = "orthogonal",
    dtype: str | None = None,
    name: str = "recurrent_classifier",
) -> keras.Model:
    """Recurrent classifier of sequences of any length.

    An optional convolutional front end (within each frame, then over frames), recurrent layers as in `recurrent_ctc`,
    pooling over the valid frames, and one linear layer. Right padding, whatever it holds, never changes an output.

    Args:
        cell: Recurrent cell.
        num_features: Features a frame.
        num_classes: Number of outputs.
        symbols: Number of tokens where each frame is the number of one, see `speechrnn.features.Symbols`; the network
            then begins with an embedding. 0 is for features that are measured.
        embedding: Size of a token's vector.
        units: State size of each direction of a recurrent layer.
        layers: Number of recurrent layers.
        bidirectional: Read the sequence in both directions.
        convolutions: Number of convolutional blocks before the recurrent layers.
        over: What the blocks are: "time" for signals, residual pairs of convolutions over frames, all features at once,
            then the maximum over `pool` frames; "spectrum" for spectra, 3 x 3 convolutions that halve frames and bands.
        filters: Channels of the convolutions.
        widen: Factor by which channels grow from block to block, over time.
        kernel: Frames that a convolution over time sees (samples, within frames).
        stem: Stride of one more convolution at the start, over time; 1 leaves it out.
        pool: Frames that become one behind each block over time; 1 keeps them all.
        frame_shape: `(samples, channels)` of a piece of signal that the first columns of each frame hold, channels
            innermost; convolutions within the frame turn it into features, and the other columns stay beside them.
        frame_convolutions: Number of convolutions within frames, each of which halves the samples.
        pooling: How frames become one vector: "attention" (learned weights), "mean", "max" or "last"; None gives logits
            for every frame.
        heads: Weighted means that attention makes.
        dropout: Share of activations dropped in training within blocks, after each recurrent layer and before the end.
        layer_norm: Normalize the input of each recurrent layer, and the last output.
        residual: Add each recurrent layer's input to its output.
        unit_forget_bias: Start the LSTM's forget gates open.
        recurrent_initializer: Initializer of the recurrent weights.
        dtype: Policy of the layers, such as "mixed_bfloat16"; Keras's global policy where it is not given.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, num_features), frames int32 (batch,)]` and output
        float32 `(batch, num_classes)` logits; without pooling `(batch, ceil(frames / stride), num_classes)`, zeros in
        the padding, where `stride` is `stem * pool**convolutions` over time and `2**convolutions` over spectra.

    Raises:
        ValueError: An argument is out of its range.
    """
    parts.check(
        cell, units=units, layers=layers, filters=filters, kernel=kernel, stem=stem, pool=pool, heads=heads,
        frame_convolutions=frame_convolutions, num_classes=num_classes, embedding=embedding,
    )  # fmt: skip
    _check(convolutions, over, pooling, dropout, widen)
    _check_frames(frame_shape, num_features)
    features = keras.Input((None, num_features), name="features")
    frames = keras.Input((), dtype="int32", name="frames")
    mask, length = LengthMask()(frames, features), frames
    x = _embedded(features, mask, symbols, embedding, dropout, dtype) if symbols else None
    x = ZeroPadding(dtype=dtype)(features if x is None else x, mask)
    if frame_shape is not None:
        x = parts.convolutions_within_frames(
            x, mask, shape=frame_shape, count=frame_convolutions, filters=filters, kernel=kernel, dropout=dropout,
            dtype=dtype,
        )  # fmt: skip
    if over == "spectrum" and convolutions:
        x, length = parts.spectral_convolutions(x, length, convolutions, filters, dtype, momentum=parts.MOMENTUM)
    elif convolutions or stem > 1:
        x, length = parts.convolutions_over_time(
            x, length, blocks=convolutions, filters=filters, widen=widen, kernel=kernel, stem=stem, pool=pool,
            dropout=dropout, dtype=dtype,
        )  # fmt: skip
    mask = LengthMask()(length, x)
    x = parts.recurrent_stack(
        x, mask, cell=cell, units=units, layers=layers, bidirectional=bidirectional, dropout=dropout,
        layer_norm=layer_norm, residual=residual, unit_forget_bias=unit_forget_bias,
        recurrent_initializer=recurrent_initializer, dtype=dtype,
    )  # fmt: skip
    if pooling == "attention":
        x = AttentionPooling(heads, dtype=dtype, name="pooling")(x, mask)
    elif pooling is not None:
        x = MaskedPooling(pooling, dtype=dtype, name="pooling")(x, mask)
    if dropout and pooling is not None:
        x = keras.layers.Dropout(dropout, dtype=dtype, name="dropout_out")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    if pooling is None:
        logits = ZeroPadding(dtype="float32", name="output")(logits, mask)
    return keras.Model([features, frames], logits, name=name)


def _embedded(
    features: Any, mask: Any, symbols: int, embedding: int, dropout: float, dtype: str | None
) -> keras.KerasTensor:
    """The vector of each token, whose numbers float16 could not hold."""
    if features.shape[-1] != 1 or symbols < 0:
        raise ValueError(
            "`symbols` must not be negative, and needs one feature, the number of a token. Received: "
            f"symbols={symbols}, num_features={features.shape[-1]}."
        )
    numbers = ZeroPadding(dtype="float32", name="numbers")(features, mask)
    numbers = ops.cast(ops.squeeze(numbers, -1), "int32")
    x = keras.layers.Embedding(symbols, embedding, dtype=dtype, name="embedding")(numbers)
    return keras.layers.Dropout(dropout, dtype=dtype, name="dropout_in")(x) if dropout else x


def _check(convolutions: int, over: str, pooling: str | None, dropout: float, widen: float) -> None:
    if convolutions < 0 or not 0 <= dropout < 1 or not widen > 0:
        raise ValueError(
            "`convolutions` must be >= 0, `dropout` in [0, 1) and `widen` positive. Received: "
            f"convolutions={convolutions}, dropout={dropout}, widen={widen}."
        )
    if over not in ("time", "spectrum"):
        raise ValueError(f'`over` must be "time" or "spectrum". Received: {over!r}.')
    if pooling not in ("attention", "mean", "max", "last", None):
        raise ValueError(f'`pooling` must be "attention", "mean", "max", "last" or None. Received: {pooling!r}.')


def _check_frames(frame_shape: tuple[int, int] | None, num_features: int) -> None:
    if frame_shape is None:
        return
    if len(frame_shape) != 2 or min(frame_shape) < 1 or frame_shape[0] * frame_shape[1] > num_features:
        raise ValueError(
            "`frame_shape` must be (samples, channels), together no more than `num_features`. Received: "
            f"frame_shape={tuple(frame_shape)}, num_features={num_features}."
        )
