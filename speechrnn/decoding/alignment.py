"""Forced alignment: where in the audio each symbol of a known text stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.decoding import viterbi
from speechrnn.decoding.best_path import BLANK, Path, checked

BLANK_PENALTY = 8.0
"""Nats with which the boundaries of words made of phones are nearest to those set by hand, see `docs/results.md`."""


def log_softmax(logits: np.ndarray, columns: int | None = None) -> np.ndarray:
    """float64 `(frames, vocabulary)`: natural logarithms of the probabilities.

    Raises:
        ValueError: `logits` is not two-dimensional, has no vocabulary or another number of `columns`, or holds NaN.
    """
    logits = checked(logits)
    if columns is not None and logits.shape[1] != columns:
        raise ValueError(
            f"Logits must have {columns} columns, one for each symbol and the blank. Received: {logits.shape[1]}."
        )
    shifted = logits.astype(np.float64, order="C") - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def required_frames(ids: Sequence[Any] | np.ndarray) -> int:
    """The fewest frames in which CTC can write `ids`: their number, and one blank for each repeat.

    `speechrnn.losses.required_frames` is the same for a batch of tensors.

    Example:
    >>> required_frames([3, 3, 1])
    4
    """
    ids = np.asarray(ids)
    return len(ids) + int((ids[1:] == ids[:-1]).sum())


def align(logits: np.ndarray, ids: Sequence[int] | np.ndarray, *, blank_penalty: float = 0.0) -> Path:
    """The likeliest CTC path of one utterance that spells `ids` (Viterbi; Graves et al. 2006, section 4.1, with max).

    Args:
        logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank.
        ids: The symbols, none of them the blank; there may be none.
        blank_penalty: Nats taken from the blank while the frames of the symbols are found. CTC writes a symbol in few
            of its frames and the blank in the others (Huang et al., arXiv:2406.02560); with a penalty, symbols spread
            over frames in which they are likely at all. Confidences are those of the likeliest path.

    Returns:
        The symbols with their frames and confidences, as `greedy` gives them.

    Raises:
        ValueError: The symbols need more frames than there are (one each, and one more between equal neighbors), or
            an index is outside the vocabulary, the logits rule the text out, or are no logits.

    Example:
    >>> logits = 9.0 * np.eye(3)[[0, 1, 1, 0, 1, 2]]
    >>> path = align(logits, [1, 1, 2])
    >>> path.start_frames, path.end_frames
    (array([1, 4, 5], dtype=int32), array([3, 5, 6], dtype=int32))
    """
    logs = log_softmax(logits)
    ids = np.asarray(ids, np.int32)
    frames, vocabulary = logs.shape
    if ids.ndim != 1 or ((ids <= BLANK) | (ids >= vocabulary)).any():
        raise ValueError(f"Symbols must be a list of indices in [1, {vocabulary}). Received: {ids.tolist()!r:.100}.")
    needed = required_frames(ids)
    if needed > frames:
        raise ValueError(
            f"The text must fit the audio: its {len(ids)} symbols need {needed} frames. Received: {frames} frames. "
            "Is it the text of another recording?"
        )
    states = viterbi.best_states(logs, ids)
    spelled = np.where(states % 2, np.append(ids, BLANK)[states // 2], BLANK)
    whole = len(np.unique(states[states % 2 == 1])) == len(ids)  # among impossible paths the first is taken, whatever
    if not whole or np.isneginf(logs[np.arange(frames), spelled]).any():
        raise ValueError(
            "The text must be possible: each of its symbols needs a frame with a probability above zero. "
            f"Received: logits under which {ids.tolist()!r:.100} has none."
        )
    path = path_of(logs, ids, states)
    return spread(path, logs, blank_penalty) if blank_penalty else path


def spread(path: Path, logs: np.ndarray, blank_penalty: float) -> Path:
    """A path whose symbols take the frames about them, as with `blank_penalty` of `align`; the confidences stay."""
    penalized = logs.copy()
    penalized[:, BLANK] -= blank_penalty
    wide = path_of(logs, path.ids, viterbi.best_states(penalized, path.ids))
    return Path(path.ids, wide.start_frames, wide.end_frames, path.confidences)


def path_of(logs: np.ndarray, ids: np.ndarray, states: np.ndarray) -> Path:
    """The symbols with their frames and confidences, from the state of each frame (`2 i + 1` is symbol `i`)."""
    spoken = np.flatnonzero(states % 2)
    labels = states[spoken] // 2
    starts = spoken[np.searchsorted(labels, np.arange(len(ids)))]
    ends = spoken[np.searchsorted(labels, np.arange(len(ids)), side="right") - 1] + 1
    sums = np.bincount(labels, logs[spoken, ids[labels]], minlength=len(ids))
    confidences = np.exp(sums / np.maximum(ends - starts, 1)).astype(np.float32)
    return Path(ids, starts.astype(np.int32), ends.astype(np.int32), confidences)
