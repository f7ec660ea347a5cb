"""The network of a voice: phones are read, and frames are written."""

from typing import Any

import keras

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask, ZeroPadding, blocks
from speechrnn.tasks.synthesis.options import VoiceNetwork

VARIANCES = 3
"""What is told of each phone: the logarithm of its frames, its pitch and its level."""


@options_as_keywords(VoiceNetwork, "cell")
def voice_network(  # noqa: D417 - `takes` adds the options
    options: VoiceNetwork,
    *,
    vocabulary_size: int,
    num_features: int,
    mean: list[float] | None = None,
    name: str = "voice_network",
) -> keras.Model:
    """Bidirectional encoder of phones, which foretells their durations, pitches and levels, and bidirectional decoder.

    Args:
        vocabulary_size: Number of phones, and one more: `len(vocabulary)`.
        num_features: Values of a frame.
        mean: Those that frames begin with, before anything is learned.
        name: Name of the model.

    Returns:
        A `keras.Model` that holds two: `encoder`, from `[phones int32 (batch, phones), count int32 (batch,)]` to what
        it read, float32 `(batch, phones, 2 encoder_units)`, and durations, pitches and levels, float32 `(batch, phones,
        3)`; and `decoder`, from `[what the encoder read, durations, pitches and levels, count, shares float32 (batch,
        steps, phones), places float32 (batch, steps, 1), steps int32 (batch,)]` to frames, twice, before and after
        the convolutions, float32 `(batch, steps * step, num_features)`. Padding has zeros, and what stands in it has
        no influence.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Shen et al., "Non-attentive Tacotron", arXiv:2010.04301, 2020, and Łańcucki, "FastPitch", ICASSP 2021, whose
        Transformers are recurrent layers here.
    """
    blocks.check(options.cell, vocabulary_size=vocabulary_size, num_features=num_features)
    encoder, decoder = _encoder(options, vocabulary_size), _decoder(options, num_features, mean)
    given = [keras.Input(each.shape[1:], dtype=each.dtype, name=f"given_{each.name}") for each in encoder.inputs]
    told = [keras.Input(each.shape[1:], dtype=each.dtype, name=f"given_{each.name}") for each in decoder.inputs[3:]]
    read, foretold = encoder(given)
    return keras.Model([*given, *told], decoder([read, foretold, given[1], *told])[1], name=name)


def _encoder(options: VoiceNetwork, vocabulary_size: int) -> keras.Model:
    phones = keras.Input((None,), dtype="int32", name="phones")
    count = keras.Input((), dtype="int32", name="count")
    mask = LengthMask()(count, phones)
    x = keras.layers.Embedding(vocabulary_size, options.embedding, name="embedding")(phones)
    shape: Any = {"units": options.encoder_units, "layers": options.encoder_layers, "dropout": options.dropout}
    x = blocks.bidirectional_stack(x, mask, cell=options.cell, dtype=None, **shape)
    y = keras.layers.Dense(options.encoder_units, activation="relu", name="foretelling")(x)
    if options.dropout:
        y = keras.layers.Dropout(options.dropout, name="foretelling_dropout")(y)
    y = keras.layers.Dense(VARIANCES, name="variances")(y)
    outputs = [ZeroPadding(name="read")(x, mask), ZeroPadding(name="foretold")(y, mask)]
    return keras.Model([phones, count], outputs, name="encoder")


def _decoder(options: VoiceNetwork, num_features: int, mean: list[float] | None) -> keras.Model:
    read = keras.Input((None, 2 * options.encoder_units), name="read")
    variances = keras.Input((None, VARIANCES), name="variances")
    count = keras.Input((), dtype="int32", name="count")
    shares = keras.Input((None, None), name="shares")
    places = keras.Input((None, 1), name="places")
    steps = keras.Input((), dtype="int32", name="steps")
    known, mask = LengthMask(name="known")(count, read), LengthMask(name="mask")(steps, shares)
    told = ZeroPadding(name="told")(keras.layers.Concatenate()([read, variances]), known)
    told = keras.layers.Dense(2 * options.encoder_units, activation="relu", name="conditioned")(told)
    # Padding of the phones would come in by the bias alone, and is left out by shares of zero.
    x = keras.layers.Concatenate()([keras.ops.matmul(shares, ZeroPadding(name="spread")(told, known)), places])
    x = ZeroPadding(name="begun")(x, mask)
    shape: Any = {"units": options.units, "layers": options.layers, "dropout": options.decoder_dropout}
    x = blocks.bidirectional_stack(x, mask, cell=options.cell, dtype=None, **shape)
    frames = keras.layers.Dense(options.step * num_features, name="frames")
    written = ZeroPadding(name="stepped")(frames(x), mask)
    if mean is not None:
        frames.bias.assign(list(mean) * options.step)
    written = keras.layers.Reshape((-1, num_features), name="unstacked")(written)
    corrected = written
    if options.filters:
        shown = LengthMask(name="shown")(steps * options.step, written)
        y = keras.layers.Conv1D(options.filters, 5, padding="same", activation="tanh", name="convolution_0")(written)
        y = keras.layers.Conv1D(num_features, 5, padding="same", name="convolution_1")(
            ZeroPadding(name="inner")(y, shown)
        )
        corrected = ZeroPadding(name="corrected")(keras.layers.Add()([written, y]), shown)
    return keras.Model([read, variances, count, shares, places, steps], [written, corrected], name="decoder")
