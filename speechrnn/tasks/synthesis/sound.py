"""Signal processing for voices: parameters of spectra, durations in frames, pitch, and waveforms from spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from speechrnn.features import inversion

PITCHES = (65.0, 400.0)
"""Lowest and highest detected pitch, in hertz."""
_VOICED = 0.5
"""Smallest normalized autocorrelation of a voiced frame."""
_EDGE = 0.5
"""Width of the transition between phones, in frames."""


@dataclass(frozen=True)
class Sound:
    """Parameters of a voice's log-mel energies, with the attributes of `speechrnn.features.LogMel`."""

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
        """The parameters of a `LogMel` layer."""
        return cls(**{field.name: getattr(layer, field.name) for field in fields(cls)})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Sound:
        """The parameters in the metadata of an exported file."""
        return cls(**{field.name: metadata[field.name] for field in fields(cls) if field.name in metadata})

    @property
    def num_features(self) -> int:
        """Number of values in a frame."""
        return self.num_mels

    @property
    def frame_period(self) -> float:
        """Seconds between frames."""
        return self.hop / self.sample_rate


def waveform(spectrum: np.ndarray, sound: Sound, *, iterations: int = 32) -> np.ndarray:
    """Compute a waveform from a log-mel spectrum by the Griffin-Lim algorithm.

    Args:
        spectrum: float `(frames, num_mels)`, natural log of power.
        sound: Its parameters.
        iterations: Iterations of the algorithm.

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
            "A waveform is computed by librosa. Install it: pip install 'speechrnn[voice]'.", name=error.name
        ) from error
    return np.clip(signal, -1.0, 1.0)


def frame_counts(ends: np.ndarray, frames: int, sound: Sound) -> np.ndarray:
    """Number of frames of each phone, at least one: int `(phones,)`, which sum to `frames`.

    A frame belongs to the phone at its middle.

    Args:
        ends: End of each phone in seconds.
        frames: Number of frames of the recording.
        sound: Parameters of the frames.

    Raises:
        ValueError: There are fewer frames than phones.

    Example:
    >>> frame_counts(np.array([0.1, 0.101, 0.3]), 15, Sound()).tolist()
    [5, 1, 9]
    """
    count = len(ends)
    if frames < count:
        raise ValueError(f"{count} phones need as many frames. Received: {frames}.")
    stops = np.ceil((np.asarray(ends) * sound.sample_rate - sound.window / 2) / sound.hop).astype(int)
    stops = spaced(stops, 1, frames)
    stops[-1] = frames
    return np.diff(stops, prepend=0)


def spaced(ends: np.ndarray, least: int, frames: int) -> np.ndarray:
    """Move ends as little as necessary, to be at least `least` frames apart with the last one at most at `frames`.

    Example:
    >>> spaced(np.array([0, 1, 9, 9]), 2, 10).tolist()
    [2, 4, 8, 10]
    """
    steps = least * np.arange(1, len(ends) + 1)
    delayed = np.maximum.accumulate(np.maximum(ends, steps) - steps) + steps
    return np.minimum(delayed, frames - steps[-1] + steps)


def spread(counts: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the share of each phone in each step of the decoder.

    Neighboring phones overlap by a frame or two: the share of phone `p` at time `t` is `s(t - start) - s(t - end)`,
    with `s` the logistic function; shares sum to 1.

    Args:
        counts: Frames of each phone, int `(phones,)`.
        step: Frames per step.

    Returns:
        Shares, float32 `(steps, phones)`; and the position of each step within its phone, float32 `(steps, 1)` from -1
        to 1.
    """
    ends = np.cumsum(counts)
    steps = -(-int(ends[-1]) // step)
    times = np.minimum((np.arange(steps) + 0.5) * step, ends[-1] - 0.5)
    edges = 1.0 / (1.0 + np.exp(-np.clip((times[:, None] - np.concatenate([[0], ends])) / _EDGE, -30, 30)))
    shares = edges[:, :-1] - edges[:, 1:]
    index = np.minimum(np.searchsorted(ends, times, side="right"), len(counts) - 1)
    position = (times - (ends - counts)[index]) / counts[index]
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32), (2 * position[:, None] - 1).astype(np.float32)


def pitch(signal: np.ndarray, sound: Sound) -> np.ndarray:
    """Detect the pitch: natural logarithm of hertz, float64 `(frames,)`; NaN in unvoiced frames.

    Takes the lag of the largest autocorrelation, normalized by that of the window (Boersma 1993, "Accurate short-term
    analysis of the fundamental frequency"), without path search. librosa is not used: `yin` does not detect voicing,
    and `pyin` takes a third of the recording's duration.

    Args:
        signal: float `(samples,)`.
        sound: Parameters of the frames.
    """
    frames = np.lib.stride_tricks.sliding_window_view(signal, sound.window)[:: sound.hop]
    window = np.hanning(sound.window)
    low, high = (int(sound.sample_rate / hertz) for hertz in reversed(PITCHES))
    log_pitch = np.full(len(frames), np.nan)
    window_correlation = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * sound.window)) ** 2)[: high + 2]
    for start in range(0, len(frames), 512):  # in blocks, to save memory
        block = frames[start : start + 512]
        block = (block - block.mean(1, keepdims=True)) * window
        lags = np.fft.irfft(np.abs(np.fft.rfft(block, 2 * sound.window)) ** 2)[:, : high + 2]
        correlation = (lags / np.maximum(lags[:, :1], 1e-9)) / (window_correlation / window_correlation[0])
        inner = correlation[:, low : high + 1]
        # A longer lag must be better by some margin, to avoid octave errors.
        best = low + (inner - 0.02 * np.log2(np.arange(low, high + 1) / low)).argmax(1)
        strength = np.take_along_axis(correlation, best[:, None], 1)[:, 0]
        voiced = strength > _VOICED
        log_pitch[start : start + 512][voiced] = np.log(sound.sample_rate / best[voiced])
    return log_pitch


def by_phone(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average the frames of each phone, ignoring NaN; phones without values are interpolated between their neighbors.

    Args:
        values: float `(frames,)`.
        counts: Frames of each phone; they sum to `frames`.

    Example:
    >>> by_phone(np.array([1.0, 3.0, np.nan, 6.0]), np.array([2, 1, 1])).tolist()
    [2.0, 4.0, 6.0]
    """
    phones = np.repeat(np.arange(len(counts)), counts)
    known = ~np.isnan(values)
    known_counts = np.bincount(phones[known], minlength=len(counts))
    if not known_counts.any():
        return np.zeros(len(counts))
    means = np.bincount(phones[known], values[known], minlength=len(counts)) / np.maximum(known_counts, 1)
    indices = np.flatnonzero(known_counts)
    return np.interp(np.arange(len(counts)), indices, means[indices])


def padded_shares(all_counts: Sequence[np.ndarray], step: int) -> tuple[np.ndarray, np.ndarray]:
    """`spread` of several rows: float32 `(batch, steps, phones)` and `(batch, steps, 1)`, zeros in the padding."""
    rows = [spread(counts, step) for counts in all_counts]
    shape = len(rows), max(len(shares) for shares, _ in rows), max(map(len, all_counts))
    shares, positions = np.zeros(shape, np.float32), np.zeros((*shape[:2], 1), np.float32)
    for row, (row_shares, row_positions) in enumerate(rows):
        shares[row, : row_shares.shape[0], : row_shares.shape[1]] = row_shares
        positions[row, : len(row_positions)] = row_positions
    return shares, positions
