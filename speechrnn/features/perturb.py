"""Augmentations of one signal, in NumPy.

A signal is float32 `(samples,)`, or `(samples, channels)`; the result has its channels and dtype.
"""

from __future__ import annotations

import numpy as np
import soxr

_WARP_KNOTS = 5
_WANDER_HERTZ = (0.05, 0.5)  # breathing and movement


def change_speed(signal: np.ndarray, factor: float) -> np.ndarray:
    """Changes the speed of a signal by resampling; pitch and formants change too.

    Args:
        signal: float32 `(samples[, channels])`.
        factor: 1.1 is 10 % faster and shorter.

    Returns:
        float32 `(round(samples / factor)[, channels])`.
    """
    if factor == 1.0 or not len(signal):
        return signal
    size = round(len(signal) / factor)
    changed = soxr.resample(signal, factor, 1.0, quality="MQ")[:size]
    return np.pad(changed, [(0, size - len(changed)), (0, 0)][: signal.ndim])


def add_noise(signal: np.ndarray, noise: np.ndarray, *, snr_db: float) -> np.ndarray:
    """Adds noise, repeated or cut to the signal's length, at a ratio of mean powers.

    Args:
        signal: float32 `(samples[, channels])`.
        noise: float32 `(any,)`.
        snr_db: Signal-to-noise ratio in dB, over all channels.

    Returns:
        float32, the shape of `signal`; the signal itself if either is silent, since the ratio is undefined then.
    """
    if not len(signal) or not len(noise):
        return signal
    noise = np.resize(noise, len(signal))
    power, noise_power = np.mean(np.square(signal)), np.mean(np.square(noise))
    if power <= 0 or noise_power <= 0:
        return signal
    scaled = (np.sqrt(power / noise_power) * 10.0 ** (-snr_db / 20.0)).astype("float32") * noise
    return signal + (scaled if signal.ndim == 1 else scaled[:, None])


def reverberate(signal: np.ndarray, rir: np.ndarray) -> np.ndarray:
    """Convolves with a room impulse response, without delaying the direct path and with the same energy.

    Args:
        signal: float32 `(samples[, channels])`.
        rir: float32 `(any,)`; its largest value is the direct path.

    Returns:
        float32, the shape of `signal`.
    """
    if not len(signal) or not np.any(rir):
        return signal
    size = 1 << (len(signal) + len(rir) - 2).bit_length()
    room = np.fft.rfft(rir, size)
    wet = np.fft.irfft(np.fft.rfft(signal, size, 0) * (room if signal.ndim == 1 else room[:, None]), size, 0)
    direct = int(np.argmax(np.abs(rir)))
    wet = wet[direct : direct + len(signal)]
    energy = np.sum(np.square(wet))
    scale = np.sqrt(np.sum(np.square(signal)) / energy) if energy > 0 else 0.0
    return (wet * scale).astype("float32")


def simulated_room(sample_rate: float, seconds: float, ratio_db: float, rng: np.random.Generator) -> np.ndarray:
    """Simulates a room's impulse response: the direct sound, then exponentially decaying noise.

    The model of a diffuse field: J. D. Polack, "La transmission de l'énergie sonore dans les salles" (1988).

    Args:
        sample_rate: Samples per second.
        seconds: Reverberation time (RT60), in which the energy falls by 60 dB.
        ratio_db: Direct-to-reverberant energy ratio in dB; it is lower for a distant talker.
        rng: Random generator of the noise.

    Returns:
        float32 `(1 + round(seconds * sample_rate),)`; the first value, 1, is the direct sound.
    """
    size = max(1, round(seconds * sample_rate))
    tail = rng.standard_normal(size) * 10.0 ** (-3 * np.arange(1, 1 + size) / size)
    tail *= 10.0 ** (-ratio_db / 20) / np.sqrt(np.sum(np.square(tail)))
    return np.concatenate([[1.0], tail]).astype("float32")


def crop(signal: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Cuts a random part out of the signal, `share` of its length."""
    size = max(1, round(share * len(signal)))
    start = int(rng.integers(max(0, len(signal) - size) + 1))
    return signal[start : start + size]


def time_warp(signal: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """Varies the local speed of the signal smoothly, without changing its length.

    Args:
        signal: float32 `(samples[, channels])`.
        largest: Local speeds are drawn from `1 - largest` to `1 + largest`.
        rng: Random generator of the speeds.
    """
    if len(signal) < 3:
        return signal
    size = len(signal)
    speeds = 1 + largest * rng.uniform(-1, 1, _WARP_KNOTS)
    step = np.interp(np.linspace(0, _WARP_KNOTS - 1, size - 1), np.arange(_WARP_KNOTS), speeds)
    positions = np.concatenate([[0.0], np.cumsum(step)]) * ((size - 1) / step.sum())
    columns = signal.reshape(size, -1)
    warped = [np.interp(positions, np.arange(size), column) for column in columns.T]
    return np.stack(warped, 1).astype("float32").reshape(signal.shape)


def scale_channels(signal: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplies each channel by a factor of its own, drawn from `1 - largest` to `1 + largest`."""
    return signal * (1 + largest * rng.uniform(-1, 1, signal.shape[1:])).astype("float32")


def jitter(signal: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds white noise whose standard deviation is `amount` times that of each channel."""
    if not len(signal):
        return signal
    return signal + np.float32(amount) * signal.std(0) * rng.standard_normal(signal.shape, np.float32)


def wander(signal: np.ndarray, sample_rate: float, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds baseline wander to each channel: a sine of 0.05 to 0.5 Hz, up to `amount` standard deviations high."""
    if not len(signal):
        return signal
    shape = signal.shape[1:]
    hertz, phase = rng.uniform(*_WANDER_HERTZ, shape), rng.uniform(0, 2 * np.pi, shape)
    time = np.arange(len(signal)).reshape(-1, *[1] * len(shape)) / sample_rate
    amplitude = amount * rng.uniform(0, 1, shape) * signal.std(0)
    return signal + (amplitude * np.sin(2 * np.pi * hertz * time + phase)).astype("float32")


def drop_leads(signal: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Sets each channel to zero with a probability, like a lead that came off; at least one is kept."""
    if signal.ndim == 1 or signal.shape[1] < 2:
        return signal
    draws = rng.random((signal.shape[1],))
    kept = np.array(draws >= probability)
    kept[draws.argmax()] = True
    return np.where(kept, signal, np.float32(0))
