"""The recurrent network of forecasters: an encoder of past values and a decoder, segment by segment."""

import keras

from speechrnn.faults import options_as_keywords
from speechrnn.layers import FutureSegments, KnownSegments, LastSegments, LengthMask, blocks
from speechrnn.tasks.forecasting.options import ForecastingNetwork

_LEAST_SPREAD = 0.01
"""Of what a channel is divided by, so that a channel that stands still is not divided by nothing."""


@options_as_keywords(ForecastingNetwork, "cell")
def recurrent_forecaster(  # noqa: D417 - the decorator adds the options
    options: ForecastingNetwork,
    *,
    channels: int,
    context: int,
    horizon: int,
    quantiles: int = 3,
    known: int = 0,
    name: str = "recurrent_forecaster",
) -> keras.Model:
    """Build a recurrent encoder and decoder that forecast quantiles of a sequence.

    A recurrent layer over hundreds of samples forgets the first ones, and its gradient vanishes; over segments of them
    it has few steps. Every channel is read separately, with the same weights, relative to its last value. The content
    of the right padding never changes an output.

    Args:
        channels: Channels of the sequence.
        context: Frames that are read, at most; rounded up to whole segments. Shorter rows are read whole.
        horizon: Frames to come that are forecast.
        quantiles: Outputs for each value.
        known: Columns behind the channels whose values are known ahead. The encoder reads them beside each channel, and
            the decoder is told those of each segment to come.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[features float (batch, frames, channels), frames int32 (batch,)]` and output
        float32 `(batch, horizon, channels, quantiles)`. With `known` columns the features are
        `(batch, frames, channels + known)`, and the last `horizon` frames of each row are those to forecast, of which
        the channels, whatever they hold, are not read.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Lin et al., "SegRNN: Segment recurrent neural network for long-term time series forecasting",
        arXiv:2308.11200, 2023; Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks",
        NeurIPS 2014; Kim et al., "Reversible instance normalization for accurate time-series forecasting against
        distribution shift", ICLR 2022.
    """
    blocks.check(options.cell, channels=channels, context=context, horizon=horizon, quantiles=quantiles)
    segment, units, dtype = options.segment, options.units, options.dtype
    if known < 0:
        raise ValueError(f"`known` must be zero or positive. Received: known={known}.")
    features = keras.Input((None, channels + known), name="features")
    frames = keras.Input((), dtype="int32", name="frames")
    past, count = -(-context // segment), -(-horizon // segment)
    series, length = (features[:, :, :channels], frames - horizon) if known else (features, frames)
    # In float32: in bfloat16 the last value would have lost what the forecast adds to it.
    segments, counts, last = LastSegments(past, segment, dtype="float32", name="segments")(series, length)
    spread = _spread(segments, counts) if options.instance_scale else None
    if spread is not None:
        segments = segments / keras.ops.expand_dims(spread, -1)
    x = keras.layers.Dense(units, activation=None if known else "relu", dtype=dtype, name="embedding")(segments)
    if known:
        beside = KnownSegments(past, count, segment, horizon, dtype="float32", name="known")
        before, after = beside(features[:, :, channels:], frames)
        known_features = keras.layers.Dense(units, use_bias=False, dtype=dtype, name="known_before")(before)
        x = keras.ops.relu(x + keras.ops.repeat(known_features, channels, axis=0))
    layer = blocks.CELLS[options.cell](units, return_sequences=True, return_state=True, dtype=dtype, name="recurrent")
    _, *states = layer(x, mask=LengthMask()(counts, segments))
    to_come = FutureSegments(count, channels, units, dtype=dtype, name="to_come")(states[0])
    if known:
        known_features = keras.layers.Dense(units, activation="relu", dtype=dtype, name="known_after")(after)
        to_come = to_come + keras.ops.repeat(known_features, channels, axis=0)
    if options.decoder == "parallel":
        states = [keras.ops.repeat(state, count, axis=0) for state in states]
        to_come = keras.ops.reshape(to_come, (-1, 1, units))
    y = layer(to_come, initial_state=states)[0]
    if options.dropout:
        y = keras.layers.Dropout(options.dropout, dtype=dtype, name="dropout")(y)
    y = keras.layers.Dense(segment * quantiles, dtype="float32", name="forecast")(y)
    if spread is not None:
        y = keras.ops.reshape(y, (-1, count * segment * quantiles)) * spread
    y = keras.ops.reshape(y, (-1, channels, count * segment, quantiles))[:, :, :horizon]
    # Channels and quantiles as one axis: in a batch of one, Keras's addition of `(1, 1, channels, 1)` would take it for
    # a bias of the last axis, if that is as long.
    y = keras.ops.reshape(keras.ops.transpose(y, (0, 2, 1, 3)), (-1, horizon, channels * quantiles))
    y = y + keras.ops.repeat(last, quantiles, axis=-1)[:, None]
    return keras.Model([features, frames], keras.ops.reshape(y, (-1, horizon, channels, quantiles)), name=name)


def _spread(segments: keras.KerasTensor, counts: keras.KerasTensor) -> keras.KerasTensor:
    """Standard deviation of the valid values `(rows, count, size)`, zeros behind them: `(rows, 1)`."""
    ops, (_, count, size) = keras.ops, segments.shape
    number = ops.expand_dims(ops.cast(ops.maximum(counts, 1), "float32") * float(size), -1)
    values = ops.reshape(segments, (-1, count * size))
    mean = ops.sum(values, axis=-1, keepdims=True) / number
    square = ops.sum(values * values, axis=-1, keepdims=True) / number
    return ops.sqrt(ops.maximum(square - mean * mean, 0.0) + _LEAST_SPREAD**2)
