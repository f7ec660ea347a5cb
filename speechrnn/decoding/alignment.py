"""Forced alignment: the frames of each symbol of a known text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.decoding import viterbi
from speechrnn.decoding.best_path import BLANK, Path, checked

BLANK_PENALTY = 8.0
"""Penalty in nats with which word boundaries from phones are closest to manual ones, see `docs/results.md`."""


def log_softmax(logits: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Log-probabilities, float64 `(frames, vocabulary)`.

    Raises:
        ValueError: `logits` is not two-dimensional, has no vocabulary or another number of `columns`, or has NaN.
    """
    logits = checked(logits)
    if columns is not None and logits.shape[1] != columns:
        raise ValueError(
            f"Logits must have {columns} columns, one for each symbol and the blank. Received: {logits.shape[1]}."
        )
    shifted = logits.astype(np.float64, order="C") - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def required_frames(ids: Sequence[Any] | np.ndarray) -> int:
    """The smallest number of frames in which CTC can write `ids`: their number plus a blank for each repeat.

    `speechrnn.losses.required_frames` is the same for a batch of tensors.

    Example:
    >>> required_frames([3, 3, 1])
    4
    """
    ids = np.asarray(ids)
    return len(ids) + int((ids[1:] == ids[:-1]).sum())


def align(logits: np.ndarray, ids: Sequence[int] | np.ndarray, *, blank_penalty: float = 0.0) -> Path:
    """The most probable CTC path of one utterance that spells `ids` (Viterbi algorithm).

    Args:
        logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank.
        ids: The symbols, without blanks; possibly empty.
        blank_penalty: Nats subtracted from the blank when frames are assigned to symbols. CTC outputs a symbol in few
            of its frames and the blank in the others (Huang et al., arXiv:2406.02560); with a penalty, symbols extend
            over all frames in which they are probable. Confidences are those of the path without the penalty.

    Returns:
        The symbols with their frames and confidences, like `greedy`.

    Raises:
        ValueError: The symbols need more frames than there are (one each, and one more between equal neighbors), an
            index is outside the vocabulary, the logits rule the text out, or they are invalid.

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
    required = required_frames(ids)
    if required > frames:
        raise ValueError(
            f"The text must fit the audio: its {len(ids)} symbols need {required} frames. Received: {frames} frames. "
            "Is it the text of another recording?"
        )
    states = viterbi.best_states(logs, ids)
    symbols = np.where(states % 2, np.append(ids, BLANK)[states // 2], BLANK)
    complete = len(np.unique(states[states % 2 == 1])) == len(ids)  # not so for an arbitrary one of impossible paths
    if not complete or np.isneginf(logs[np.arange(frames), symbols]).any():
        raise ValueError(
            "The text must be possible: each of its symbols needs a frame with a probability above zero. "
            f"Received: logits under which {ids.tolist()!r:.100} has none."
        )
    path = path_of(logs, ids, states)
    return spread(path, logs, blank_penalty) if blank_penalty else path


def spread(path: Path, logs: np.ndarray, blank_penalty: float) -> Path:
    """Extend a path's symbols over neighboring frames, see `blank_penalty` of `align`; confidences do not change."""
    penalized = logs.copy()
    penalized[:, BLANK] -= blank_penalty
    wide = path_of(logs, path.ids, viterbi.best_states(penalized, path.ids))
    return Path(path.ids, wide.start_frames, wide.end_frames, path.confidences)


def path_of(logs: np.ndarray, ids: np.ndarray, states: np.ndarray) -> Path:
    """The symbols with their frames and confidences, from the state of each frame (`2 i + 1` is symbol `i`)."""
    frames = np.flatnonzero(states % 2)  # those that are not blank
    labels = states[frames] // 2
    starts = frames[np.searchsorted(labels, np.arange(len(ids)))]
    ends = frames[np.searchsorted(labels, np.arange(len(ids)), side="right") - 1] + 1
    sums = np.bincount(labels, logs[frames, ids[labels]], minlength=len(ids))
    confidences = np.exp(sums / np.maximum(ends - starts, 1)).astype(np.float32)
    return Path(ids, starts.astype(np.int32), ends.astype(np.int32), confidences)
