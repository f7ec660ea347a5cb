"""Signals for the tests of features: noise, tones, and something like speech."""

import numpy as np
import scipy.signal

from speechrnn.features.mel import warp_frequency


def noise(rng, size=16000):
    return (0.1 * rng.standard_normal(size)).astype("float32")


def tones(rate=16000, size=16000):
    time = np.arange(size) / rate
    return (0.4 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 3000 * time)).astype("float32")


def vowels(rng, rate=16000, size=24000, stretch=1.0):
    """Glottal pulses through formants that change five times a second, with digital silence in between.

    `stretch` multiplies the formants, as a shorter vocal tract does.
    """
    syllable = rate // 5
    signal = np.zeros(size)
    for start in range(0, size - syllable, syllable):
        excitation = 0.003 * rng.standard_normal(syllable - rate // 20)
        excitation[:: int(rate / rng.uniform(90, 220))] += 1.0
        for center, width in zip(rng.uniform([300, 900, 2200], [800, 1800, 3000]), (80, 110, 160), strict=True):
            radius = np.exp(-np.pi * width / rate)
            angle = 2 * np.pi * center * stretch / rate
            excitation = scipy.signal.lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], excitation)
        signal[start : start + len(excitation)] = excitation
    return (0.5 * signal / np.abs(signal).max()).astype("float32")


def mel_triangles(rate, fft_length, num_mels, *, f_min=0.0, f_max=None, scale="slaney", norm="slaney", factor=1.0):
    """Mel filters `(bins, bands)` by their formula (Slaney's Auditory Toolbox, or the HTK Book), with edges and centers
    scaled by `factor`."""
    if scale == "htk":
        mel, hz = (lambda f: 2595 * np.log10(1 + f / 700)), (lambda m: 700 * (10 ** (m / 2595) - 1))
    else:  # 200 Hz are 3 mel up to 1 kHz; from there 27 mel are a factor of 6.4
        mel = np.vectorize(lambda f: f * 3 / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4))
        hz = np.vectorize(lambda m: m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27))
    edges = hz(np.linspace(mel(f_min), mel(f_max or rate / 2), num_mels + 2))
    if factor != 1:
        edges = warp_frequency(edges, factor, sample_rate=rate)
    bank = np.zeros((fft_length // 2 + 1, num_mels))
    for band, (low, center, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for k in range(len(bank)):
            f = k * rate / fft_length
            bank[k, band] = max(0, min((f - low) / (center - low), (high - f) / (high - center)))
        bank[:, band] *= 2 / (high - low) if norm == "slaney" else 1
    return bank.astype("float32")
