"""Which of a word's pronunciations was said: the likeliest one by forced alignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.best_path import BLANK

Ways = Sequence[tuple[Sequence[int], float]]
"""A word's pronunciations: the indices of their symbols, and the logarithm of each one's probability."""


def likeliest(logits: np.ndarray, words: Sequence[Ways]) -> list[int]:
    """The pronunciation of each word on the likeliest CTC path of the whole utterance (Viterbi).

    Args:
        logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank.
        words: The pronunciations of each word said, in order.

    Returns:
        For each word the place of its pronunciation among those given.

    Raises:
        ValueError: A word has no pronunciation, or one without symbols or with one outside the vocabulary; or no choice
            of them fits the frames.

    Example:
    >>> logits = 9.0 * np.eye(4)[[1, 0, 2, 3, 0]]
    >>> likeliest(logits, [[([1], 0.0), ([2], 0.0)], [([2, 3], 0.0), ([1], 0.0)]])
    [0, 0]
    """
    logs = log_softmax(logits)
    for ways in words:
        symbols = [symbol for way, _ in ways for symbol in way]
        if not all(len(way) for way, _ in ways) or not symbols or not 0 < min(symbols) <= max(symbols) < logs.shape[1]:
            raise ValueError(
                f"Each word needs pronunciations of indices in [1, {logs.shape[1]}). Received: {list(ways)!r:.100}."
            )
    if not words:
        return []
    graph = _Graph()
    for number, ways in enumerate(words):
        graph.add(number, ways)
    path = graph.best(logs)
    said = {owner for state in path if (owner := graph.owner[state]) is not None}
    return [place for _, place in sorted(said)]


class _Graph:
    """States of all pronunciations: between words one blank for all of them, within one a blank after each symbol."""

    def __init__(self) -> None:
        self.symbols, self.bonus = [BLANK], [0.0]
        self.owner: list[tuple[int, int] | None] = [None]
        self.before: list[list[int]] = [[0]]
        self.ends: list[int] = []  # last symbols of the word added last
        self.gap = 0  # the blank before the word to be added

    def add(self, number: int, ways: Ways) -> None:
        """Put a word behind those that are there."""
        ends = []
        for place, (way, log) in enumerate(ways):
            last = None
            for symbol in way:
                if last is None:
                    sources = [self.gap, *(end for end in self.ends if self.symbols[end] != symbol)]
                else:
                    blank = self._state(BLANK, (number, place), [last])
                    sources = [blank, *([last] if self.symbols[last] != symbol else [])]
                last = self._state(symbol, (number, place), sources, log if last is None else 0.0)
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
        """The states of the likeliest path, from the last frame to the first."""
        count, width = len(self.symbols), max(map(len, self.before))
        sources = np.full((count, width), count)  # what is not there is never reached
        added = np.zeros((count, width))
        for state, before in enumerate(self.before):
            sources[state, : len(before)] = before
            added[state, 1 : len(before)] = self.bonus[state]
        emitted = logs[:, self.symbols]
        steps = np.zeros((len(logs), count), np.int8 if width < 128 else np.int16)
        score = np.full(count + 1, -np.inf)
        score[0] = 0.0  # a virtual blank before the first frame
        for frame, row in enumerate(emitted):
            paths = score[sources] + added
            steps[frame] = paths.argmax(axis=1)
            score[:count] = np.take_along_axis(paths, steps[frame][:, None].astype(np.intp), 1)[:, 0] + row
        state = max([self.gap, *self.ends], key=lambda last: score[last])
        if not np.isfinite(score[state]):
            raise ValueError(
                f"The text must fit the audio. Received: {len(logs)} frames, which no choice of pronunciations fits."
            )
        found = []
        for frame in range(len(logs) - 1, -1, -1):
            found.append(state)
            state = int(sources[state, steps[frame, state]])
        return iter(found)
