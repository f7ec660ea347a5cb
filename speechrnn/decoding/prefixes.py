"""CTC prefix scores: probabilities of the next symbol after a prefix, for label-synchronous search."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.best_path import BLANK

_MIN_LOG = -1e4
"""Lower limit for the log-probability of a symbol in a frame, so that sums are finite."""


class Prefixes:
    """Log-probabilities of each next symbol, and of the end, given the symbols so far.

    `log P(g c ...) - log P(g ...)` for a prefix `g` and a symbol `c`, and at the index of the blank `log P(g) - log P(g
    ...)`, where `...` is any continuation. They are exact, and the probabilities after each prefix sum to 1. A step is
    a matrix product of `(rows, frames)` by `(frames, vocabulary)`, without a loop over frames.

    Args:
        logits: float `(frames, vocabulary)` of one utterance, unnormalized; index 0 is the blank.

    Raises:
        ValueError: The logits have another shape, or NaN.

    Reference:
        Watanabe, Hori, Kim, Hershey and Hayashi, "Hybrid CTC/attention architecture for end-to-end speech recognition",
        IEEE Journal of Selected Topics in Signal Processing 11, 2017, algorithm 2.

    Example:
    >>> prefixes = Prefixes(np.log([[0.5, 0.5], [0.5, 0.5]]))  # a symbol and the blank, over two frames
    >>> scores, states = prefixes(np.array([0]), prefixes.first())
    >>> np.exp(scores).round(2)
    array([[0.25, 0.75]])
    """

    def __init__(self, logits: np.ndarray) -> None:
        self._logs = np.maximum(log_softmax(logits), _MIN_LOG)
        self._probabilities = np.exp(self._logs)
        self._sums = np.pad(np.cumsum(self._logs, axis=0), [(1, 0), (0, 0)])

    def first(self) -> dict[str, np.ndarray]:
        """States of the empty prefix, one row."""
        blank = self._sums[None, :, BLANK]
        return {"in_symbol": np.full_like(blank, -np.inf), "in_blank": blank, "last": np.full(1, BLANK, np.int32)}

    def __call__(
        self, previous: np.ndarray, states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Append a symbol to each prefix.

        Args:
            previous: int32 `(rows,)`; all 0 for the empty prefix.
            states: From `first`, or from the previous step: the log-probability that a path is at the prefix's last
                symbol, or at a blank after it, after each number of frames, `(rows, frames + 1)`.

        Returns:
            float64 `(rows, vocabulary)`, -inf if there are too few frames; and the next states.
        """
        in_symbol, in_blank, last = states["in_symbol"], states["in_blank"], states["last"]
        if previous.any():
            # A repeated symbol begins only after a blank.
            before = np.where((previous == last)[:, None], in_blank, np.logaddexp(in_symbol, in_blank))
            in_symbol = _reached(before, self._sums[:, previous].T)
            in_blank = _reached(in_symbol, self._sums[:, BLANK])
            last = previous
        either = np.logaddexp(in_symbol, in_blank)
        before = either[:, :-1]
        highest = np.maximum(before.max(axis=1, keepdims=True), np.finfo(np.float64).min)
        with np.errstate(divide="ignore"):
            scores = np.log(np.exp(before - highest) @ self._probabilities) + highest
            repeats = np.flatnonzero(last != BLANK)
            again = in_blank[repeats, :-1] + self._logs[:, last[repeats]].T
            scores[repeats, last[repeats]] = np.logaddexp.reduce(again, axis=1)
            scores[:, BLANK] = either[:, -1]
            total = np.logaddexp.reduce(scores, axis=1, keepdims=True)  # of the prefix itself
        return (
            np.where(np.isneginf(total), -np.inf, scores - np.where(np.isneginf(total), 0.0, total)),
            {"in_symbol": in_symbol, "in_blank": in_blank, "last": np.asarray(last, np.int32)},
        )


def _reached(before: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Log-probability of a state that is entered from `before` and kept, after each number of frames.

    `r(t) = (r(t - 1) + before(t - 1)) p(t)` in closed form, with the sums of `log p` up to each frame.
    """
    relative = np.logaddexp.accumulate(before[:, :-1] - sums[..., :-1], axis=1)
    return np.pad(relative + sums[..., 1:], [(0, 0), (1, 0)], constant_values=-np.inf)
