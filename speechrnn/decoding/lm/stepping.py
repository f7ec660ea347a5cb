"""`NGram.advance` over the model's arrays, compiled by numba on first use; the searches call it."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.decoding import compiling

compiled: Any = compiling.compiled(error_model="numpy")
"""How the functions of a search that Python calls are compiled."""
inner: Any = compiling.compiled(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""How those are compiled that compiled ones alone call."""


@compiled
def child(whole: np.ndarray, nodes: int, state: int, word: int) -> int:
    """The node of a word after a context; -1 where there is none."""
    if state == 0:
        return 1 + word
    low, end = whole[nodes + state], whole[nodes + state + 1]
    high = end
    while low < high:
        middle = (low + high) // 2
        if whole[middle] < word:
            low = middle + 1
        else:
            high = middle
    return low if low < end and whole[low] == word else -1


@compiled
def advance(whole: np.ndarray, real: np.ndarray, nodes: int, contexts: int, state: int, word: int) -> Any:
    """Logarithm of the probability of a word (not -1) after a state, and the state after it."""
    total = 0.0
    while True:
        node = child(whole, nodes, state, word)
        if node >= 0:
            break
        total += real[nodes + state]
        state = whole[nodes + contexts + 1 + state]
    total += real[node]
    while node >= contexts or node < 0:  # n-grams of the highest order are no contexts
        if state == 0:
            return total, np.int64(0)
        state = whole[nodes + contexts + 1 + state]
        node = child(whole, nodes, state, word)
    return total, np.int64(node)
