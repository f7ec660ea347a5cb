"""Signals for the tests of features: noise, tones, and something like speech."""

import numpy as np
import scipy.signal


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
        for centre, width in zip(rng.uniform([300, 900, 2200], [800, 1800, 3000]), (80, 110, 160), strict=True):
            radius = np.exp(-np.pi * width / rate)
            angle = 2 * np.pi * centre * stretch / rate
            excitation = scipy.signal.lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], excitation)
        signal[start : start + len(excitation)] = excitation
    return (0.5 * signal / np.abs(signal).max()).astype("float32")
