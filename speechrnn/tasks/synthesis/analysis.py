"""Analyze recordings for training: phones with their durations, pitches and levels, and the spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speechrnn.data.examples import read_whole
from speechrnn.data.manifest import Example
from speechrnn.faults import data_error
from speechrnn.pipeline.graph import feature_function
from speechrnn.tasks.synthesis.alignment import phones_and_ends
from speechrnn.tasks.synthesis.phones import SILENCE
from speechrnn.tasks.synthesis.sound import Sound, by_phone, frame_counts, pitch


@dataclass(frozen=True, eq=False)
class Analysis:
    """The analysis of a recording."""

    phones: tuple[str, ...]
    counts: np.ndarray
    """Number of frames of each phone, int `(phones,)`."""
    pitch: np.ndarray
    """Natural logarithm of each phone's pitch in hertz, float64 `(phones,)`."""
    energy: np.ndarray
    """Mean log-mel energy, float64 `(phones,)`."""
    spectrum: np.ndarray
    """Log-mel energies, float32 `(frames, bands)`."""

    def variances(self, levels: dict[str, tuple[float, float]]) -> np.ndarray:
        """Logarithm of the number of frames, normalized pitch and normalized level, float32 `(phones, 3)`."""
        normalized = [(getattr(self, name) - levels[name][0]) / levels[name][1] for name in ("pitch", "energy")]
        return np.stack([np.log(self.counts), *normalized], axis=1).astype(np.float32)


def analyzer(features: object) -> Callable[[Example], Analysis]:
    """Make a function that analyzes recordings.

    Args:
        features: A `LogMel` layer.
    """
    compute, sound = feature_function(features), Sound.of(features)

    def analyzed(example: Example) -> Analysis:
        phones, ends = phones_and_ends(example)
        signal = read_whole(example, sound.sample_rate)
        spectrum = compute(signal)
        if len(spectrum) < len(phones):
            raise data_error(
                example.id, "too short for their text", f"has {len(spectrum)} frames for {len(phones)} phones."
            )
        counts = frame_counts(ends, len(spectrum), sound)
        silent = np.repeat([phone == SILENCE for phone in phones], counts)
        log_pitch = np.where(silent, np.nan, pitch(signal, sound)[: len(spectrum)])
        return Analysis(
            tuple(phones), counts, by_phone(log_pitch, counts), by_phone(spectrum.mean(1), counts), spectrum
        )

    return analyzed


def levels_of(analyses: list[Analysis]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of "pitch" and of "energy" over all phones but silence."""
    masks = [np.array([phone != SILENCE for phone in one.phones]) for one in analyses]
    levels = {}
    for name in ("pitch", "energy"):
        values = np.concatenate([getattr(one, name)[mask] for one, mask in zip(analyses, masks, strict=True)])
        levels[name] = (float(values.mean()), max(float(values.std()), 1e-3))
    return levels
