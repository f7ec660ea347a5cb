"""Matrices of librosa's mel bands and scipy's cosine transform, computed once, and frequency scaling.

No TensorFlow. librosa and scipy are imported only by the functions that need them, since that takes 1 to 2 s.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np


@functools.lru_cache(maxsize=256)
def mel_filterbank(
    sample_rate: float,
    *,
    fft_length: int,
    num_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: str = "slaney",
    mel_norm: str | None = "slaney",
) -> np.ndarray:
    """Triangular mel filters: `librosa.filters.mel(...).T`, computed in float64.

    Args:
        sample_rate: Samples per second.
        fft_length: Length of the Fourier transform.
        num_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; None is the Nyquist frequency.
        mel_scale: "slaney" (linear below 1 kHz, logarithmic above) or "htk" (`2595 log10(1 + f / 700)`).
        mel_norm: "slaney" makes every band's area the same; None makes every band's peak 1.

    Returns:
        float32 `(fft_length // 2 + 1, num_mels)`, read-only (the array is shared between calls).
    """
    from librosa.filters import mel

    with warnings.catch_warnings(action="ignore"):  # of bands without a bin, which `LogMel` refuses
        bank = mel(
            sr=sample_rate, n_fft=fft_length, n_mels=num_mels, fmin=f_min, fmax=f_max, htk=mel_scale == "htk",
            norm=mel_norm, dtype=np.float64,
        )  # fmt: skip
    bank = np.ascontiguousarray(bank.T, dtype=np.float32)
    bank.setflags(write=False)
    return bank


@functools.lru_cache(maxsize=64)
def dct_matrix(size: int, num_coefficients: int) -> np.ndarray:
    """Orthonormal type-II cosine transform, to multiply from the right.

    Returns:
        float32 `(size, num_coefficients)`, read-only.
    """
    from scipy.fft import dct

    matrix = dct(np.eye(size), norm="ortho")[:, :num_coefficients].astype("float32")
    matrix.setflags(write=False)
    return matrix


# Frequency scaling of features that are already computed


def warp_frequency(frequency: Any, factor: float, *, sample_rate: float, knee: float = 0.6) -> np.ndarray:
    """Piecewise-linear scaling of the frequency axis, as in vocal-tract length perturbation.

    Frequencies up to the knee are multiplied by `factor`; above it a second line leads to the Nyquist frequency, which
    does not move (Jaitly and Hinton, 2013, whose knee is 4800 Hz at 16 kHz).

    Args:
        frequency: Hz, a number or an array.
        factor: Positive; 1 changes nothing.
        sample_rate: Samples per second.
        knee: End of the first line, as a fraction of the Nyquist frequency.

    Returns:
        float64 Hz, the shape of `frequency`.
    """
    if factor <= 0:
        raise ValueError(f"`factor` must be positive. Received: {factor}.")
    frequency, nyquist = np.asarray(frequency, "float64"), sample_rate / 2.0
    top = knee * nyquist * min(factor, 1.0)
    slope = (nyquist - top) / (nyquist - top / factor)
    return np.where(frequency <= top / factor, frequency * factor, nyquist - slope * (nyquist - frequency))


def band_positions(
    factors: Sequence[float] | np.ndarray,
    *,
    sample_rate: float,
    num_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: str = "slaney",
) -> np.ndarray:
    """Positions, on the axis of bands, of the centers of frequency-scaled bands.

    Log-mel features interpolated at these positions are close to those of mel filters with edges and centers at
    `warp_frequency(edge, factor)`, without a second spectrum.

    Args:
        factors: Frequency scales, see `warp_frequency`.
        sample_rate: Samples per second.
        num_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; None is the Nyquist frequency.
        mel_scale: "slaney" or "htk".

    Returns:
        float64 `(factors, num_mels)`, in bands; some may be outside 0 to `num_mels - 1`.
    """
    import librosa

    htk, top = mel_scale == "htk", sample_rate / 2.0 if f_max is None else f_max
    centers = librosa.mel_frequencies(num_mels + 2, fmin=f_min, fmax=top, htk=htk)[1:-1]
    low, high = librosa.hz_to_mel(np.array([f_min, top]), htk=htk)
    scaled = np.stack([warp_frequency(centers, factor, sample_rate=sample_rate) for factor in factors])
    return (librosa.hz_to_mel(scaled, htk=htk) - low) / (high - low) * (num_mels + 1) - 1.0


def interpolation_matrices(positions: np.ndarray) -> np.ndarray:
    """Matrices that interpolate features linearly at fractional positions of the feature axis, clipped at its ends.

    Args:
        positions: float `(factors, features)`.

    Returns:
        float32 `(factors, features, features)`; `x @ matrix` interpolates `x` at one row of `positions`.
    """
    size = positions.shape[-1]
    positions = np.clip(positions, 0.0, size - 1.0)
    distance = np.abs(np.arange(size)[:, np.newaxis] - positions[:, np.newaxis, :])
    return np.maximum(0.0, 1.0 - distance).astype("float32")
