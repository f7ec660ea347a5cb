"""The recurrent network of classifiers, with one output per sequence or per frame."""

from typing import Any

import keras
from keras import ops

from speechrnn.faults import options_as_keywords
from speechrnn.layers import AttentionPooling, LengthMask, MaskedPooling, ZeroPadding, blocks
from speechrnn.tasks.classification.options import ClassifyingNetwork


@options_as_keywords(ClassifyingNetwork, "cell")
def recurrent_classifier(  # noqa: D417 - the decorator adds the options
    options: ClassifyingNetwork,
    *,
    num_features: int,
    num_classes: int,
    symbols: int = 0,
    name: str = "recurrent_classifier",
) -> keras.Model:
    """Build a recurrent classifier of sequences of any length.

    An optional convolutional front end (within each frame, then over frames), recurrent layers as in `recurrent_ctc`,
    pooling over the valid frames, and a linear layer. The content of the right padding never changes an output.

    Args:
        num_features: Features per frame.
        num_classes: Number of outputs.
        symbols: Number of different tokens, if each frame is the number of a token, see `speechrnn.features.Symbols`;
            the network then begins with an embedding. 0 for other features.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, num_features), frames int32 (batch,)]` and output
        float32 `(batch, num_classes)` logits; without pooling `(batch, ceil(frames / stride), num_classes)`, zeros in
        the padding, where `stride` is `stem * pool**convolutions` over time and `2**convolutions` over spectra.

    Raises:
        ValueError: An argument is out of its range.
    """
    blocks.check(options.cell, num_classes=num_classes)
    _check_frames(options.frame_shape, num_features)
    dtype, dropout = options.dtype, options.dropout
    convolution_options: Any = {
        "filters": options.filters,
        "kernel": options.kernel,
        "dropout": dropout,
        "dtype": dtype,
    }
    features = keras.Input((None, num_features), name="features")
    frames = keras.Input((), dtype="int32", name="frames")
    mask, length = LengthMask()(frames, features), frames
    x = _embedded(features, mask, symbols, options.embedding, dropout, dtype) if symbols else None
    x = ZeroPadding(dtype=dtype)(features if x is None else x, mask)
    if options.frame_shape is not None:
        shape, count = options.frame_shape, options.frame_convolutions
        x = blocks.convolutions_within_frames(x, mask, shape=shape, count=count, **convolution_options)
    if options.over == "spectrum" and options.convolutions:
        momentum = blocks.MOMENTUM
        x, length = blocks.spectral_convolutions(
            x, length, options.convolutions, options.filters, dtype, momentum=momentum
        )
    elif options.convolutions or options.stem > 1:
        strides: Any = {"widen": options.widen, "stem": options.stem, "pool": options.pool}
        x, length = blocks.convolutions_over_time(
            x, length, blocks=options.convolutions, **strides, **convolution_options
        )
    mask = LengthMask()(length, x)
    x = blocks.recurrent_stack(x, mask, **options.recurrent())
    if options.pooling == "attention":
        x = AttentionPooling(options.heads, dtype=dtype, name="pooling")(x, mask)
    elif options.pooling is not None:
        x = MaskedPooling(options.pooling, dtype=dtype, name="pooling")(x, mask)
    if dropout and options.pooling is not None:
        x = keras.layers.Dropout(dropout, dtype=dtype, name="dropout_out")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    if options.pooling is None:
        logits = ZeroPadding(dtype="float32", name="output")(logits, mask)
    return keras.Model([features, frames], logits, name=name)


def _embedded(
    features: Any, mask: Any, symbols: int, embedding: int, dropout: float, dtype: str | None
) -> keras.KerasTensor:
    """Embed tokens; their numbers stay in float32, since float16 is not exact for large ones."""
    if features.shape[-1] != 1 or symbols < 0:
        raise ValueError(
            "`symbols` must not be negative, and needs one feature, the number of a token. Received: "
            f"symbols={symbols}, num_features={features.shape[-1]}."
        )
    numbers = ZeroPadding(dtype="float32", name="numbers")(features, mask)
    numbers = ops.cast(ops.squeeze(numbers, -1), "int32")
    x = keras.layers.Embedding(symbols, embedding, dtype=dtype, name="embedding")(numbers)
    return keras.layers.Dropout(dropout, dtype=dtype, name="dropout_in")(x) if dropout else x


def _check_frames(frame_shape: tuple[int, int] | None, num_features: int) -> None:
    if frame_shape is None:
        return
    if len(frame_shape) != 2 or min(frame_shape) < 1 or frame_shape[0] * frame_shape[1] > num_features:
        raise ValueError(
            "`frame_shape` must be (samples, channels), together no more than `num_features`. Received: "
            f"frame_shape={tuple(frame_shape)}, num_features={num_features}."
        )
