"""Keras layers that compute features of signals by the functions of `spectral`; a bundle contains one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import options_as_keywords
from speechrnn.features import mel, spectral
from speechrnn.features.base import FeatureLayer, require
from speechrnn.features.channels import ChannelLayer
from speechrnn.features.filter_layers import SignalFilter
from speechrnn.features.options import LogMelOptions
from speechrnn.layers.steps import cannot_stream


@keras.saving.register_keras_serializable(package="speechrnn")
class LogMel(FeatureLayer):
    """Log-mel energies of a signal.

    Frames are not centered, so padding never changes a valid frame. Energies are natural logarithms of the power in
    area-normalized triangular bands, as `librosa.feature.melspectrogram(center=False)` gives; they are not relative to
    a batch's maximum. Digital silence gives `log(floor)` before normalization. Features are always float32.

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
        preemphasis: Coefficient of the high-pass filter; 0 is off, since normalization undoes what it would do.
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

    @options_as_keywords(LogMelOptions)
    def __init__(self, sample_rate: int, *, options: LogMelOptions, seed: int = 0, **kwargs: Any):
        values = {**vars(options)}
        framing = {name: values.pop(name) for name in ("window", "hop", "normalize")}
        super().__init__(sample_rate, **framing, **kwargs)
        for name, value in values.items():
            setattr(self, name, value)
        if options.fft_length is None:
            self.fft_length = spectral.fft_length_for(self.window)
        if options.f_max is None:
            self.f_max = sample_rate / 2
        self.seed = seed
        self._check()
        if self.dither > 0:
            self._random = keras.random.SeedGenerator(seed)
        columns = self._num_columns() * (1 + self.deltas)
        self._finish(columns, columns)

    def _num_columns(self) -> int:
        return self.num_mels

    def _check(self) -> None:
        even = self.fft_length >= self.window and self.fft_length % 2 == 0
        require(
            even,
            "`fft_length` must be even and at least `window`.",
            f"fft_length={self.fft_length}, window={self.window}",
        )
        nyquist = self.sample_rate / 2
        require(
            0 <= self.f_min < self.f_max <= nyquist,
            f"Need 0 <= f_min < f_max <= sample_rate / 2 = {nyquist:g}.",
            f"f_min={self.f_min}, f_max={self.f_max}",
        )
        empty = int(np.sum(self._filterbank().max(axis=0) <= 0))
        require(
            not empty,
            "Every mel band must hold a bin of the Fourier transform: use fewer bands, a longer "
            "`fft_length` or a wider range.",
            f"num_mels={self.num_mels}, of which {empty} are empty",
        )

    def _filterbank(self) -> np.ndarray:
        return mel.mel_filterbank(
            self.sample_rate,
            fft_length=self.fft_length,
            num_mels=self.num_mels,
            f_min=self.f_min,
            f_max=self.f_max,
            mel_scale=self.mel_scale,
            mel_norm=self.mel_norm,
        )

    def frequency_warp(self, factors: Sequence[float] | np.ndarray) -> np.ndarray:
        """Matrices that scale the frequency axis of features this layer has already computed.

        Args:
            factors: Frequency scales as in vocal-tract length perturbation, see `mel.warp_frequency`.

        Returns:
            float32 `(factors, num_features, num_features)`; `features @ matrix` is close to the features of warped mel
            filters. Deltas are scaled too.
        """
        positions = mel.band_positions(
            factors,
            sample_rate=self.sample_rate,
            num_mels=self.num_mels,
            f_min=self.f_min,
            f_max=self.f_max,
            mel_scale=self.mel_scale,
        )
        blocks = self._warp_columns(mel.interpolation_matrices(positions))
        return np.stack([np.kron(np.eye(1 + self.deltas, dtype="float32"), block) for block in blocks])

    def _warp_columns(self, matrices: np.ndarray) -> np.ndarray:
        return matrices

    def _columns(self, signal: tf.Tensor) -> tf.Tensor:
        return spectral.log_mel(signal, self._filterbank(), window=self.window, hop=self.hop, floor=self.floor)

    @property
    def carried_samples(self) -> int:
        """See `FeatureLayer`; one more for the high-pass filter."""
        return super().carried_samples + bool(self.preemphasis)

    def _check_stream(self) -> None:
        if self.deltas:
            raise cannot_stream(self, f"deltas look ahead further than a block. Received: deltas={self.deltas}; use 0")

    def _block(self, signal: tf.Tensor) -> tf.Tensor:
        if self.preemphasis:
            signal = signal[:, 1:] - self.preemphasis * signal[:, :-1]
        power = spectral.power_spectrum(signal, window=self.window, hop=self.hop, fft_length=self.fft_length)
        # An elementwise product: a matrix product with 8-bit weights would round the spectrum to 8 bits too.
        return spectral.log(tf.reduce_sum(power[..., tf.newaxis] * self._filterbank(), axis=-2), floor=self.floor)

    def _compute(self, signal: tf.Tensor, length: Any, training: bool) -> tf.Tensor:
        if training and self.dither:
            signal = spectral.dither(signal, self.dither, seed=tf.cast(self._random.next(), tf.int32))
        if self.preemphasis:
            signal = spectral.preemphasis(signal, self.preemphasis)
        frames = None if length is None else self.frame_count(tf.cast(length, tf.int32))
        return spectral.with_deltas(self._columns(signal), frames, order=self.deltas, width=self.delta_width)


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
        require(
            within,
            "`num_coefficients` must be from 1 to `num_mels`.",
            f"num_coefficients={num_coefficients}, num_mels={num_mels}",
        )
        self._num_coefficients = num_coefficients  # the base constructor needs it, before Keras allows attributes
        super().__init__(sample_rate, num_mels=num_mels, **kwargs)
        self.num_coefficients = num_coefficients

    def _num_columns(self) -> int:
        return self._num_coefficients

    def _warp_columns(self, matrices: np.ndarray) -> np.ndarray:
        transform = mel.dct_matrix(self.num_mels, self.num_coefficients)
        return transform.T @ matrices @ transform

    def _columns(self, signal: tf.Tensor) -> tf.Tensor:
        return spectral.mfcc(super()._columns(signal), self.num_coefficients)

    def _block(self, signal: tf.Tensor) -> tf.Tensor:
        return spectral.mfcc(super()._block(signal), self.num_coefficients)


