"""The sound of a voice: spectra and what they are made of, durations as frames, and the way back to a waveform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from speechrnn.features import inversion

PITCHES = (65.0, 400.0)
"""Lowest and highest pitch of a voice that is looked for, in hertz."""
_VOICED = 0.5
"""Correlation of a frame with itself a period later from which it counts as voiced."""
_EDGE = 0.5
"""Frames in which a phone begins and ends."""


@dataclass(frozen=True)
class Sound:
    """The log-mel energies that a voice writes, as `speechrnn.features.LogMel` has them; it may stand in for that."""

    sample_rate: int = 16000
    window: int = 1024
    hop: int = 256
    fft_length: int = 1024
    num_mels: int = 80
    f_min: float = 40.0
    f_max: float = 8000.0
    mel_scale: str = "slaney"
    mel_norm: str | None = "slaney"
    floor: float = 1e-6
    preemphasis: float = 0.0
    deltas: int = 0
    normalize: str | None = None

    @classmethod
    def of(cls, layer: Any) -> Sound:
        """That of a `LogMel`."""
        return cls(**{field.name: getattr(layer, field.name) for field in fields(cls)})

    @classmethod
    def from_metadata(cls, known: Mapping[str, Any]) -> Sound:
        """That which an exported file names."""
        return cls(**{field.name: known[field.name] for field in fields(cls) if field.name in known})

    @property
    def num_features(self) -> int:
        """Values in a frame."""
        return self.num_mels

    @property
    def frame_period(self) -> float:
        """Seconds between two frames."""
        return self.hop / self.sample_rate


def waveform(spectrum: np.ndarray, sound: Sound, *, iterations: int = 32) -> np.ndarray:
    """The signal of a spectrum.

    Args:
        spectrum: float `(frames, num_mels)`, natural log of power.
        sound: What it is of.
        iterations: Of the Griffin-Lim algorithm.

    Returns:
        float32 `(samples,)` in [-1, 1].

    Raises:
        ModuleNotFoundError: librosa is not installed.
    """
    try:
        signal = inversion.invert(spectrum, sound, iterations=iterations)
    except ModuleNotFoundError as error:
        if error.name not in ("librosa", "scipy"):
            raise
        raise ModuleNotFoundError(
            "A waveform is found by librosa. Install it: pip install 'speechrnn[voice]'.", name=error.name
        ) from error
    return np.clip(signal, -1.0, 1.0)


def frame_counts(ends: np.ndarray, frames: int, sound: Sound) -> np.ndarray:
    """How many of a recording's frames are each phone's, one at least: int `(phones,)`, which sum to `frames`.

    A frame is the phone's in which its middle is.

    Args:
        ends: Where each phone ends, in seconds.
        frames: How many there are.
        sound: Their window and hop.

    Raises:
        ValueError: There are fewer frames than phones.

    Example:
    >>> frame_counts(np.array([0.1, 0.101, 0.3]), 15, Sound()).tolist()
    [5, 1, 9]
    """
    count = len(ends)
    if frames < count:
        raise ValueError(f"{count} phones need as many frames. Received: {frames}.")
    after = np.ceil((np.asarray(ends) * sound.sample_rate - sound.window / 2) / sound.hop).astype(int)
    after = spaced(after, 1, frames)
    after[-1] = frames
    return np.diff(after, prepend=0)


def spaced(ends: np.ndarray, least: int, frames: int) -> np.ndarray:
    """Ends moved as little as needed for each to be `least` frames behind the one before, and the last within `frames`.

    Example:
    >>> spaced(np.array([0, 1, 9, 9]), 2, 10).tolist()
    [2, 4, 8, 10]
    """
    steps = least * np.arange(1, len(ends) + 1)
    low = np.maximum.accumulate(np.maximum(ends, steps) - steps) + steps
    return np.minimum(low, frames - steps[-1] + steps)


def spread(counts: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """What of each phone is in each step of the decoder.

    Phones go over into each other within a frame or two: the share of phone `p` at time `t` is `s(t - start) -
    s(t - end)`, with `s` the logistic function; shares sum to 1.

    Args:
        counts: Frames of each phone, int `(phones,)`.
        step: Frames in a step.

    Returns:
        Shares, float32 `(steps, phones)`; and where in its phone each step is, float32 `(steps, 1)` from -1 to 1.
    """
    ends = np.cumsum(counts)
    steps = -(-int(ends[-1]) // step)
    times = np.minimum((np.arange(steps) + 0.5) * step, ends[-1] - 0.5)
    edges = 1.0 / (1.0 + np.exp(-np.clip((times[:, None] - np.concatenate([[0], ends])) / _EDGE, -30, 30)))
    shares = edges[:, :-1] - edges[:, 1:]
    owner = np.minimum(np.searchsorted(ends, times, side="right"), len(counts) - 1)
    place = (times - (ends - counts)[owner]) / counts[owner]
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32), (2 * place[:, None] - 1).astype(np.float32)


def pitch(signal: np.ndarray, sound: Sound) -> np.ndarray:
    """Natural logarithm of the pitch in hertz, float64 `(frames,)`; NaN where there is no voice.

    The lag of the largest autocorrelation, divided by that of the window (Boersma 1993, "Accurate short-term analysis
    of the fundamental frequency"), without a search for the best path. Not librosa's: `yin` does not say what is
    voiced, and `pyin` takes a third of the recording's length.

    Args:
        signal: float `(samples,)`.
        sound: Its rate, and the frames.
    """
    frames = np.lib.stride_tricks.sliding_window_view(signal, sound.window)[:: sound.hop]
    window = np.hanning(sound.window)
    low, high = (int(sound.sample_rate / hertz) for hertz in reversed(PITCHES))
    found = np.full(len(frames), np.nan)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * sound.window)) ** 2)[: high + 2]
    for start in range(0, len(frames), 512):  # in blocks, for the memory
        block = frames[start : start + 512]
        block = (block - block.mean(1, keepdims=True)) * window
        lags = np.fft.irfft(np.abs(np.fft.rfft(block, 2 * sound.window)) ** 2)[:, : high + 2]
        correlation = (lags / np.maximum(lags[:, :1], 1e-9)) / (own / own[0])
        inner = correlation[:, low : high + 1]
        # A longer lag must be better by some, or else octaves below are found.
        best = low + (inner - 0.02 * np.log2(np.arange(low, high + 1) / low)).argmax(1)
        strength = np.take_along_axis(correlation, best[:, None], 1)[:, 0]
        voiced = strength > _VOICED
        found[start : start + 512][voiced] = np.log(sound.sample_rate / best[voiced])
    return found


def by_phone(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of each phone's frames, those that are NaN left out; where there is none, in line with its neighbors.

    Args:
        values: float `(frames,)`.
        counts: Frames of each phone; they sum to `frames`.

    Example:
    >>> by_phone(np.array([1.0, 3.0, np.nan, 6.0]), np.array([2, 1, 1])).tolist()
    [2.0, 4.0, 6.0]
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    known = ~np.isnan(values)
    many = np.bincount(owner[known], minlength=len(counts))
    if not many.any():
        return np.zeros(len(counts))
    means = np.bincount(owner[known], values[known], minlength=len(counts)) / np.maximum(many, 1)
    places = np.flatnonzero(many)
    return np.interp(np.arange(len(counts)), places, means[places])


def padded_shares(all_counts: Sequence[np.ndarray], step: int) -> tuple[np.ndarray, np.ndarray]:
    """`spread` of several rows: float32 `(batch, steps, phones)` and `(batch, steps, 1)`, zeros in the padding."""
    rows = [spread(counts, step) for counts in all_counts]
    shape = len(rows), max(len(shares) for shares, _ in rows), max(map(len, all_counts))
    shares, places = np.zeros(shape, np.float32), np.zeros((*shape[:2], 1), np.float32)
    for row, (mine, place) in enumerate(rows):
        shares[row, : mine.shape[0], : mine.shape[1]] = mine
        places[row, : len(place)] = place
    return shares, places
