"""Keras layers that turn signals into features: thin shells over `spectral`, saved inside a bundle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import spectral


def _require(condition: object, requirement: str, received: str) -> None:
    if not condition:
        raise ValueError(f"{requirement} Received: {received}.")


class _Features(keras.Layer):
    """What the feature layers share: frames, masking of the padding, normalisation and its statistics.

    A subclass sets `num_features` and `_num_statistics` before it calls `_finish`, and implements `_compute`.
    Whatever the global dtype policy, features are float32: float16 holds neither the power of a loud frame nor the
    floor of a silent one.
    """

    min_std = spectral.MIN_STD
    num_features: int

    def __init__(self, sample_rate: int, *, window: int | None, hop: int | None, normalize: str | None, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        _require(sample_rate > 0, "`sample_rate` must be positive.", f"sample_rate={sample_rate}")
        self.sample_rate = sample_rate
        self.window = round(0.025 * sample_rate) if window is None else window
        self.hop = round(0.010 * sample_rate) if hop is None else hop
        self.normalize = normalize
        for name in ("window", "hop"):
            value = getattr(self, name)
            whole = isinstance(value, int) and value > 0
            _require(whole, f"`{name}` must be a positive whole number of samples.", f"{name}={value}")
        known = normalize in ("utterance", "global", None)
        _require(known, '`normalize` must be "utterance", "global" or None.', f"normalize={normalize!r}")

    def _finish(self, num_features: int, num_statistics: int) -> None:
        """Creates the statistics; a subclass calls it once it knows its sizes."""
        self.num_features = num_features
        if self.normalize == "global":
            self.mean = self.add_weight(shape=(num_statistics,), initializer="zeros", trainable=False, name="mean")
            self.std = self.add_weight(shape=(num_statistics,), initializer="ones", trainable=False, name="std")
            self.adapted = self.add_weight(shape=(), initializer="zeros", trainable=False, name="adapted")
        self.built = True

    @property
    def frame_period(self) -> float:
        """Seconds between frames."""
        return self.hop / self.sample_rate

    def frame_count(self, length: Any) -> Any:
        """Number of frames of a signal of `length` samples: an int, an integer array or an integer tensor."""
        return spectral.frame_count(length, window=self.window, hop=self.hop)

    def _compute(self, signal: tf.Tensor, length: Any, training: bool) -> tf.Tensor:
        """Features before normalisation."""
        raise NotImplementedError

    def _normalized(self, features: tf.Tensor, frames: Any) -> tf.Tensor:
        if self.normalize == "utterance":
            return spectral.normalize_utterance(features, frames, min_std=self.min_std)
        if self.normalize == "global":
            return spectral.normalize(features, self.mean, self.std, min_std=self.min_std)
        return features

    def _as_float(self, signal: Any) -> tf.Tensor:
        signal = tf.convert_to_tensor(signal)
        if not signal.dtype.is_floating:
            raise ValueError(
                f"A signal must be floating point in [-1, 1]. Received: {signal.dtype.name}. "
                "Divide 16-bit samples by 32768."
            )
        return tf.cast(signal, tf.float32)

    def call(self, signal: Any, length: Any = None, training: bool = False) -> tf.Tensor:
        """Computes the features; frames past `frame_count(length)` are zeros."""
        signal = self._as_float(signal)
        if length is None:
            return self._normalized(self._compute(signal, None, training), None)
        frames = self.frame_count(tf.cast(length, tf.int32))
        features = self._compute(spectral.mask_signal(signal, length), length, training)
        return spectral.mask_frames(self._normalized(features, frames), frames)

    def compute_output_spec(self, signal: Any, length: Any = None, training: bool = False) -> keras.KerasTensor:
        """Shape and dtype of the features."""
        return keras.KerasTensor(self.compute_output_shape(signal.shape), dtype="float32")

    def compute_output_shape(self, signal_shape: tuple, length_shape: tuple | None = None) -> tuple:
        """`(..., samples)` to `(..., frames, features)`."""
        samples = signal_shape[-1]
        return (*signal_shape[:-1], None if samples is None else self.frame_count(samples), self.num_features)

    def adapt(self, data: Iterable) -> None:
        """Measures the mean and standard deviation that `normalize="global"` uses.

        Args:
            data: A `tf.data.Dataset` or any iterable of signals `(samples,)`, of batches `{"signal", "length"}`, or of
                tuples that begin with one of these.
        """
        _require(self.normalize == "global", '`adapt` needs normalize="global".', f"normalize={self.normalize!r}")
        count, total, squares = 0, 0.0, 0.0
        for item in data:
            for signal in _signals(item):
                rows = np.asarray(self._statistic_rows(signal), "float64")
                count += len(rows)
                total = total + rows.sum(axis=0)
                squares = squares + np.square(rows).sum(axis=0)
        _require(count > 0, "`adapt` needs at least one whole frame.", "none")
        mean = total / count
        self.mean.assign(mean)
        self.std.assign(np.sqrt(np.maximum(squares / count - np.square(mean), 0.0)))
        self.adapted.assign(1.0)

    def _statistic_rows(self, signal: np.ndarray) -> tf.Tensor:
        """The rows `(count, statistics)` whose mean and standard deviation normalise."""
        return self._compute(self._as_float(signal), None, False)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("sample_rate", "window", "hop", "normalize")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _signals(item: Any) -> Iterable[np.ndarray]:
    """The signals in one element of a dataset, without their padding."""
    if isinstance(item, tuple | list):
        item = item[0]
    if not isinstance(item, dict):
        return [np.asarray(item)]
    signal = np.asarray(item["signal"])
    return [row[:length] for row, length in zip(signal, np.asarray(item["length"]), strict=True)]


@keras.saving.register_keras_serializable(package="speechrnn")
class LogMel(_Features):
    """Log-mel energies of a signal.

    Frames are not centred, so padding never changes a valid frame. Energies are natural logarithms of the power in
    area-normalised triangular bands, as `librosa.feature.melspectrogram(center=False)` gives; they are not relative to
    a batch's maximum. Digital silence gives `log(floor)` before normalisation. Features are always float32.

    Args:
        sample_rate: Samples per second that the signal must have.
        window: Frame length in samples; None is 25 ms.
        hop: Step between frames in samples; None is 10 ms.
        fft_length: Length of the Fourier transform; None is the next power of two.
        num_mels: Number of mel bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; None is the Nyquist frequency.
        mel_scale: "slaney" or "htk".
        mel_norm: "slaney" (every band has the same area) or None (every band peaks at 1).
        floor: Smallest band power.
        preemphasis: Coefficient of the high-pass filter; 0 is off, since normalisation undoes what it would do.
        dither: Standard deviation of Gaussian noise added to the signal in training; full scale is 1.
        deltas: Orders of slopes over time to append: 0, 1 or 2.
        delta_width: Frames in the regression behind a slope, odd.
        normalize: "utterance" (zero mean, unit variance over each row's valid frames), "global" (the statistics that
            `adapt` measured) or None.
        seed: Seed of the dither.
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, samples)` in [-1, 1], or `(samples,)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.
        training: Adds the dither.

    Returns:
        float32 `(batch, frames, num_features)`. Row `i` has `frame_count(length[i])` valid frames, then zeros.

    Example:
    >>> LogMel(sample_rate=16000)(np.zeros((2, 16000), "float32")).shape
    TensorShape([2, 98, 80])
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        window: int | None = None,
        hop: int | None = None,
        fft_length: int | None = None,
        num_mels: int = 80,
        f_min: float = 20.0,
        f_max: float | None = None,
        mel_scale: str = "slaney",
        mel_norm: str | None = "slaney",
        floor: float = spectral.FLOOR,
        preemphasis: float = 0.0,
        dither: float = 0.0,
        deltas: int = 0,
        delta_width: int = 9,
        normalize: str | None = "utterance",
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(sample_rate, window=window, hop=hop, normalize=normalize, **kwargs)
        self.fft_length = spectral.fft_length_for(self.window) if fft_length is None else fft_length
        self.num_mels = num_mels
        self.f_min = f_min
        self.f_max = sample_rate / 2 if f_max is None else f_max
        self.mel_scale = mel_scale
        self.mel_norm = mel_norm
        self.floor = floor
        self.preemphasis = preemphasis
        self.dither = dither
        self.deltas = deltas
        self.delta_width = delta_width
        self.seed = seed
        self._check()
        if dither > 0:
            self._random = keras.random.SeedGenerator(seed)
        columns = self._num_columns() * (1 + deltas)
        self._finish(columns, columns)

    def _num_columns(self) -> int:
        return self.num_mels

    def _check(self) -> None:
        even = self.fft_length >= self.window and self.fft_length % 2 == 0
        _require(
            even,
            "`fft_length` must be even and at least `window`.",
            f"fft_length={self.fft_length}, window={self.window}",
        )
        nyquist = self.sample_rate / 2
        _require(
            0 <= self.f_min < self.f_max <= nyquist,
            f"Need 0 <= f_min < f_max <= sample_rate / 2 = {nyquist:g}.",
            f"f_min={self.f_min}, f_max={self.f_max}",
        )
        _require(self.mel_scale in ("slaney", "htk"), '`mel_scale` must be "slaney" or "htk".', repr(self.mel_scale))
        _require(self.mel_norm in ("slaney", None), '`mel_norm` must be "slaney" or None.', repr(self.mel_norm))
        _require(self.num_mels > 0, "`num_mels` must be positive.", f"num_mels={self.num_mels}")
        _require(self.floor > 0, "`floor` must be positive.", f"floor={self.floor}")
        _require(0 <= self.preemphasis < 1, "`preemphasis` must be in [0, 1).", f"preemphasis={self.preemphasis}")
        _require(self.dither >= 0, "`dither` must not be negative.", f"dither={self.dither}")
        _require(self.deltas in (0, 1, 2), "`deltas` must be 0, 1 or 2.", f"deltas={self.deltas}")
        odd = self.delta_width >= 3 and self.delta_width % 2 == 1
        _require(odd, "`delta_width` must be odd and at least 3.", f"delta_width={self.delta_width}")
        empty = int(np.sum(self._filterbank().max(axis=0) <= 0))
        _require(
            not empty,
            "Every mel band must hold a bin of the Fourier transform: use fewer bands, a longer "
            "`fft_length` or a wider range.",
            f"num_mels={self.num_mels}, of which {empty} are empty",
        )

    def _filterbank(self) -> np.ndarray:
        return spectral.mel_filterbank(
            self.sample_rate,
            fft_length=self.fft_length,
            num_mels=self.num_mels,
            f_min=self.f_min,
            f_max=self.f_max,
            mel_scale=self.mel_scale,
            mel_norm=self.mel_norm,
        )

    def _columns(self, signal: tf.Tensor) -> tf.Tensor:
        return spectral.log_mel(signal, self._filterbank(), window=self.window, hop=self.hop, floor=self.floor)

    def _compute(self, signal: tf.Tensor, length: Any, training: bool) -> tf.Tensor:
        if training and self.dither:
            signal = spectral.dither(signal, self.dither, seed=tf.cast(self._random.next(), tf.int32))
        if self.preemphasis:
            signal = spectral.preemphasis(signal, self.preemphasis)
        frames = None if length is None else self.frame_count(tf.cast(length, tf.int32))
        return spectral.with_deltas(self._columns(signal), frames, order=self.deltas, width=self.delta_width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = (
            "fft_length",
            "num_mels",
            "f_min",
            "f_max",
            "mel_scale",
            "mel_norm",
            "floor",
            "preemphasis",
            "dither",
            "deltas",
            "delta_width",
            "seed",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="speechrnn")
class MFCC(LogMel):
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of log-mel energies.

    Args:
        sample_rate: Samples per second that the signal must have.
        num_coefficients: Coefficients to keep, the 0th included.
        num_mels: Number of mel bands under the transform.
        **kwargs: Every other argument of `LogMel`.

    Call arguments:
        signal: float32 `(batch, samples)` in [-1, 1], or `(samples,)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.
        training: Adds the dither.

    Returns:
        float32 `(batch, frames, num_coefficients * (1 + deltas))`.

    Example:
    >>> MFCC(sample_rate=8000, deltas=2)(np.zeros((1, 8000), "float32")).shape
    TensorShape([1, 98, 39])
    """

    def __init__(self, sample_rate: int, *, num_coefficients: int = 13, num_mels: int = 40, **kwargs: Any):
        within = 0 < num_coefficients <= num_mels
        _require(
            within,
            "`num_coefficients` must be from 1 to `num_mels`.",
            f"num_coefficients={num_coefficients}, num_mels={num_mels}",
        )
        self._width = num_coefficients
        super().__init__(sample_rate, num_mels=num_mels, **kwargs)
        self.num_coefficients = num_coefficients

    def _num_columns(self) -> int:
        return self._width

    def _columns(self, signal: tf.Tensor) -> tf.Tensor:
        return spectral.mfcc(super()._columns(signal), self._width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_coefficients": self.num_coefficients}


@keras.saving.register_keras_serializable(package="speechrnn")
class RawSignal(_Features):
    """The samples themselves, cut into frames: for networks that learn their own front end, and for sensors.

    Args:
        sample_rate: Samples per second that the signal must have.
        window: Samples in a frame; None is 25 ms. `window=1, hop=1` gives the samples one by one.
        hop: Step between frames in samples; None is 10 ms.
        channels: None for a mono signal `(batch, samples)`; otherwise channels of `(batch, samples, channels)`.
        normalize: "utterance" (each channel gets zero mean and unit variance over the row's valid samples), "global"
            (the statistics that `adapt` measured) or None.
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, samples)`, or `(batch, samples, channels)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.
        training: Has no effect.

    Returns:
        float32 `(batch, frames, window)`, or `(batch, frames, window * channels)` with the channels innermost.

    Example:
    >>> RawSignal(sample_rate=100, window=1, hop=1)(np.zeros((2, 50), "float32")).shape
    TensorShape([2, 50, 1])
    """

    min_std = 1e-5

    def __init__(
        self,
        sample_rate: int,
        *,
        window: int | None = None,
        hop: int | None = None,
        channels: int | None = None,
        normalize: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(sample_rate, window=window, hop=hop, normalize=normalize, **kwargs)
        self.channels = channels
        _require(channels is None or channels > 0, "`channels` must be positive or None.", f"channels={channels}")
        self._finish(self.window * (channels or 1), channels or 1)

    def call(self, signal: Any, length: Any = None, training: bool = False) -> tf.Tensor:
        """Cuts the signal; frames past `frame_count(length)` are zeros."""
        samples = self._as_float(signal)
        if self.channels is None:
            samples = samples[..., tf.newaxis]
        if length is not None:
            samples = spectral.mask_frames(samples, length)
        samples = self._normalized(samples, length)
        frames = tf.signal.frame(samples, self.window, self.hop, axis=-2)
        frames = tf.reshape(frames, tf.concat([tf.shape(frames)[:-2], [self.num_features]], axis=0))
        frames = tf.ensure_shape(frames, self.compute_output_shape(signal.shape))
        if length is None:
            return frames
        return spectral.mask_frames(frames, self.frame_count(tf.cast(length, tf.int32)))

    def compute_output_shape(self, signal_shape: tuple, length_shape: tuple | None = None) -> tuple:
        """`(..., samples[, channels])` to `(..., frames, features)`."""
        return super().compute_output_shape(signal_shape if self.channels is None else signal_shape[:-1])

    def _statistic_rows(self, signal: np.ndarray) -> tf.Tensor:
        return tf.reshape(self._as_float(signal), [-1, self.channels or 1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "channels": self.channels}
