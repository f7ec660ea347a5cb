"""Splits long signals into pieces, and joins the logits of the pieces.

A piece ends in silence if possible. Otherwise it and the next one overlap by some seconds, and the logits switch from
one to the other where both agree, if possible between two words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from speechrnn.decoding.best_path import BLANK

OVERLAP_SECONDS = 4.0
"""Overlap of two pieces without silence between them."""
_QUIET_SECONDS = 0.2
"""Width of the window whose energy decides where a long recording is cut."""
_SILENCE = 10 ** (-15 / 10)
"""Maximum power of silence, relative to the mean power of the region in which a cut may lie."""
_NEAR, _WIDE = 2, 8
"""Frames on either side of a joint in which the agreement of both pieces is measured."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of a long signal."""

    start: int
    """Index of the first sample in the whole signal."""
    signal: np.ndarray
    """float32 `(samples,)`."""
    shared: int = 0
    """Samples at the beginning that are in the previous piece too; 0 after silence."""


def cut(
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    longest: float,
    *,
    overlap: float = OVERLAP_SECONDS,
    step: int = 1,
) -> Iterator[Piece]:
    """Cut a signal into pieces of at most `longest` seconds, with memory for two of them.

    Args:
        blocks: float32 `(samples,)` parts of one signal, in order.
        sample_rate: Samples per second.
        longest: Maximum length of a piece, in seconds. A cut is at the quietest point of its second half.
        overlap: Overlap of two pieces in seconds, if that point is not silent; at most a quarter of `longest`.
        step: Samples per frame of logits. Pieces start at multiples of it, so that the frames of two pieces coincide.

    Yields:
        Pieces; without their overlaps they add up to the signal.
    """
    limit = int(longest * sample_rate)
    half_shared = int(min(overlap, longest / 4) * sample_rate) // 2
    rest, start, shared = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > limit:
            first = limit // 2 + shared // 2
            index, silent = _quietest(rest[first : limit - half_shared], sample_rate)
            middle = (first + index) // step * step
            reach = 0 if silent else half_shared // step * step
            end, next_start = middle + reach, middle - reach
            if next_start <= 0:  # a frame is longer than a piece
                end = next_start = limit
            yield Piece(start, rest[:end].copy(), shared)  # a view would keep all of `rest` in memory
            rest, start, shared = rest[next_start:], start + next_start, end - next_start
    if len(rest) > shared or (len(rest) and not start):
        yield Piece(start, rest, shared)


def _quietest(signal: np.ndarray, sample_rate: int) -> tuple[int, bool]:
    """Middle of the quietest window (the last of equal ones, for longer pieces), and whether it is silent."""
    hop = max(1, sample_rate // 100)
    width = max(1, round(_QUIET_SECONDS * sample_rate / hop))
    frames = len(signal) // hop
    if frames <= width:
        return len(signal), False
    energy = np.square(signal[: frames * hop], dtype=np.float64).reshape(frames, hop).sum(axis=1)
    loudness = np.convolve(energy, np.ones(width), "valid")
    last = len(loudness) - 1 - int(loudness[::-1].argmin())
    silent = loudness[last] / width <= _SILENCE * energy.mean()
    return last * hop + width * hop // 2, bool(silent)


def joint(left: np.ndarray, right: np.ndarray, space: int | None, begins: np.ndarray | None = None) -> tuple[int, bool]:
    """Find the frame at which to switch between two sequences of logits of the same frames.

    Before the joint the left one is used, which has the context before the overlap; from it on the right one. The joint
    is where the best symbols of both agree in the most frames around it, so that no symbol is lost or repeated; among
    such positions it is between words, so that no word is made of two halves; and otherwise near the middle, where both
    have the most context.

    Args:
        left: float `(frames, vocabulary)`.
        right: The logits of the same frames from the next piece.
        space: Index of the symbol between words, if there is one.
        begins: bool `(vocabulary,)`: symbols at which words begin, if known.

    Returns:
        Index of the first frame to use of the right one, and whether it begins a word.
    """
    size = len(left)
    a, b = left.argmax(axis=1), right.argmax(axis=1)
    positions = np.arange(size + 1)
    agreement = _agreement(a == b, _NEAR) + _agreement(a == b, _WIDE)
    boundary = np.zeros(size + 1, bool)
    if space is not None:
        boundary |= (_last_symbol(a) == space) & (_last_symbol(b) == space)
    if begins is not None:
        follows = begins[_last_symbol(a[::-1])] & begins[_last_symbol(b[::-1])]
        within = np.concatenate([[False], a[:-1] == b[1:], [False]])  # within a symbol, which would begin twice
        boundary |= follows[::-1] & ~within
    centrality = 1 - np.abs(2 * positions / max(size, 1) - 1)
    best = int(np.argmax(agreement + 0.5 * boundary + 0.25 * centrality))
    return best, bool(boundary[best])


def _agreement(same: np.ndarray, reach: int) -> np.ndarray:
    """Share of equal frames around each position; float64 `(frames + 1,)`."""
    total = np.concatenate([np.zeros(reach), np.cumsum([0, *same]), np.full(reach, same.sum())])
    return (total[2 * reach :] - total[: len(total) - 2 * reach]) / (2 * reach)


def _last_symbol(best: np.ndarray) -> np.ndarray:
    """The last symbol other than blank before each position, or blank; `(frames + 1,)`."""
    position = np.where(best != BLANK, np.arange(1, len(best) + 1), 0)
    return np.concatenate([[BLANK], best])[np.maximum.accumulate(np.concatenate([[0], position]))]


@dataclass
class Joiner:
    """Joins the logits of a recording's pieces, in order, into segments that begin and end between words.

    Args:
        frame_samples: Samples between two frames of logits.
        space: Index of the symbol between words, if there is one.
        begins: bool `(vocabulary,)`: symbols at which words begin, if known.
        max_frames: A segment ends after this many frames, even within a word.
        logits_of: Function from joined values to logits, if they are not logits themselves.
    """

    frame_samples: int
    space: int | None
    begins: np.ndarray | None = None
    max_frames: int = 1 << 14
    logits_of: Callable[[np.ndarray], np.ndarray] | None = None
    _parts: list[np.ndarray] = field(default_factory=list)
    _start: int = 0
    """First sample of the segment."""
    _last: int = 0
    """First sample of the last part."""

    def add(self, piece: Piece, logits: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Add the logits of the next piece.

        Yields:
            Complete segments: the first sample, and float32 `(frames, vocabulary)` logits.
        """
        begins_word, skipped = True, 0
        if piece.shared and self._parts:
            before = self._parts.pop()
            first = min(len(before), (piece.start - self._last) // self.frame_samples)
            common = min(len(before) - first, len(logits))
            both = before[first : first + common], logits[:common]
            if self.logits_of and common > 0:
                both = self.logits_of(both[0]), self.logits_of(both[1])
            skipped, begins_word = joint(*both, self.space, self.begins)
            self._parts.append(before[: first + skipped])
        position = piece.start + skipped * self.frame_samples
        if begins_word or sum(map(len, self._parts)) > self.max_frames:
            yield from self.finish()
            self._start = position
        self._last = position
        self._parts.append(logits[skipped:])

    def finish(self) -> Iterator[tuple[int, np.ndarray]]:
        """The remaining segment, after the last piece."""
        if self._parts:
            yield self._start, np.concatenate(self._parts)
        self._parts = []
