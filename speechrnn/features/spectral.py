"""Spectral features as pure functions of TensorFlow tensors.

Every function takes signals `(..., samples)` or features `(..., frames, features)` with any leading dimensions, static
or dynamic, computes in float32, and gives the same values eagerly, in `tf.data` and inside a model. Frames are never
centered, so frame `t` depends only on samples `t * hop` to `t * hop + window - 1`, and padding never changes a valid
frame. The whole package computes numbers of frames with `frame_count`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features.mel import dct_matrix
from speechrnn.features.mel import mel_filterbank as mel_filterbank

FLOOR = 1e-10
"""Smallest band power before the logarithm: about that of the rounding of 16-bit samples with area-normalized bands, so
that digital silence looks like the quietest recording instead of an outlier."""

MIN_STD = 1e-2
"""Smallest standard deviation that normalization divides by: far below that of speech, far above rounding error."""


# Frames


def frame_count(num_samples: Any, *, window: int, hop: int) -> Any:
    """Number of whole frames in a signal; frames are never centered or padded.

    Args:
        num_samples: Length of the signal: an int, an integer array or an integer tensor.
        window: Frame length in samples.
        hop: Step between frames in samples.

    Returns:
        `max(0, 1 + (num_samples - window) // hop)`, of the type of `num_samples`.

    Example:
    >>> frame_count(16000, window=400, hop=160)
    98
    """
    count = 1 + (num_samples - window) // hop
    if isinstance(num_samples, int):
        return max(0, count)
    if isinstance(num_samples, np.ndarray | np.generic):
        return np.maximum(0, count)
    return keras.ops.maximum(count, 0)


def frame(signal: Any, *, window: int, hop: int) -> tf.Tensor:
    """Cuts a signal into overlapping frames, without centering and without a partial last frame.

    Args:
        signal: float32 `(..., samples)`.
        window: Frame length in samples.
        hop: Step between frames in samples.

    Returns:
        float32 `(..., frames, window)`.
    """
    return tf.signal.frame(signal, window, hop)


def valid(length: Any, size: Any) -> tf.Tensor:
    """Marks the first `length` of `size` positions.

    Args:
        length: Integer tensor `(...)`.
        size: Number of positions, an int or a scalar tensor.

    Returns:
        bool `(..., size)`.
    """
    return tf.range(tf.cast(size, tf.int32)) < tf.cast(length, tf.int32)[..., tf.newaxis]


def mask_signal(signal: Any, length: Any) -> tf.Tensor:
    """Sets samples from `length` on to zero, NaN included.

    Args:
        signal: float32 `(..., samples)`.
        length: Integer `(...)`, valid samples in each row.

    Returns:
        float32, the shape of `signal`.
    """
    signal = tf.convert_to_tensor(signal)
    return tf.where(valid(length, tf.shape(signal)[-1]), signal, tf.zeros([], signal.dtype))


def mask_frames(features: Any, frames: Any) -> tf.Tensor:
    """Sets frames from `frames` on to zero, NaN included.

    Args:
        features: float32 `(..., frames, features)`.
        frames: Integer `(...)`, valid frames in each row.

    Returns:
        float32, the shape of `features`.
    """
    features = tf.convert_to_tensor(features)
    keep = valid(frames, tf.shape(features)[-2])[..., tf.newaxis]
    return tf.where(keep, features, tf.zeros([], features.dtype))


# Signal


def preemphasis(signal: Any, coefficient: float = 0.97) -> tf.Tensor:
    """First-order high-pass: `y[n] = x[n] - coefficient * x[n - 1]`, with `y[0] = x[0]`.

    Args:
        signal: float32 `(..., samples)`.
        coefficient: 0 leaves the signal as it is.

    Returns:
        float32, the shape of `signal`; equal to `scipy.signal.lfilter([1, -coefficient], [1], signal)`.
    """
    signal = tf.convert_to_tensor(signal)
    return tf.concat([signal[..., :1], signal[..., 1:] - coefficient * signal[..., :-1]], axis=-1)


def dither(signal: Any, stddev: float, *, seed: Any) -> tf.Tensor:
    """Adds Gaussian noise, so that digital silence is never exactly zero.

    Args:
        signal: float32 `(..., samples)`.
        stddev: Standard deviation of the noise, in the signal's unit (full scale is 1).
        seed: int32 `(2,)`; the same seed gives the same noise.

    Returns:
        float32, the shape of `signal`.
    """
    signal = tf.convert_to_tensor(signal)
    return signal + tf.random.stateless_normal(tf.shape(signal), seed, stddev=stddev, dtype=signal.dtype)


# Spectrum


def hann(window: int) -> np.ndarray:
    """Periodic Hann window, librosa's.

    Args:
        window: Length in samples.

    Returns:
        float32 `(window,)`.
    """
    from scipy.signal import get_window

    return get_window("hann", window).astype("float32")


def fft_length_for(window: int) -> int:
    """Smallest power of two that holds a window."""
    return 1 << max(0, window - 1).bit_length()


def power_spectrum(signal: Any, *, window: int, hop: int, fft_length: int | None = None) -> tf.Tensor:
    """Squared magnitude of the short-time Fourier transform with a Hann window.

    Args:
        signal: float32 `(..., samples)`.
        window: Frame length in samples.
        hop: Step between frames in samples.
        fft_length: Transform length; None takes the next power of two. Frames are zero-padded at the end.

    Returns:
        float32 `(..., frames, fft_length // 2 + 1)`.
    """
    frames = frame(signal, window=window, hop=hop) * hann(window)
    # Padded here, since `tf.signal.rfft` does not pad an input without frames.
    padding = [[0, 0]] * (frames.shape.rank - 1) + [[0, (fft_length or fft_length_for(window)) - window]]
    spectrum = tf.signal.rfft(tf.pad(frames, padding))
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


# Mel and cepstrum


def log(power: Any, *, floor: float = FLOOR) -> tf.Tensor:
    """Natural logarithm of `max(power, floor)`: finite for digital silence."""
    return tf.math.log(tf.maximum(power, floor))


def log_mel(signal: Any, filterbank: Any, *, window: int, hop: int, floor: float = FLOOR) -> tf.Tensor:
    """Log-mel energies.

    Args:
        signal: float32 `(..., samples)`.
        filterbank: float32 `(bins, num_mels)` as from `mel_filterbank`; the Fourier transform is `2 * (bins - 1)` long.
        window: Frame length in samples.
        hop: Step between frames in samples.
        floor: Smallest band power.

    Returns:
        float32 `(..., frames, num_mels)`, natural log of power.
    """
    power = power_spectrum(signal, window=window, hop=hop, fft_length=2 * (filterbank.shape[0] - 1))
    return log(tf.matmul(power, filterbank), floor=floor)


def log_spectrogram(
    signal: Any,
    *,
    window: int,
    hop: int,
    fft_length: int | None = None,
    bins: range | None = None,
    floor: float = FLOOR,
) -> tf.Tensor:
    """Log-power spectrogram of every channel of a signal.

    Args:
        signal: float32 `(..., samples, channels)`.
        window: Frame length in samples.
        hop: Step between frames in samples.
        fft_length: Transform length; None takes the next power of two.
        bins: Consecutive frequencies to keep, as multiples of the sampling rate over `fft_length`; None keeps all.
        floor: Smallest power.

    Returns:
        float32 `(..., frames, channels * bins)`, natural log of power, the frequencies of each channel together.
    """
    rows = tf.linalg.matrix_transpose(tf.convert_to_tensor(signal))
    power = power_spectrum(rows, window=window, hop=hop, fft_length=fft_length)
    if bins is not None:
        power = power[..., bins.start : bins.stop]
    rank = power.shape.rank
    by_frame = tf.transpose(log(power, floor=floor), [*range(rank - 3), rank - 2, rank - 3, rank - 1])
    columns = by_frame.shape[-2] * by_frame.shape[-1]
    return tf.reshape(by_frame, tf.concat([tf.shape(by_frame)[:-2], [columns]], axis=0))


def mfcc(log_mel_energies: Any, num_coefficients: int) -> tf.Tensor:
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of log-mel energies, coefficient 0 included.

    Args:
        log_mel_energies: float32 `(..., frames, num_mels)`.
        num_coefficients: Number of coefficients.

    Returns:
        float32 `(..., frames, num_coefficients)`.
    """
    return tf.matmul(log_mel_energies, dct_matrix(int(log_mel_energies.shape[-1]), num_coefficients))


