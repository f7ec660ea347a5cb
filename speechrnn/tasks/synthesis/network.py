"""The network of a voice: an encoder of phones, and a decoder that predicts spectral frames."""

from typing import Any

import keras

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask, ZeroPadding, blocks
from speechrnn.tasks.synthesis.options import VoiceNetwork

VARIANCES = 3
"""Number of variances of a phone: the logarithm of its number of frames, its pitch and its level."""


@options_as_keywords(VoiceNetwork, "cell")
def voice_network(  # noqa: D417 - the decorator adds the options
    options: VoiceNetwork,
    *,
    vocabulary_size: int,
    num_features: int,
    mean: list[float] | None = None,
    name: str = "voice_network",
) -> keras.Model:
    """Build a bidirectional encoder of phones, which predicts their durations, pitches and levels, and a decoder.

    Args:
        vocabulary_size: Number of phones plus one: `len(vocabulary)`.
        num_features: Values per frame.
        mean: Initial bias of frames, such as their mean.
        name: Name of the model.

    Returns:
        A `keras.Model` that contains two: `encoder`, from `[phones int32 (batch, phones), count int32 (batch,)]` to
        encoded phones, float32 `(batch, phones, 2 encoder_units)`, and their variances (durations, pitches and levels),
        float32 `(batch, phones, 3)`; and `decoder`, from `[encoded phones, variances, count, shares float32 (batch,
        steps, phones), places float32 (batch, steps, 1), steps int32 (batch,)]` to frames before and after the
        convolutions, float32 `(batch, steps * step, num_features)`. Padding is zeros, and its content has no influence.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Shen et al., "Non-attentive Tacotron", arXiv:2010.04301, 2020, and Łańcucki, "FastPitch", ICASSP 2021, whose
        Transformers are recurrent layers here.
    """
    blocks.check(options.cell, vocabulary_size=vocabulary_size, num_features=num_features)
    encoder, decoder = _encoder(options, vocabulary_size), _decoder(options, num_features, mean)
    encoder_inputs = [
        keras.Input(each.shape[1:], dtype=each.dtype, name=f"given_{each.name}") for each in encoder.inputs
    ]
    decoder_inputs = [
        keras.Input(each.shape[1:], dtype=each.dtype, name=f"given_{each.name}") for each in decoder.inputs[3:]
    ]
    encoded, predicted = encoder(encoder_inputs)
    return keras.Model(
        [*encoder_inputs, *decoder_inputs],
        decoder([encoded, predicted, encoder_inputs[1], *decoder_inputs])[1],
        name=name,
    )


def _encoder(options: VoiceNetwork, vocabulary_size: int) -> keras.Model:
    phones = keras.Input((None,), dtype="int32", name="phones")
    count = keras.Input((), dtype="int32", name="count")
    mask = LengthMask()(count, phones)
    x = keras.layers.Embedding(vocabulary_size, options.embedding, name="embedding")(phones)
    shape: Any = {"units": options.encoder_units, "layers": options.encoder_layers, "dropout": options.dropout}
    x = blocks.bidirectional_stack(x, mask, cell=options.cell, dtype=None, **shape)
    hidden = keras.layers.Dense(options.encoder_units, activation="relu", name="foretelling")(x)
    if options.dropout:
        hidden = keras.layers.Dropout(options.dropout, name="foretelling_dropout")(hidden)
    hidden = keras.layers.Dense(VARIANCES, name="variances")(hidden)
    outputs = [ZeroPadding(name="read")(x, mask), ZeroPadding(name="foretold")(hidden, mask)]
    return keras.Model([phones, count], outputs, name="encoder")


def _decoder(options: VoiceNetwork, num_features: int, mean: list[float] | None) -> keras.Model:
    read = keras.Input((None, 2 * options.encoder_units), name="read")
    variances = keras.Input((None, VARIANCES), name="variances")
    count = keras.Input((), dtype="int32", name="count")
    shares = keras.Input((None, None), name="shares")
    places = keras.Input((None, 1), name="places")
    steps = keras.Input((), dtype="int32", name="steps")
    known, mask = LengthMask(name="known")(count, read), LengthMask(name="mask")(steps, shares)
    conditioned = ZeroPadding(name="told")(keras.layers.Concatenate()([read, variances]), known)
    conditioned = keras.layers.Dense(2 * options.encoder_units, activation="relu", name="conditioned")(conditioned)
    # The bias also reaches the padding of the phones, whose shares are zero.
    x = keras.layers.Concatenate()([keras.ops.matmul(shares, ZeroPadding(name="spread")(conditioned, known)), places])
    x = ZeroPadding(name="begun")(x, mask)
    shape: Any = {"units": options.units, "layers": options.layers, "dropout": options.decoder_dropout}
    x = blocks.bidirectional_stack(x, mask, cell=options.cell, dtype=None, **shape)
    frames = keras.layers.Dense(options.step * num_features, name="frames")
    stepwise = ZeroPadding(name="stepped")(frames(x), mask)
    if mean is not None:
        frames.bias.assign(list(mean) * options.step)
    stepwise = keras.layers.Reshape((-1, num_features), name="unstacked")(stepwise)
    corrected = stepwise
    if options.filters:
        valid = LengthMask(name="shown")(steps * options.step, stepwise)
        y = keras.layers.Conv1D(options.filters, 5, padding="same", activation="tanh", name="convolution_0")(stepwise)
        y = keras.layers.Conv1D(num_features, 5, padding="same", name="convolution_1")(
            ZeroPadding(name="inner")(y, valid)
        )
        corrected = ZeroPadding(name="corrected")(keras.layers.Add()([stepwise, y]), valid)
    return keras.Model([read, variances, count, shares, places, steps], [stepwise, corrected], name="decoder")
