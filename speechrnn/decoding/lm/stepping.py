"""`NGram.advance` over the model's arrays, for the compiled searches, which call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.decoding.compiling import inner


@inner
def find_sorted(values: np.ndarray, wanted: int, low: int, end: int) -> int:
    """Index of a value in a sorted part of an array, or -1."""
    high = end
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and values[low] == wanted else -1


@inner
def child(ints: np.ndarray, nodes: int, state: int, word: int) -> int:
    """The node of a word after a context, or -1."""
    if state == 0:
        return np.int64(1 + word)  # type: ignore[return-value]
    return find_sorted(ints, word, np.int64(ints[nodes + state]), np.int64(ints[nodes + state + 1]))


@inner
def advance(ints: np.ndarray, floats: np.ndarray, nodes: int, contexts: int, state: int, word: int) -> Any:
    """Log-probability of a word (not -1) after a state, and the next state."""
    total = np.float64(0.0)
    while True:
        node = child(ints, nodes, state, word)
        if node >= 0:
            break
        total += floats[nodes + state]
        state = ints[nodes + contexts + 1 + state]
    total += floats[node]
    while node >= contexts or node < 0:  # n-grams of the highest order are no contexts
        if state == 0:
            return total, np.int64(0)
        state = ints[nodes + contexts + 1 + state]
        node = child(ints, nodes, state, word)
    return total, np.int64(node)
