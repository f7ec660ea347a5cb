"""Viterbi alignment of a text, compiled by numba on first use; see `speechrnn.decoding.alignment`."""

from __future__ import annotations

import numpy as np

from speechrnn.decoding.compiling import outer

_BLANK = 0


@outer
def _trace(logs: np.ndarray, symbols: np.ndarray, steps: np.ndarray, score: np.ndarray, states: np.ndarray) -> None:
    """Fills in `states`; state `2 i + 1` is symbol `i`, the even ones are blanks."""
    size = len(symbols)
    for frame in range(len(logs)):
        for state in range(size - 1, -1, -1):  # downwards, so that the scores below are those of the previous frame
            best, step = score[state], 0
            if state > 0 and score[state - 1] > best:
                best, step = score[state - 1], 1
            if state > 2 and state % 2 and symbols[state] != symbols[state - 2] and score[state - 2] > best:
                best, step = score[state - 2], 2
            score[state] = best + logs[frame, symbols[state]]
            steps[frame, state] = step
    state = size - 1
    if state > 0 and score[state - 1] > score[state]:
        state -= 1
    for frame in range(len(logs) - 1, -1, -1):
        states[frame] = state
        state -= steps[frame, state]


def best_states(logs: np.ndarray, ids: np.ndarray, between: np.ndarray | None = None) -> np.ndarray:
    """The state of each frame on the most probable path that spells `ids`, int64 `(frames,)`.

    Args:
        logs: float64 `(frames, columns)`.
        ids: The columns of the symbols.
        between: The columns that replace the blank before each symbol and after the last one, int `(symbols + 1,)`; by
            default the blank's column.
    """
    symbols = np.full(2 * len(ids) + 1, _BLANK)
    symbols[1::2] = ids
    if between is not None:
        symbols[::2] = between
    score = np.full(len(symbols), -np.inf)
    score[0] = 0.0
    states = np.empty(len(logs), np.int64)
    _trace(logs, symbols, np.zeros((len(logs), len(symbols)), np.int8), score, states)
    return states