def deltas(features: Any, frames: Any = None, *, width: int = 9) -> tf.Tensor:
    """Slope over time by linear regression; before the first and after the last valid frame, that frame is repeated.

    Args:
        features: float32 `(..., frames, features)`.
        frames: Integer `(...)`, valid frames in each row; None means all. Later frames have no influence.
        width: Frames in the regression, odd (HTK Book, equation 5.16, has 5; librosa's default is 9).

    Returns:
        float32, the shape of `features`, per frame; equal to `librosa.feature.delta(..., mode="nearest")` on the valid
        frames, undefined after them.
    """
    features = tf.convert_to_tensor(features)
    reach, size = width // 2, tf.shape(features)[-2]
    last = size - 1 if frames is None else tf.cast(frames, tf.int32)[..., tf.newaxis] - 1
    stop = tf.where(size > 0, size + reach, -reach)  # gathers nothing if there are no frames
    index = tf.maximum(tf.minimum(tf.range(-reach, stop), last), 0)
    batch_dims = 0 if frames is None else features.shape.rank - 2
    padded = tf.gather(features, index, axis=-2, batch_dims=batch_dims)
    total = tf.zeros_like(features)
    for step in range(1, reach + 1):
        ahead = padded[..., reach + step : reach + step + size, :]
        behind = padded[..., reach - step : reach - step + size, :]
        total += step * (ahead - behind)
    return total / (2.0 * sum(step * step for step in range(1, reach + 1)))


