"""Chooses the pronunciation of each word in a recording, by forced alignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.best_path import BLANK

Variants = Sequence[tuple[Sequence[int], float]]
"""A word's pronunciations: the indices of their symbols, and the log-probability of each."""


def likeliest(logits: np.ndarray, words: Sequence[Variants]) -> list[int]:
    """The pronunciation of each word on the most probable CTC path of the utterance (Viterbi).

    Args:
        logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank.
        words: The pronunciations of each word of the text, in order.

    Returns:
        For each word the index of its pronunciation.

    Raises:
        ValueError: A word has no pronunciation, or one without symbols or with a symbol outside the vocabulary; or no
            choice of them fits the frames.

    Example:
    >>> logits = 9.0 * np.eye(4)[[1, 0, 2, 3, 0]]
    >>> likeliest(logits, [[([1], 0.0), ([2], 0.0)], [([2, 3], 0.0), ([1], 0.0)]])
    [0, 0]
    """
    logs = log_softmax(logits)
    for variants in words:
        symbols = [symbol for variant, _ in variants for symbol in variant]
        if not all(len(v) for v, _ in variants) or not symbols or not 0 < min(symbols) <= max(symbols) < logs.shape[1]:
            raise ValueError(
                f"Each word needs pronunciations of indices in [1, {logs.shape[1]}). Received: {list(variants)!r:.100}."
            )
    if not words:
        return []
    graph = _Graph()
    for number, variants in enumerate(words):
        graph.add(number, variants)
    path = graph.best(logs)
    chosen = {owner for state in path if (owner := graph.owner[state]) is not None}
    return [variant for _, variant in sorted(chosen)]


class _Graph:
    """States of all pronunciations: one blank between words, and one after each symbol within a pronunciation."""

    def __init__(self) -> None:
        self.symbols, self.bonus = [BLANK], [0.0]
        self.owner: list[tuple[int, int] | None] = [None]
        self.before: list[list[int]] = [[0]]
        self.ends: list[int] = []  # last symbols of the previous word
        self.gap = 0  # the blank before the next word

    def add(self, number: int, variants: Variants) -> None:
        """Append a word."""
        ends = []
        for index, (variant, log) in enumerate(variants):
            last = None
            for symbol in variant:
                if last is None:
                    sources = [self.gap, *(end for end in self.ends if self.symbols[end] != symbol)]
                else:
                    blank = self._state(BLANK, (number, index), [last])
                    sources = [blank, *([last] if self.symbols[last] != symbol else [])]
                last = self._state(symbol, (number, index), sources, log if last is None else 0.0)
            ends.append(last if last is not None else self.gap)
        self.gap, self.ends = self._state(BLANK, None, ends), ends

    def _state(self, symbol: int, owner: tuple[int, int] | None, sources: list[int], bonus: float = 0.0) -> int:
        state = len(self.symbols)
        self.symbols.append(symbol)
        self.owner.append(owner)
        self.bonus.append(bonus)
        self.before.append([state, *sources])
        return state

    def best(self, logs: np.ndarray) -> Iterator[int]:
        """The states of the most probable path, from the last frame to the first."""
        count, width = len(self.symbols), max(map(len, self.before))
        sources = np.full((count, width), count)  # padded with a state that is never reached
        bonuses = np.zeros((count, width))
        for state, before in enumerate(self.before):
            sources[state, : len(before)] = before
            bonuses[state, 1 : len(before)] = self.bonus[state]
        emissions = logs[:, self.symbols]
        steps = np.zeros((len(logs), count), np.int8 if width < 128 else np.int16)
        score = np.full(count + 1, -np.inf)
        score[0] = 0.0  # a virtual blank before the first frame
        for frame, row in enumerate(emissions):
            paths = score[sources] + bonuses
            steps[frame] = paths.argmax(axis=1)
            score[:count] = np.take_along_axis(paths, steps[frame][:, None].astype(np.intp), 1)[:, 0] + row
        state = max([self.gap, *self.ends], key=lambda last: score[last])
        if not np.isfinite(score[state]):
            raise ValueError(
                f"The text must fit the audio. Received: {len(logs)} frames, which no choice of pronunciations fits."
            )
        states = []
        for frame in range(len(logs) - 1, -1, -1):
            states.append(state)
            state = int(sources[state, steps[frame, state]])
        return iter(states)
