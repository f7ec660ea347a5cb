"""Cuts sequences into segments for segment-wise forecasting: past segments, known future ones, and their positions."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from speechrnn.layers.config import Configured


@keras.saving.register_keras_serializable(package="speechrnn")
class LastSegments(Configured, keras.layers.Layer):
    """The last frames of each row as segments, channel by channel, relative to the last frame.

    The last segment ends with a row's last valid frame; an incomplete first segment is filled with the row's first
    frame. Padding never matters.

    Args:
        count: Maximum number of segments; earlier frames are not read.
        size: Frames per segment.

    Call arguments:
        values: float `(batch, frames, channels)`.
        frames: int32 `(batch,)`, the valid frames of each row.

    Returns:
        Segments, float `(batch * channels, count, size)`, right-padded with zeros; their numbers, int32
        `(batch * channels,)`; and the last frames, float `(batch, channels)`, zeros in a row without frames.

    Example:
    >>> x = np.array([[[1.0], [2.0], [4.0], [9.0]]], "float32")
    >>> segments, count, last = LastSegments(3, 2)(x, np.array([3]))
    >>> segments.numpy().tolist(), count.numpy().tolist(), last.numpy().tolist()
    ([[[-3.0, -3.0], [-2.0, 0.0], [0.0, 0.0]]], [2], [[4.0]])
    """

    not_streamable = "which segments are the last is known only at the end of the sequence"

    def __init__(self, count: int, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("count", count), ("size", size)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}.")
        self.count, self.size = count, size

    def call(self, values: Any, frames: Any) -> tuple[Any, Any, Any]:
        """See the class."""
        frames = tf.cast(frames, tf.int32)
        counts = tf.minimum((frames + self.size - 1) // self.size, self.count)
        indices = frames[:, None] - counts[:, None] * self.size + tf.range(self.count * self.size)[None, :]
        valid = indices < frames[:, None]
        last_index = tf.maximum(frames - 1, 0)[:, None]
        gathered = tf.gather(values, tf.clip_by_value(indices, 0, last_index), axis=1, batch_dims=1)
        last = tf.gather(values, last_index, axis=1, batch_dims=1)
        # `where`, not a product: a row without frames is all padding, which may hold NaN.
        last = tf.where((frames > 0)[:, None, None], last, tf.zeros((), last.dtype))
        relative = tf.where(valid[:, :, None], gathered - last, tf.zeros((), gathered.dtype))
        channels = values.shape[-1]
        segments = tf.reshape(tf.transpose(relative, (0, 2, 1)), (-1, self.count, self.size))
        return segments, tf.repeat(counts, channels), last[:, 0]

    def compute_output_spec(self, values: Any, frames: Any) -> tuple[keras.KerasTensor, ...]:
        """Shapes and dtypes without computing."""
        dtype = self.compute_dtype
        return (
            keras.KerasTensor((None, self.count, self.size), dtype),
            keras.KerasTensor((None,), "int32"),
            keras.KerasTensor((values.shape[0], values.shape[-1]), dtype),
        )


@keras.saving.register_keras_serializable(package="speechrnn")
class KnownSegments(Configured, keras.layers.Layer):
    """Covariates known in advance, as segments aligned with those of `LastSegments`.

    The forecast starts `horizon` frames before the end of a row. Padding never matters.

    Args:
        past: Maximum number of segments before the start of the forecast.
        ahead: Segments after it; an incomplete last one is filled with the row's last frame.
        size: Frames per segment.
        horizon: Frames after the start of the forecast.

    Call arguments:
        values: float `(batch, frames, columns)`.
        frames: int32 `(batch,)`, the valid frames of each row, at least `horizon`.

    Returns:
        The past, float `(batch, past, size * columns)`, right-padded with zeros, an incomplete first segment filled
        with the row's first frame; and the future, float `(batch, ahead, size * columns)`.

    Example:
    >>> past, ahead = KnownSegments(2, 1, 2, 2)(np.arange(5.0).reshape(1, 5, 1), np.array([5]))
    >>> past.numpy().tolist(), ahead.numpy().tolist()
    ([[[0.0, 0.0], [1.0, 2.0]]], [[[3.0, 4.0]]])
    """

    not_streamable = LastSegments.not_streamable

    def __init__(self, past: int, ahead: int, size: int, horizon: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("past", past), ("ahead", ahead), ("size", size), ("horizon", horizon)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}.")
        self.past, self.ahead, self.size, self.horizon = past, ahead, size, horizon

    def call(self, values: Any, frames: Any) -> tuple[Any, Any]:
        """See the class."""
        frames = tf.cast(frames, tf.int32)[:, None]
        now = frames - self.horizon
        counts = tf.minimum((now + self.size - 1) // self.size, self.past)
        before = now - counts * self.size + tf.range(self.past * self.size)[None, :]
        after = now + tf.range(self.ahead * self.size)[None, :]
        past = tf.gather(values, tf.clip_by_value(before, 0, tf.maximum(now - 1, 0)), axis=1, batch_dims=1)
        past = tf.where((before < now)[:, :, None], past, tf.zeros((), past.dtype))
        ahead = tf.gather(values, tf.clip_by_value(after, 0, tf.maximum(frames - 1, 0)), axis=1, batch_dims=1)
        width = self.size * values.shape[-1]
        return tf.reshape(past, (-1, self.past, width)), tf.reshape(ahead, (-1, self.ahead, width))

    def compute_output_spec(self, values: Any, frames: Any) -> tuple[keras.KerasTensor, ...]:
        """Shapes and dtypes without computing."""
        shapes = ((values.shape[0], count, self.size * values.shape[-1]) for count in (self.past, self.ahead))
        return tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)


@keras.saving.register_keras_serializable(package="speechrnn")
class FutureSegments(Configured, keras.layers.Layer):
    """Learned embeddings of each future segment's position and channel, the decoder's inputs.

    Args:
        count: Number of future segments.
        channels: Channels of the sequence.
        units: Size of an embedding, even: half for the position, half for the channel.

    Call arguments:
        like: float `(batch * channels, ...)`; only its first dimension is used.

    Returns:
        float `(batch * channels, count, units)`.

    Example:
    >>> FutureSegments(4, 3, 8)(np.zeros((6, 1), "float32")).shape
    TensorShape([6, 4, 8])
    """

    not_streamable = "future segments follow the end of a sequence"

    def __init__(self, count: int, channels: int, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 2 or units % 2:
            raise ValueError(f"`units` must be even. Received: units={units}.")
        self.count, self.channels, self.units = count, channels, units
        self.place = self.add_weight(shape=(count, units // 2), initializer="random_normal", name="place")
        self.channel = self.add_weight(shape=(channels, units // 2), initializer="random_normal", name="channel")
        self.built = True

    def call(self, like: Any) -> Any:
        """See the class."""
        half = self.units // 2
        place = ops.broadcast_to(ops.cast(self.place, self.compute_dtype)[None], (self.channels, self.count, half))
        channel = ops.cast(self.channel, self.compute_dtype)[:, None]
        channel = ops.broadcast_to(channel, (self.channels, self.count, half))
        embedding = ops.concatenate([place, channel], axis=-1)
        return ops.tile(embedding, (ops.shape(like)[0] // self.channels, 1, 1))

    def compute_output_spec(self, like: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((like.shape[0], self.count, self.units), self.compute_dtype)
