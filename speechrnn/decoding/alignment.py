"""Forced alignment: where in the audio each symbol of a known text stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechrnn.decoding.greedy import BLANK, Path, checked


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """float64 `(frames, vocabulary)`: natural logarithms of the probabilities.

    Raises:
        ValueError: `logits` is not two-dimensional, has no vocabulary, or holds NaN.
    """
    logits = checked(logits)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def align(logits: np.ndarray, ids: Sequence[int] | np.ndarray) -> Path:
    """The likeliest CTC path of one utterance that spells `ids` (Viterbi; Graves et al. 2006, section 4.1, with max).

    Args:
        logits: float `(frames, vocabulary)`, unnormalised; index 0 is the blank.
        ids: The symbols, none of them the blank; there may be none.

    Returns:
        The symbols with their frames and confidences, as `greedy` gives them.

    Raises:
        ValueError: The symbols need more frames than there are (one each, and one more between equal neighbours), or
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
    needed = len(ids) + int((ids[1:] == ids[:-1]).sum())
    if needed > frames:
        raise ValueError(
            f"The text must fit the audio: its {len(ids)} symbols need {needed} frames. Received: {frames} frames. "
            "Is it the text of another recording?"
        )
    states = _best_states(logs, ids)
    spelled = np.where(states % 2, np.append(ids, BLANK)[states // 2], BLANK)
    whole = len(np.unique(states[states % 2 == 1])) == len(ids)  # among impossible paths the first is taken, whatever
    if not whole or np.isneginf(logs[np.arange(frames), spelled]).any():
        raise ValueError(
            "The text must be possible: each of its symbols needs a frame with a probability above zero. "
            f"Received: logits under which {ids.tolist()!r:.100} has none."
        )
    return path_of(logs, ids, states)


def path_of(logs: np.ndarray, ids: np.ndarray, states: np.ndarray) -> Path:
    """The symbols with their frames and confidences, from the state of each frame (`2 i + 1` is symbol `i`)."""
    spoken = np.flatnonzero(states % 2)
    labels = states[spoken] // 2
    starts = spoken[np.searchsorted(labels, np.arange(len(ids)))]
    ends = spoken[np.searchsorted(labels, np.arange(len(ids)), side="right") - 1] + 1
    sums = np.bincount(labels, logs[spoken, ids[labels]], minlength=len(ids))
    confidences = np.exp(sums / np.maximum(ends - starts, 1)).astype(np.float32)
    return Path(ids, starts.astype(np.int32), ends.astype(np.int32), confidences)


def _best_states(logs: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The state of each frame, int `(frames,)`; state `2 i + 1` is symbol `i`, the even ones are blanks."""
    symbols = np.full(2 * len(ids) + 1, BLANK)
    symbols[1::2] = ids
    skips = np.zeros(len(symbols), bool)
    skips[3::2] = ids[1:] != ids[:-1]
    score = np.full(len(symbols), -np.inf)
    score[0] = 0.0  # a virtual frame before the first, from which its two first states are reached
    steps = np.zeros((len(logs), len(symbols)), np.int8)
    paths = np.full((3, len(symbols)), -np.inf)
    for frame, row in enumerate(logs[:, symbols]):
        paths[0] = score
        paths[1, 1:] = score[:-1]
        paths[2, 2:] = np.where(skips[2:], score[:-2], -np.inf)
        steps[frame] = paths.argmax(axis=0)
        score = paths.max(axis=0) + row
    state = len(symbols) - 1
    if state and score[state - 1] > score[state]:
        state -= 1
    states = np.empty(len(logs), np.int64)
    for frame in range(len(logs) - 1, -1, -1):
        states[frame] = state
        state -= int(steps[frame, state])  # an int8 would take the state with it
    return states
