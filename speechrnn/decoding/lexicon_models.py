"""Scores of words for `speechrnn.decoding.lexicon_search`: lexicon, language model, grammar and boost."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.compiling import inner
from speechrnn.decoding.lm.stepping import advance, find_sorted

ROOT = 0
"""The node where a word may begin."""
(
    LANGUAGE_MODEL, BEGIN, UNKNOWN, END, NODES, CONTEXTS, SEPARATOR, REQUIRED, UNKNOWN_WORDS, GRAMMARS, BOOSTS, WORDS,
    BRANCHING,
) = range(13)  # fmt: skip
"""Indices of `Models.ints`."""
WEIGHT, WORD_BONUS, UNKNOWN_SCORE, UNKNOWN_LOG, SPELLING = range(5)
"""Indices of `Models.floats`."""
FIRST, LETTER, PARENT_NODE, ENDS = range(4)
"""Rows of `Models.trie`."""
WORD, GRAM = range(2)
"""Rows of `Models.entries`."""


class GrammarTables(NamedTuple):
    """A grammar over words."""

    words: np.ndarray
    """int64 `(2, arcs)`, sorted: state times number of words plus word, and the next state."""
    nodes: np.ndarray
    """int64, sorted: state times number of nodes plus node, for nodes of allowed words."""
    ends: np.ndarray
    """bool `(states,)`: whether a text may end."""


class BoostTables(NamedTuple):
    """Boosted phrases over words."""

    columns: np.ndarray
    """int32 `(2, size)`: the column of each word and of each node in the tables; the last column is for all others."""
    next: np.ndarray
    """int32 `(states, words + 1)`: the state after each word."""
    gain: np.ndarray
    """float64 `(states, words + 2)`: score of each word; the last column is for the end of the text."""
    ahead: np.ndarray
    """float64 `(states, nodes + 1)`: highest score of a word that passes a node."""


class Models(NamedTuple):
    """All models that score a prefix, apart from the logits."""

    ints: np.ndarray
    """int64: whether there is a language model, its `constants`, the symbol between words (-1: none), whether it is
    required, whether there are unknown words, a grammar, and boosted phrases, the number of words, and the maximum
    number of prefixes that a symbol can make from one prefix."""
    floats: np.ndarray
    """float64: the language model's weight, the bonus of a word, the scores of an unknown word (ours and the model's),
    and the score of each symbol of an unknown word."""
    gram_ints: np.ndarray
    """int32: `NGram.ints`."""
    gram_floats: np.ndarray
    """float32: `NGram.floats`."""
    trie: np.ndarray
    """int32 `(4, nodes + 1)`: first child, last symbol, parent, and the first pronunciation that ends at each node.
    Children are consecutive, sorted by their symbols."""
    entries: np.ndarray
    """int32 `(2, pronunciations)`, sorted by their nodes: their words, and the language model's index of each (-1)."""
    entry_logs: np.ndarray
    """float64 `(pronunciations,)`: log-probabilities."""
    gram_nodes: np.ndarray
    """int32: for each word of the language model the index, in this array, of its first node, and the end; then the
    nodes."""
    unigrams: np.ndarray
    """float64 `(nodes,)`: the highest unigram log-probability of the words below each node; -inf if it knows none."""
    grammar: GrammarTables
    boost: BoostTables


class LookAheadCache(NamedTuple):
    """The highest n-gram log-probabilities below each node: a hash table that is emptied when it is full."""

    keys: np.ndarray
    """int64 `(size,)`: state of the language model times number of nodes, plus node, plus 1; 0 for a free slot. `size`
    is a power of two."""
    values: np.ndarray
    """float32 `(size,)`."""
    count: np.ndarray  # type: ignore[assignment]
    """int64 `(1,)`."""


@inner
def _slot(cache: Any, key: int) -> int:
    """The slot of a key, or a free one for it."""
    mask = len(cache.keys) - 1
    slot = (key * np.int64(-7046029254386353131)) >> 20 & mask
    while cache.keys[slot] != 0 and cache.keys[slot] != key:
        slot = (slot + 1) & mask
    return slot  # type: ignore[return-value]


