"""What CTC expects behind the beginning of a text, summed over all paths, for a search that writes symbol by symbol."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.best_path import BLANK

_LEAST = -1e4
"""Least log probability of a symbol in a frame, so that sums stay finite."""


class Prefixes:
    """Log probabilities of each next symbol, and of the end, given the symbols so far.

    `log P(g c ...) - log P(g ...)` for a beginning `g` and a symbol `c`, and in the place of the blank `log P(g) - log
    P(g ...)`, where `...` is anything. They are exact, and for each beginning their probabilities sum to 1. A step
    costs a product of `(rows, frames)` by `(frames, vocabulary)`; nothing is computed frame by frame.

    Args:
        logits: float `(frames, vocabulary)` of one utterance, unnormalized; index 0 is the blank.

    Raises:
        ValueError: They have another shape, or are no numbers.

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
        self._logs = np.maximum(log_softmax(logits), _LEAST)
        self._probabilities = np.exp(self._logs)
        self._sums = np.pad(np.cumsum(self._logs, axis=0), [(1, 0), (0, 0)])

    def first(self) -> dict[str, np.ndarray]:
        """What is known of the empty beginning, one row."""
        blank = self._sums[None, :, BLANK]
        return {"in_symbol": np.full_like(blank, -np.inf), "in_blank": blank, "last": np.full(1, BLANK, np.int32)}

    def __call__(
        self, previous: np.ndarray, states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take each row's next symbol.

        Args:
            previous: int32 `(rows,)`; 0 in every row where none has been written.
            states: From `first`, or of the step before: the log probability that a path is at its beginning's last
                symbol, or at a blank behind it, after each number of frames, `(rows, frames + 1)`.

        Returns:
            float64 `(rows, vocabulary)`, -inf where there are too few frames; and the states with the symbols.
        """
        in_symbol, in_blank, last = states["in_symbol"], states["in_blank"], states["last"]
        if previous.any():
            # An equal neighbor begins behind a blank only.
            before = np.where((previous == last)[:, None], in_blank, np.logaddexp(in_symbol, in_blank))
            in_symbol = _reached(before, self._sums[:, previous].T)
            in_blank = _reached(in_symbol, self._sums[:, BLANK])
            last = previous
        either = np.logaddexp(in_symbol, in_blank)
        before = either[:, :-1]
        most = np.maximum(before.max(axis=1, keepdims=True), np.finfo(np.float64).min)
        with np.errstate(divide="ignore"):
            scores = np.log(np.exp(before - most) @ self._probabilities) + most
            repeats = np.flatnonzero(last != BLANK)
            again = in_blank[repeats, :-1] + self._logs[:, last[repeats]].T
            scores[repeats, last[repeats]] = np.logaddexp.reduce(again, axis=1)
            scores[:, BLANK] = either[:, -1]
            total = np.logaddexp.reduce(scores, axis=1, keepdims=True)  # of the beginning itself
        return (
            np.where(np.isneginf(total), -np.inf, scores - np.where(np.isneginf(total), 0.0, total)),
            {"in_symbol": in_symbol, "in_blank": in_blank, "last": np.asarray(last, np.int32)},
        )


def _reached(before: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Log probability of having come from `before`, and stayed, after each number of frames.

    `r(t) = (r(t - 1) + before(t - 1)) p(t)` in closed form, with the sums of `log p` up to each frame.
    """
    ways = np.logaddexp.accumulate(before[:, :-1] - sums[..., :-1], axis=1)
    return np.pad(ways + sums[..., 1:], [(0, 0), (1, 0)], constant_values=-np.inf)
