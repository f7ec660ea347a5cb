"""The filters of `filters` as Keras layers, in which padding never changes a valid sample."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import filters
from speechrnn.features.spectral import mask_frames
from speechrnn.layers.config import Configured


class SignalFilter(Configured, keras.Layer):
    """Base of the filter layers: channels, lengths and zeros in the padding.

    A subclass implements `_apply` for float32 `(batch, samples, channels)` and lengths int32 `(batch,)`.
    """

    def __init__(self, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.built = True

    def _apply(self, signal: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def call(self, signal: Any, length: Any = None) -> tf.Tensor:
        """Filters the valid samples of each row; the others become zeros."""
        signal = tf.cast(tf.convert_to_tensor(signal), tf.float32)
        columns = signal if len(signal.shape) == 3 else signal[..., tf.newaxis]
        if length is None:
            length = tf.fill(tf.shape(columns)[:1], tf.shape(columns)[1])
        length = tf.cast(length, tf.int32)
        filtered = mask_frames(self._apply(mask_frames(columns, length), length), length)
        return filtered if len(signal.shape) == 3 else filtered[..., 0]

    def compute_output_shape(self, signal_shape: tuple, length_shape: tuple | None = None) -> tuple:
        """The shape of the signal."""
        return signal_shape


class KernelFilter(SignalFilter):
    """A filter by a symmetric kernel."""

    def kernel(self) -> np.ndarray:
        """float64 `(taps,)`."""
        raise NotImplementedError

    def _apply(self, signal: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        kernel = self.kernel().astype("float32")
        reach, size = len(kernel) // 2, tf.shape(signal)[1]
        # Edge padding with each row's first and last valid sample. One sample more than necessary is computed, so that
        # a batch without samples can be convolved too.
        last = tf.maximum(length - 1, 0)[:, tf.newaxis]
        indices = tf.minimum(tf.maximum(tf.range(-reach, size + 1 + reach), 0), last)
        padded = tf.transpose(_gather(signal, indices), [0, 2, 1])
        shape = tf.shape(padded)
        rows = tf.reshape(padded, [-1, shape[2], 1])
        filtered = tf.nn.conv1d(rows, kernel[:, np.newaxis, np.newaxis], 1, "VALID")
        columns = tf.reshape(filtered, [shape[0], shape[1], size + 1])
        return tf.transpose(columns, [0, 2, 1])[:, :size]


@keras.saving.register_keras_serializable(package="speechrnn")
class BandPass(KernelFilter):
    """Band-pass filter, see `filters.pass_kernel`; with `low` alone it removes baseline wander.

    Args:
        sample_rate: Samples per second.
        low: Lower edge in Hz; None for none.
        high: Upper edge in Hz; None for none.
        width: Width of the transitions in Hz; None as in `filters.pass_kernel`.
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, samples)` or `(batch, samples, channels)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.

    Returns:
        float32, the shape of `signal`, zeros in the padding.

    Example:
    >>> BandPass(300, low=0.5, high=40)(np.zeros((2, 600, 3), "float32")).shape
    TensorShape([2, 600, 3])
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        low: float | None = None,
        high: float | None = None,
        width: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.sample_rate = sample_rate
        self.low = low
        self.high = high
        self.width = width
        self.kernel()  # checks the edges

    def kernel(self) -> np.ndarray:
        """float64 `(taps,)`."""
        return filters.pass_kernel(self.sample_rate, low=self.low, high=self.high, width=self.width)


@keras.saving.register_keras_serializable(package="speechrnn")
class Notch(KernelFilter):
    """Notch filter against mains hum, see `filters.notch_kernel`.

    Args:
        sample_rate: Samples per second.
        frequency: Frequency of the hum in Hz.
        width: Width of the removed band in Hz.
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, samples)` or `(batch, samples, channels)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.

    Returns:
        float32, the shape of `signal`, zeros in the padding.
    """

    def __init__(self, sample_rate: float, frequency: float, *, width: float = 4.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.sample_rate = sample_rate
        self.frequency = frequency
        self.width = width
        self.kernel()

    def kernel(self) -> np.ndarray:
        """float64 `(taps,)`."""
        return filters.notch_kernel(self.sample_rate, self.frequency, width=self.width)


@keras.saving.register_keras_serializable(package="speechrnn")
class RobustScale(SignalFilter):
    """Subtracts each channel's median and divides by its interquartile range; see `filters.robust_scale`.

    Args:
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, samples)` or `(batch, samples, channels)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.

    Returns:
        float32, the shape of `signal`, zeros in the padding.
    """

    def _apply(self, signal: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        valid = tf.sequence_mask(length, tf.shape(signal)[1])[..., tf.newaxis]
        ordered = tf.sort(tf.where(valid, signal, np.float32(np.inf)), axis=1)  # the padding sorts last
        first, median, third = (_quantile(ordered, length, share) for share in (0.25, 0.5, 0.75))
        return (signal - median) / tf.maximum((third - first) / filters.NORMAL_QUARTILES, filters.MIN_SCALE)


def _quantile(ordered: tf.Tensor, length: tf.Tensor, share: float) -> tf.Tensor:
    """A quantile of each row's first values, linearly interpolated: float32 `(batch, 1, channels)`."""
    last = tf.maximum(length - 1, 0)
    position = share * tf.cast(last, tf.float32)
    below = tf.cast(tf.floor(position), tf.int32)
    fraction = (position - tf.cast(below, tf.float32))[:, tf.newaxis]
    values = [_gather(ordered, index) for index in (below, tf.minimum(below + 1, last))]
    quantile = values[0] + fraction * (values[1] - values[0])
    return tf.where(length[:, tf.newaxis] > 0, quantile, 0.0)[:, tf.newaxis]


def _gather(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Samples of each row by index; a zero is appended, so that an empty row has a sample 0."""
    return tf.gather(tf.pad(values, [[0, 0], [0, 1], [0, 0]]), indices, axis=1, batch_dims=1)
