"""Signals of any length in pieces: where to cut them, and how the pieces' logits become one sequence again.

A piece ends in silence where there is some. Where there is none, it and the next one share some seconds, and the logits
change over from the one to the other where both say the same, between two words if that can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from speechrnn.decoding.best_path import BLANK

OVERLAP_SECONDS = 4.0
"""What two pieces share where there is no silence between them."""
_QUIET_SECONDS = 0.2
"""Width of the stretch whose loudness decides where a long recording is cut."""
_SILENCE = 10 ** (-15 / 10)
"""Power of silence, at most, relative to the mean power of where a cut may lie."""
_NEAR, _WIDE = 2, 8
"""Frames on either side of a joint that must, and that should, be the same in both."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of a long signal."""

    start: int
    """Index in the whole signal of the first sample."""
    signal: np.ndarray
    """float32 `(samples,)`."""
    shared: int = 0
    """Samples at the beginning that the piece before has as well; 0 after silence."""


def cut(
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    longest: float,
    *,
    overlap: float = OVERLAP_SECONDS,
    step: int = 1,
) -> Iterator[Piece]:
    """Cut a signal into pieces of at most `longest` seconds, in memory for two of them.

    Args:
        blocks: float32 `(samples,)` parts of one signal, in order.
        sample_rate: Samples per second.
        longest: Longest piece, in seconds. A cut lies in its second half, at the quietest place.
        overlap: Seconds that two pieces share where that place is not silent; at most a quarter of `longest` is taken.
        step: Samples that every start is a multiple of: those of a frame of logits, so that the frames of two pieces
            are the same stretches of the signal.

    Yields:
        Pieces; without what they share, joined they are the signal.
    """
    limit = int(longest * sample_rate)
    half_shared = int(min(overlap, longest / 4) * sample_rate) // 2
    rest, start, shared = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > limit:
            first = limit // 2 + shared // 2
            place, silent = _quietest(rest[first : limit - half_shared], sample_rate)
            middle = (first + place) // step * step
            reach = 0 if silent else half_shared // step * step
            end, following = middle + reach, middle - reach
            if following <= 0:  # a frame is longer than a piece
                end = following = limit
            yield Piece(start, rest[:end].copy(), shared)  # a view would keep the whole of `rest` alive
            rest, start, shared = rest[following:], start + following, end - following
    if len(rest) > shared or (len(rest) and not start):
        yield Piece(start, rest, shared)


def _quietest(signal: np.ndarray, sample_rate: int) -> tuple[int, bool]:
    """Middle of the quietest stretch, of equal ones the last, for longer pieces; and whether that is silence."""
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
    """Where to change over between two sequences of logits of the same frames.

    Before the joint the left one counts, which has seen what came before; from it on the right one. It lies where the
    best symbols of both agree for the longest time around it, so that no symbol is lost or doubled; among such places
    between words, so that no word is made of two halves; and else near the middle, where both have the most context.

    Args:
        left: float `(frames, vocabulary)`.
        right: The same frames as the next piece has them.
        space: Index of the symbol between words, if there is one.
        begins: bool `(vocabulary,)`: symbols that words begin with, where that can be told.

    Returns:
        Index of the first frame of the right one to count, and whether it begins a word.
    """
    size = len(left)
    a, b = left.argmax(axis=1), right.argmax(axis=1)
    places = np.arange(size + 1)
    agreement = _agreement(a == b, _NEAR) + _agreement(a == b, _WIDE)
    boundary = np.zeros(size + 1, bool)
    if space is not None:
        boundary |= (_last_symbol(a) == space) & (_last_symbol(b) == space)
    if begins is not None:
        follows = begins[_last_symbol(a[::-1])] & begins[_last_symbol(b[::-1])]
        within = np.concatenate([[False], a[:-1] == b[1:], [False]])  # a symbol that goes on would begin twice
        boundary |= follows[::-1] & ~within
    centrality = 1 - np.abs(2 * places / max(size, 1) - 1)
    best = int(np.argmax(agreement + 0.5 * boundary + 0.25 * centrality))
    return best, bool(boundary[best])


def _agreement(same: np.ndarray, reach: int) -> np.ndarray:
    """Share of the frames around each place that are the same; float64 `(frames + 1,)`."""
    total = np.concatenate([np.zeros(reach), np.cumsum([0, *same]), np.full(reach, same.sum())])
    return (total[2 * reach :] - total[: len(total) - 2 * reach]) / (2 * reach)


def _last_symbol(best: np.ndarray) -> np.ndarray:
    """The last symbol before each place that is not blank, or blank where there is none; `(frames + 1,)`."""
    position = np.where(best != BLANK, np.arange(1, len(best) + 1), 0)
    return np.concatenate([[BLANK], best])[np.maximum.accumulate(np.concatenate([[0], position]))]


@dataclass
class Joiner:
    """Puts the logits of one recording's pieces, in order, together to stretches that begin and end between words.

    Args:
        frame_samples: Samples between two frames of logits.
        space: Index of the symbol between words, if there is one.
        begins: bool `(vocabulary,)`: symbols that words begin with, where that can be told.
        most_frames: A stretch ends after so many frames, even within a word.
        logits_of: Turns what is put together into logits, where it is something else.
    """

    frame_samples: int
    space: int | None
    begins: np.ndarray | None = None
    most_frames: int = 1 << 14
    logits_of: Callable[[np.ndarray], np.ndarray] | None = None
    _parts: list[np.ndarray] = field(default_factory=list)
    _start: int = 0
    """Sample at which the stretch begins."""
    _last: int = 0
    """Sample at which the last part begins."""

    def add(self, piece: Piece, logits: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Take the logits of the next piece.

        Yields:
            What is complete: the sample at which a stretch begins, and its float32 `(frames, vocabulary)` logits.
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
        if begins_word or sum(map(len, self._parts)) > self.most_frames:
            yield from self.finish()
            self._start = position
        self._last = position
        self._parts.append(logits[skipped:])

    def finish(self) -> Iterator[tuple[int, np.ndarray]]:
        """What is left when no piece follows."""
        if self._parts:
            yield self._start, np.concatenate(self._parts)
        self._parts = []
