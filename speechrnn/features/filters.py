"""Filters for signals of sensors: zero-phase kernels, and robust scaling.

The kernels are scipy's windowed sincs with a Hamming window. A filter pads the signal with its first and last value, so
that an offset makes no step at the ends. `filter_layers` has the same filters as Keras layers.
"""

from __future__ import annotations

import numpy as np

MIN_SCALE = 1e-6
"""Smallest divisor of robust scaling: a flat line becomes zeros."""

NORMAL_QUARTILES = 1.3489795
"""Interquartile range of a normal distribution with unit variance."""


def pass_kernel(
    sample_rate: float, *, low: float | None = None, high: float | None = None, width: float | None = None
) -> np.ndarray:
    """A kernel that passes the band from `low` to `high`; either end may be open.

    Args:
        sample_rate: Samples per second.
        low: Lower edge in Hz, where half the amplitude passes; None passes everything down to 0.
        high: Upper edge in Hz; None passes everything up to half the sampling rate.
        width: Width of the transition in Hz, which determines the number of taps; None is the lower edge, or without
            one a quarter of the upper edge.

    Returns:
        float64 `(taps,)`, an odd number, symmetric; the gain is 1 in the middle of the band (or at 0 Hz, or at half the
        sampling rate, if the band reaches it).

    Raises:
        ValueError: The edges are not in order within 0 and half the sampling rate, or the width is not positive.
    """
    from scipy.signal import firwin

    nyquist = sample_rate / 2
    edges = [0.0 if low is None else low, nyquist if high is None else high]
    inside = 0 <= edges[0] < edges[1] <= nyquist and (low is None or low > 0) and (high is None or high < nyquist)
    if (low is None and high is None) or not inside:
        raise ValueError(
            f"A band needs 0 < low < high < {nyquist:g} Hz, half the sampling rate. Received: low={low}, high={high}."
        )
    if width is None:
        width = low if low is not None else edges[1] / 4
    if width <= 0:
        raise ValueError(f"`width` must be positive. Received: {width}.")
    reach = int(np.ceil(3.3 * sample_rate / width / 2))  # Hamming: 3.3 / N of the sampling rate
    cutoff = [edge for edge in (low, high) if edge is not None]
    return firwin(2 * reach + 1, cutoff, window="hamming", pass_zero=low is None, fs=sample_rate)


def notch_kernel(sample_rate: float, frequency: float, *, width: float = 4.0) -> np.ndarray:
    """A kernel that removes a hum, such as that of mains at 50 or 60 Hz, and passes all other frequencies.

    Args:
        sample_rate: Samples per second.
        frequency: Frequency of the hum in Hz.
        width: Width in Hz of the removed band, at half the amplitude; half of it is the transition.

    Returns:
        float64 `(taps,)`, an odd number, symmetric, with a gain of 1 at 0 Hz and of 0 at `frequency`.

    Raises:
        ValueError: The hum or its sides lie outside 0 and half the sampling rate.
    """
    band = pass_kernel(
        sample_rate, low=frequency - width / 2, high=min(frequency + width / 2, 0.499 * sample_rate), width=width / 2
    )
    kernel = -band
    kernel[len(band) // 2] += 1
    return kernel / kernel.sum()


def apply_kernel(signal: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filters a signal by a symmetric kernel, without delay and with edge padding.

    Args:
        signal: float `(samples[, channels])`.
        kernel: From `pass_kernel` or `notch_kernel`.

    Returns:
        float32, the shape of `signal`.
    """
    from scipy.signal import oaconvolve

    if not len(signal):
        return signal.astype("float32")
    reach = len(kernel) // 2
    padded = np.pad(np.asarray(signal, np.float64), [(reach, reach), (0, 0)][: signal.ndim], mode="edge")
    return oaconvolve(padded, kernel.reshape(-1, *[1] * (signal.ndim - 1)), mode="valid", axes=0).astype("float32")


def band_pass(signal: np.ndarray, sample_rate: float, *, low: float, high: float) -> np.ndarray:
    """Filters a signal to a band of frequencies without delay: 0.5 to 40 Hz for an ECG, 0.5 to 30 Hz for an EEG.

    Example:
    >>> time = np.arange(3000) / 300
    >>> slow, heart = np.sin(2 * np.pi * 0.1 * time), np.sin(2 * np.pi * 10 * time)
    >>> bool(np.abs(band_pass(slow + heart, 300, low=0.5, high=40) - heart)[900:-900].max() < 0.01)
    True
    """
    return apply_kernel(signal, pass_kernel(sample_rate, low=low, high=high))


def remove_hum(signal: np.ndarray, sample_rate: float, frequency: float) -> np.ndarray:
    """Removes mains hum at `frequency` Hz; see `notch_kernel`."""
    return apply_kernel(signal, notch_kernel(sample_rate, frequency))


def remove_baseline(signal: np.ndarray, sample_rate: float, *, cutoff: float = 0.5) -> np.ndarray:
    """Removes the offset and baseline wander below `cutoff` Hz."""
    return apply_kernel(signal, pass_kernel(sample_rate, low=cutoff))


def robust_scale(signal: np.ndarray) -> np.ndarray:
    """Subtracts each channel's median and divides by its interquartile range, both robust to outliers.

    The range is relative to that of the normal distribution, so that Gaussian noise gets a standard deviation of 1.

    Args:
        signal: float `(samples[, channels])`.

    Returns:
        float32, the shape of `signal`; zeros for a flat channel.
    """
    if not len(signal):
        return signal.astype("float32")
    first, median, third = np.quantile(signal, [0.25, 0.5, 0.75], axis=0)
    return ((signal - median) / np.maximum((third - first) / NORMAL_QUARTILES, MIN_SCALE)).astype("float32")
