"""Mel bands and the cosine transform as NumPy matrices, computed once; no TensorFlow."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np


def hz_to_mel(frequency: Any, *, scale: str = "slaney") -> np.ndarray:
    """Converts Hz to mel.

    Args:
        frequency: Hz, a number or an array.
        scale: "slaney" (linear below 1 kHz, logarithmic above) or "htk" (`2595 log10(1 + f / 700)`).

    Returns:
        float64, the shape of `frequency`.
    """
    frequency = np.asarray(frequency, "float64")
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + frequency / 700.0)
    above = 15.0 + np.log(np.maximum(frequency, 1000.0) / 1000.0) * (27.0 / np.log(6.4))
    return np.where(frequency < 1000.0, frequency * (3.0 / 200.0), above)


def mel_to_hz(mel: Any, *, scale: str = "slaney") -> np.ndarray:
    """Converts mel to Hz: the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, "float64")
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = 1000.0 * np.exp((np.maximum(mel, 15.0) - 15.0) * (np.log(6.4) / 27.0))
    return np.where(mel < 15.0, mel * (200.0 / 3.0), above)


def warp_frequency(frequency: Any, factor: float, *, sample_rate: float, knee: float = 0.6) -> np.ndarray:
    """Piecewise-linear scaling of the frequency axis, as in vocal-tract length perturbation.

    Frequencies up to the knee are multiplied by `factor`; above it a second line leads to the Nyquist frequency, which
    stays where it is (Jaitly and Hinton, 2013, whose knee is 4800 Hz at 16 kHz).

    Args:
        frequency: Hz, a number or an array.
        factor: Positive; 1 changes nothing.
        sample_rate: Samples per second.
        knee: Where the first line ends, as a fraction of the Nyquist frequency.

    Returns:
        float64 Hz, the shape of `frequency`.
    """
    if factor <= 0:
        raise ValueError(f"`factor` must be positive. Received: {factor}.")
    frequency, nyquist = np.asarray(frequency, "float64"), sample_rate / 2.0
    top = knee * nyquist * min(factor, 1.0)
    slope = (nyquist - top) / (nyquist - top / factor)
    return np.where(frequency <= top / factor, frequency * factor, nyquist - slope * (nyquist - frequency))


def mel_edges(
    sample_rate: float, num_mels: int, *, f_min: float = 0.0, f_max: float | None = None, mel_scale: str = "slaney"
) -> np.ndarray:
    """Edges and centres of mel bands: band `i` rises from edge `i` to `i + 1` and falls to `i + 2`.

    Returns:
        float64 `(num_mels + 2,)` Hz.
    """
    ends = hz_to_mel([f_min, sample_rate / 2.0 if f_max is None else f_max], scale=mel_scale)
    return mel_to_hz(np.linspace(ends[0], ends[1], num_mels + 2), scale=mel_scale)


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
    frequency_scale: float = 1.0,
) -> np.ndarray:
    """Triangular mel filters, equal to `librosa.filters.mel(...).T` where `frequency_scale` is 1.

    Args:
        sample_rate: Samples per second.
        fft_length: Length of the Fourier transform.
        num_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; None is the Nyquist frequency.
        mel_scale: "slaney" or "htk".
        mel_norm: "slaney" makes every band's area the same; None makes every band's peak 1.
        frequency_scale: Moves the bands' edges and centres to `warp_frequency(edge, frequency_scale)`.

    Returns:
        float32 `(fft_length // 2 + 1, num_mels)`, read-only (the array is shared between calls).
    """
    edges = mel_edges(sample_rate, num_mels, f_min=f_min, f_max=f_max, mel_scale=mel_scale)
    if frequency_scale != 1.0:
        edges = warp_frequency(edges, frequency_scale, sample_rate=sample_rate)
    bins = np.linspace(0.0, sample_rate / 2.0, fft_length // 2 + 1)[:, np.newaxis]
    width = np.diff(edges)
    rising = (bins - edges[:-2]) / width[:-1]
    falling = (edges[2:] - bins) / width[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if mel_norm == "slaney":
        bank *= 2.0 / (edges[2:] - edges[:-2])
    bank = bank.astype("float32")
    bank.setflags(write=False)
    return bank


@functools.lru_cache(maxsize=64)
def dct_matrix(size: int, num_coefficients: int) -> np.ndarray:
    """Orthonormal type-II cosine transform, to multiply from the right.

    Returns:
        float32 `(size, num_coefficients)`, read-only.
    """
    angle = np.pi / size * np.outer(np.arange(size) + 0.5, np.arange(num_coefficients))
    matrix = np.cos(angle) * np.sqrt(2.0 / size)
    matrix[:, 0] = np.sqrt(1.0 / size)
    matrix = matrix.astype("float32")
    matrix.setflags(write=False)
    return matrix


# Frequency scaling of features that are already computed


def band_positions(
    factors: Sequence[float] | np.ndarray,
    *,
    sample_rate: float,
    num_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    mel_scale: str = "slaney",
) -> np.ndarray:
    """Where on the band axis the centres of frequency-scaled bands lie.

    Reading log-mel features at these positions gives nearly what `mel_filterbank(..., frequency_scale=factor)` would
    have given, without a second spectrum.

    Args:
        factors: Frequency scales, see `warp_frequency`.
        sample_rate: Samples per second.
        num_mels: Number of bands.
        f_min: Lower edge of the first band, Hz.
        f_max: Upper edge of the last band, Hz; None is the Nyquist frequency.
        mel_scale: "slaney" or "htk".

    Returns:
        float64 `(factors, num_mels)`, in bands; may lie outside the bands there are.
    """
    edges = mel_edges(sample_rate, num_mels, f_min=f_min, f_max=f_max, mel_scale=mel_scale)
    ends = hz_to_mel(edges[[0, -1]], scale=mel_scale)
    step = (ends[1] - ends[0]) / (num_mels + 1)
    centres = [warp_frequency(edges[1:-1], factor, sample_rate=sample_rate) for factor in factors]
    return (hz_to_mel(np.stack(centres), scale=mel_scale) - ends[0]) / step - 1.0


def interpolation_matrices(positions: np.ndarray) -> np.ndarray:
    """Matrices that read features at fractional positions of the feature axis, linearly and clipped at its ends.

    Args:
        positions: float `(factors, features)`.

    Returns:
        float32 `(factors, features, features)`; `x @ matrix` reads `x` at one row of `positions`.
    """
    size = positions.shape[-1]
    positions = np.clip(positions, 0.0, size - 1.0)
    distance = np.abs(np.arange(size)[:, np.newaxis] - positions[:, np.newaxis, :])
    return np.maximum(0.0, 1.0 - distance).astype("float32")