@inner
def _fill_cache(models: Any, cache: Any, state: int) -> None:
    """Cache the n-grams of a state: for each node, the highest log-probability of the words below it."""
    nodes, width = models.ints[NODES], models.trie.shape[1]
    low, high = models.gram_ints[nodes + state], models.gram_ints[nodes + state + 1]
    if cache.count[0] + min(np.int64(width), 32 * np.int64(high - low)) > len(cache.keys) // 2:
        for i in range(len(cache.keys)):
            cache.keys[i] = 0
        cache.count[0] = 0
    key = np.int64(state) * width + 1
    slot = _slot(cache, key)
    cache.keys[slot], cache.values[slot] = key, -np.inf
    cache.count[0] += 1
    for gram in range(low, high):
        word, value = models.gram_ints[gram], np.float32(models.gram_floats[gram])
        for i in range(models.gram_nodes[word], models.gram_nodes[word + 1]):
            node = models.gram_nodes[i]
            while True:
                slot = _slot(cache, key + node)
                if cache.keys[slot] == 0:
                    cache.keys[slot] = key + node
                    cache.count[0] += 1
                elif cache.values[slot] >= value:
                    break
                cache.values[slot] = value
                if node == ROOT:
                    break
                node = models.trie[PARENT_NODE, node]


@inner
def look_ahead(models: Any, cache: Any, state: int, node: int) -> float:
    """Upper bound of the language model's log-probability of the words below a node; -inf if it knows none."""
    if models.unigrams[node] == -np.inf:
        return -np.inf
    nodes, contexts, width = models.ints[NODES], models.ints[CONTEXTS], models.trie.shape[1]
    best, total = -np.inf, 0.0
    while state != 0:
        if models.gram_ints[nodes + state] < models.gram_ints[nodes + state + 1]:
            key = np.int64(state) * width + 1
            if cache.keys[_slot(cache, key)] == 0:
                _fill_cache(models, cache, state)
            slot = _slot(cache, key + node)
            if cache.keys[slot] != 0:
                best = max(best, total + np.float64(cache.values[slot]))
        total += models.gram_floats[nodes + state]
        state = models.gram_ints[nodes + contexts + 1 + state]
    return max(best, total + models.unigrams[node])


@inner
def word_score(models: Any, language: int, gram: int) -> Any:
    """The language model's score of a word (-1: unknown), and its next state."""
    if models.ints[LANGUAGE_MODEL] == 0:
        return 0.0, language
    word = gram if gram >= 0 else models.ints[UNKNOWN]
    if word < 0:
        return models.floats[WEIGHT] * models.floats[UNKNOWN_LOG] + models.floats[UNKNOWN_SCORE], np.int64(0)
    log, after = advance(
        models.gram_ints, models.gram_floats, models.ints[NODES], models.ints[CONTEXTS], language, word
    )
    score = models.floats[WEIGHT] * log
    return (score if gram >= 0 else score + models.floats[UNKNOWN_SCORE]), after


@inner
def incomplete_word_score(models: Any, cache: Any, language: int, boost: int, node: int) -> float:
    """Score of an incomplete word: that of the best word that it may become."""
    score = models.floats[WORD_BONUS]
    if models.ints[LANGUAGE_MODEL] != 0:
        log = look_ahead(models, cache, language, node)
        score += models.floats[WEIGHT] * log if log > -np.inf else word_score(models, language, -1)[0]
    if models.ints[BOOSTS] != 0:
        score += models.boost.ahead[boost, models.boost.columns[1, node]]
    return score


@inner
def child_of(models: Any, node: int, symbol: int) -> int:
    """The child of a node by a symbol; -1 if there is none."""
    low, end = np.int64(models.trie[FIRST, node]), np.int64(models.trie[FIRST, node + 1])
    return find_sorted(models.trie[LETTER], symbol, low, end)