@keras.saving.register_keras_serializable(package="speechrnn")
class RawSignal(ChannelLayer):
    """The samples themselves, cut into frames, for networks that learn their own features, and for sensors.

    Args:
        sample_rate: Samples per second that the signal must have.
        window: Samples in a frame; None is 25 ms. `window=1, hop=1` gives the samples one by one.
        hop: Step between frames in samples; None is 10 ms.
        channels: None for a mono signal `(batch, samples)`; otherwise channels of `(batch, samples, channels)`.
        normalize: "utterance" (each channel gets zero mean and unit variance over the row's valid samples), "global"
            (the statistics that `adapt` measured) or None.
        filters: `BandPass`, `Notch` and `RobustScale` layers, applied in order before the normalization.
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
        filters: Sequence[SignalFilter] = (),
        **kwargs: Any,
    ):
        super().__init__(
            sample_rate, window=window, hop=hop, channels=channels, normalize=normalize, filters=filters, **kwargs
        )
        self._finish(self.window * (channels or 1), channels or 1)

    def call(self, signal: Any, length: Any = None, training: bool = False) -> tf.Tensor:
        """Cuts the signal; frames past `frame_count(length)` are zeros."""
        samples = self._normalized(self._samples(signal, length), length)
        frames = tf.signal.frame(samples, self.window, self.hop, axis=-2)
        frames = tf.reshape(frames, tf.concat([tf.shape(frames)[:-2], [self.num_features]], axis=0))
        return self._without_padding(frames, signal, length)

    def _check_stream(self) -> None:
        if self.filters:
            raise cannot_stream(self, "its filters look ahead further than a block; train without filters")

    def _block(self, signal: tf.Tensor) -> tf.Tensor:
        return tf.signal.frame(signal, self.window, self.hop, axis=1)


@keras.saving.register_keras_serializable(package="speechrnn")
class LogSpectrogram(ChannelLayer):
    """Log-power spectrogram of a signal of one channel or several, for EEG, ECG, vibration and other sensors.

    Frames are not centered, so padding never changes a valid frame. Values are natural logarithms of the squared
    magnitude of the Fourier transform under a Hann window, `log(abs(scipy.signal.stft(...)) ** 2)` but for its scale.

    Args:
        sample_rate: Samples per second that the signal must have.
        window: Frame length in samples: at least two periods of the lowest frequency of interest.
        hop: Step between frames in samples.
        fft_length: Length of the Fourier transform; None is the next power of two.
        channels: None for a mono signal `(batch, samples)`; otherwise channels of `(batch, samples, channels)`.
        f_min: Lowest frequency to keep, Hz; a value above 0 removes offset and drift.
        f_max: Highest frequency to keep, Hz; None is the Nyquist frequency.
        floor: Smallest power.
        normalize: "utterance" (each frequency of each channel gets zero mean and unit variance over the row's valid
            frames), "global" (the statistics that `adapt` measured) or None.
        filters: `BandPass`, `Notch` and `RobustScale` layers, applied in order to the signal.
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, samples)`, or `(batch, samples, channels)`.
        length: int32 `(batch,)`, valid samples in each row; None means all.
        training: Has no effect.

    Returns:
        float32 `(batch, frames, channels * frequencies)`, the frequencies of each channel together.

    Example:
    >>> LogSpectrogram(100, window=100, hop=50, channels=2, f_min=1, f_max=30)(np.zeros((3, 600, 2), "float32")).shape
    TensorShape([3, 11, 74])
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        window: int,
        hop: int,
        fft_length: int | None = None,
        channels: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        floor: float = spectral.FLOOR,
        normalize: str | None = "utterance",
        filters: Sequence[SignalFilter] = (),
        **kwargs: Any,
    ):
        super().__init__(
            sample_rate, window=window, hop=hop, channels=channels, normalize=normalize, filters=filters, **kwargs
        )
        self.fft_length = spectral.fft_length_for(self.window) if fft_length is None else fft_length
        self.f_min = f_min
        self.f_max = sample_rate / 2 if f_max is None else f_max
        self.floor = floor
        long = self.fft_length >= self.window and self.fft_length % 2 == 0
        require(long, "`fft_length` must be even and at least `window`.", f"fft_length={self.fft_length}")
        require(floor > 0, "`floor` must be positive.", f"floor={floor}")
        self.bins = self._bins()
        columns = len(self.bins) * (channels or 1)
        self._finish(columns, columns)

    def _bins(self) -> range:
        """The frequencies to keep, as multiples of `sample_rate / fft_length`."""
        rate, length = self.sample_rate, self.fft_length
        bins = [k for k in range(length // 2 + 1) if self.f_min <= k * rate / length <= self.f_max]
        limits = f"f_min={self.f_min}, f_max={self.f_max}"
        require(bins, f"There must be a multiple of {rate / length:g} Hz from `f_min` to `f_max`.", limits)
        return range(bins[0], bins[-1] + 1)

    def call(self, signal: Any, length: Any = None, training: bool = False) -> tf.Tensor:
        """Computes the spectrogram; frames past `frame_count(length)` are zeros."""
        frames = None if length is None else self.frame_count(tf.cast(length, tf.int32))
        columns = self._normalized(self._columns(self._samples(signal, length)), frames)
        return self._without_padding(columns, signal, length)

    def _columns(self, samples: tf.Tensor) -> tf.Tensor:
        sizes = {"window": self.window, "hop": self.hop, "fft_length": self.fft_length}
        return spectral.log_spectrogram(samples, bins=self.bins, floor=self.floor, **sizes)

    def _statistics_of(self, signal: np.ndarray) -> tf.Tensor:
        return self._columns(self._samples(signal))
