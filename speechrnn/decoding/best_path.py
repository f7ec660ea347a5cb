"""Best-path CTC decoding: the most probable symbol of each frame, without repeats and blanks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLANK = 0


@dataclass(frozen=True, eq=False)
class Path:
    """The symbols of one utterance, with their frames and confidences."""

    ids: np.ndarray
    """int32 `(labels,)`: vocabulary indices, never the blank."""
    start_frames: np.ndarray
    """int32 `(labels,)`: the first frame of each symbol."""
    end_frames: np.ndarray
    """int32 `(labels,)`: the frame after the last frame of each symbol."""
    confidences: np.ndarray
    """float32 `(labels,)` in (0, 1]: the geometric mean of the symbol's probability over its frames."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class WordPath(Path):
    """A path with the words of a lexicon."""

    words: tuple[str, ...]
    """The words in order."""
    lengths: np.ndarray
    """int32 `(words,)`: number of symbols of each word; their sum is the number of all symbols."""


def checked(logits: np.ndarray) -> np.ndarray:
    """The logits `(frames, vocabulary)`, after a check.

    Raises:
        ValueError: They are not two-dimensional, have no vocabulary, or have NaN, infinity, or a frame of -infinity.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"Logits must have the shape (frames, vocabulary). Received: {logits.shape}.")
    if np.isnan(logits).any():
        raise ValueError(
            f"Logits must be numbers. Received: NaN from frame {int(np.isnan(logits).any(axis=1).argmax())} on. "
            "Look for NaN in the signal or in the model's weights."
        )
    largest = logits.max(axis=1)
    if np.isinf(largest).any():
        frame = int(np.isinf(largest).argmax())
        raise ValueError(
            f"Each frame's largest logit must be finite. Received: {largest[frame]} in frame {frame}. "
            "Look for very large values in the signal or in the model's weights."
        )
    return logits


def greedy(logits: np.ndarray) -> Path:
    """Decode one utterance by its best path (Graves et al. 2006, section 3.2).

    Args:
        logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank. There may be no frames.

    Returns:
        The symbols, their frames, and their confidences.

    Raises:
        ValueError: `logits` is not two-dimensional, has no vocabulary, or has NaN.

    Example:
    >>> logits = 9.0 * np.eye(3)[[0, 1, 1, 0, 1, 2]]
    >>> path = greedy(logits)
    >>> path.ids, path.start_frames, path.end_frames
    (array([1, 1, 2], dtype=int32), array([1, 4, 5], dtype=int32), array([3, 5, 6], dtype=int32))
    """
    logits = checked(logits)
    best = logits.argmax(axis=1)
    starts = np.flatnonzero(np.diff(best, prepend=-1))  # of runs of one symbol
    ends = np.append(starts[1:], len(best))[: len(starts)]
    log_probabilities = _best_log_probability(logits)
    means = np.add.reduceat(log_probabilities, starts) / (ends - starts) if len(starts) else log_probabilities
    is_label = best[starts] != BLANK
    return Path(
        best[starts][is_label].astype(np.int32),
        starts[is_label].astype(np.int32),
        ends[is_label].astype(np.int32),
        np.exp(means[is_label]).astype(np.float32),
    )


def _best_log_probability(logits: np.ndarray) -> np.ndarray:
    """float64 `(frames,)`: the largest value of each frame's log-softmax."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return -np.log(np.exp(shifted).sum(axis=1))
