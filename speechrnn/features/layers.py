"""Keras layers that turn signals into features: thin shells over `spectral`, saved inside a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import mel, spectral
from speechrnn.features.base import FeatureLayer, require
from speechrnn.features.filter_layers import SignalFilter


@keras.saving.register_keras_serializable(package="speechrnn")
class LogMel(FeatureLayer):
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
        require(self.mel_scale in ("slaney", "htk"), '`mel_scale` must be "slaney" or "htk".', repr(self.mel_scale))
        require(self.mel_norm in ("slaney", None), '`mel_norm` must be "slaney" or None.', repr(self.mel_norm))
        require(self.num_mels > 0, "`num_mels` must be positive.", f"num_mels={self.num_mels}")
        require(self.floor > 0, "`floor` must be positive.", f"floor={self.floor}")
        require(0 <= self.preemphasis < 1, "`preemphasis` must be in [0, 1).", f"preemphasis={self.preemphasis}")
        require(self.dither >= 0, "`dither` must not be negative.", f"dither={self.dither}")
        require(self.deltas in (0, 1, 2), "`deltas` must be 0, 1 or 2.", f"deltas={self.deltas}")
        odd = self.delta_width >= 3 and self.delta_width % 2 == 1
        require(odd, "`delta_width` must be odd and at least 3.", f"delta_width={self.delta_width}")
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
            float32 `(factors, num_features, num_features)`; `features @ matrix` is nearly what warped mel filters
            would have given. Deltas are scaled along.
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
        require(
            within,
            "`num_coefficients` must be from 1 to `num_mels`.",
            f"num_coefficients={num_coefficients}, num_mels={num_mels}",
        )
        self._num_coefficients = num_coefficients  # read while the parent is set up, before Keras allows attributes
        super().__init__(sample_rate, num_mels=num_mels, **kwargs)
        self.num_coefficients = num_coefficients

    def _num_columns(self) -> int:
        return self._num_coefficients

    def _warp_columns(self, matrices: np.ndarray) -> np.ndarray:
        transform = mel.dct_matrix(self.num_mels, self.num_coefficients)
        return transform.T @ matrices @ transform

    def _columns(self, signal: tf.Tensor) -> tf.Tensor:
        return spectral.mfcc(super()._columns(signal), self.num_coefficients)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_coefficients": self.num_coefficients}


@keras.saving.register_keras_serializable(package="speechrnn")
class RawSignal(FeatureLayer):
    """The samples themselves, cut into frames: for networks that learn their own front end, and for sensors.

    Args:
        sample_rate: Samples per second that the signal must have.
        window: Samples in a frame; None is 25 ms. `window=1, hop=1` gives the samples one by one.
        hop: Step between frames in samples; None is 10 ms.
        channels: None for a mono signal `(batch, samples)`; otherwise channels of `(batch, samples, channels)`.
        normalize: "utterance" (each channel gets zero mean and unit variance over the row's valid samples), "global"
            (the statistics that `adapt` measured) or None.
        filters: `BandPass`, `Notch` and `RobustScale` layers, applied in order before the normalisation.
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
        super().__init__(sample_rate, window=window, hop=hop, normalize=normalize, **kwargs)
        self.channels = channels
        self.filters = tuple(filters)
        require(channels is None or channels > 0, "`channels` must be positive or None.", f"channels={channels}")
        strange = [f for f in self.filters if not isinstance(f, SignalFilter)]
        require(not strange, "`filters` must be layers of speechrnn.features.filter_layers.", repr(strange[:1]))
        other = [f for f in self.filters if getattr(f, "sample_rate", sample_rate) != sample_rate]
        require(not other, f"`filters` must be made for {sample_rate} Hz.", repr(other[:1]))
        self._finish(self.window * (channels or 1), channels or 1)

    def call(self, signal: Any, length: Any = None, training: bool = False) -> tf.Tensor:
        """Cuts the signal; frames past `frame_count(length)` are zeros."""
        samples = self._as_float(signal)
        if self.channels is None:
            samples = samples[..., tf.newaxis]
        if length is not None:
            samples = spectral.mask_frames(samples, length)
        samples = self._normalized(self._filtered(samples, length), length)
        frames = tf.signal.frame(samples, self.window, self.hop, axis=-2)
        frames = tf.reshape(frames, tf.concat([tf.shape(frames)[:-2], [self.num_features]], axis=0))
        frames = tf.ensure_shape(frames, self.compute_output_shape(signal.shape))
        if length is None:
            return frames
        return spectral.mask_frames(frames, self.frame_count(tf.cast(length, tf.int32)))

    def compute_output_shape(self, signal_shape: tuple, length_shape: tuple | None = None) -> tuple:
        """`(..., samples[, channels])` to `(..., frames, features)`."""
        return super().compute_output_shape(signal_shape if self.channels is None else signal_shape[:-1])

    def _filtered(self, samples: tf.Tensor, length: Any) -> tf.Tensor:
        """float32 `(..., samples, channels)` after all filters."""
        if len(samples.shape) == 2:  # one signal, not a batch
            return self._filtered(samples[tf.newaxis], None if length is None else tf.reshape(length, [1]))[0]
        for layer in self.filters:
            samples = layer(samples, length)
        return samples

    def _statistics_of(self, signal: np.ndarray) -> tf.Tensor:
        samples = self._as_float(signal)
        return self._filtered(samples if self.channels else samples[..., tf.newaxis], None)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        filters = [keras.saving.serialize_keras_object(layer) for layer in self.filters]
        return {**super().get_config(), "channels": self.channels, "filters": filters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RawSignal:
        """The layer that `get_config` described."""
        filters = [keras.saving.deserialize_keras_object(layer) for layer in config.get("filters", ())]
        return cls(**{**config, "filters": filters})