def with_deltas(features: Any, frames: Any = None, *, order: int, width: int = 9) -> tf.Tensor:
    """Appends deltas, deltas of deltas and so on to the feature axis.

    Returns:
        float32 `(..., frames, features * (1 + order))`.
    """
    parts = [features]
    for _ in range(order):
        parts.append(deltas(parts[-1], frames, width=width))
    return tf.concat(parts, axis=-1) if order else features


# Normalization


def normalize(features: Any, mean: Any, std: Any, *, min_std: float = MIN_STD) -> tf.Tensor:
    """`(features - mean) / max(std, min_std)`."""
    return (features - mean) / tf.maximum(std, min_std)


def normalize_utterance(features: Any, frames: Any = None, *, min_std: float = MIN_STD) -> tf.Tensor:
    """Gives every feature of every row zero mean and unit variance over the row's valid frames.

    Args:
        features: float32 `(..., frames, features)`, finite also after the valid frames.
        frames: Integer `(...)`, valid frames in each row; None means all.
        min_std: Smallest divisor, so that a constant feature becomes zero instead of noise.

    Returns:
        float32, the shape of `features`.
    """
    features = tf.convert_to_tensor(features)
    # Relative to the first frame, since float32 sums of thousands of values near -23 would be inexact.
    shifted = features - features[..., :1, :]
    centered = shifted - _mean(shifted, frames)
    variance = _mean(tf.square(centered), frames)
    return centered / tf.sqrt(tf.maximum(variance, min_std**2))


def _mean(features: tf.Tensor, frames: Any) -> tf.Tensor:
    """Mean over the valid frames, `(..., 1, features)`: with lengths, one matrix product that copies nothing."""
    size = tf.shape(features)[-2]
    if frames is None:
        return tf.reduce_sum(features, axis=-2, keepdims=True) / tf.cast(tf.maximum(size, 1), features.dtype)
    weight = tf.cast(valid(frames, size), features.dtype)
    weight /= tf.cast(tf.maximum(frames, 1), features.dtype)[..., tf.newaxis]
    return tf.matmul(weight[..., tf.newaxis, :], features)
