"""What scores the words of `speechrnn.decoding.lexicon_search`: lexicon, language model, grammar and boost."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.compiling import inner
from speechrnn.decoding.lm.stepping import advance, found_in

ROOT = 0
"""The node where a word may begin."""
LANGUAGE_MODEL, BEGIN, UNKNOWN, END, NODES, CONTEXTS, SEPARATOR, REQUIRED, FILLS, GRAMMARS, BOOSTS, WORDS, ROOM = range(
    13
)
"""Places in `Models.whole`."""
WEIGHT, WORD_BONUS, UNKNOWN_SCORE, UNKNOWN_LOG, SPELLING = range(5)
"""Places in `Models.real`."""
FIRST, LETTER, UPWARDS, ENDS = range(4)
"""Rows of `Models.trie`."""
WORD, GRAM = range(2)
"""Rows of `Models.entries`."""


class GrammarTables(NamedTuple):
    """A grammar over words."""

    words: np.ndarray
    """int64 `(2, arcs)`, sorted: state times words plus word, and the state after it."""
    nodes: np.ndarray
    """int64, sorted: state times nodes plus node, where a word that is allowed goes through it."""
    ends: np.ndarray
    """bool `(states,)`: where a text may end."""


class BoostTables(NamedTuple):
    """Boosted phrases over words."""

    places: np.ndarray
    """int32 `(2, most)`: the column of each word and of each node in the tables, the last column for all others."""
    next: np.ndarray
    """int32 `(states, words + 1)`: the state after each word."""
    gain: np.ndarray
    """float64 `(states, words + 2)`: what each word adds; the last column is for the end of the text."""
    ahead: np.ndarray
    """float64 `(states, nodes + 1)`: the most that a word through a node adds."""


class Models(NamedTuple):
    """Everything beside the logits that scores a prefix."""

    whole: np.ndarray
    """int64: whether there is a language model, its `constants`, the symbol between words (-1: none), whether it must
    be there, and whether there are unknown words, a grammar, and boosted phrases, the number of words, and how many
    prefixes one symbol can make of one at most."""
    real: np.ndarray
    """float64: the language model's weight, the bonus of a word, the scores of an unknown one: ours and the model's,
    and the score of each of its symbols."""
    gram_whole: np.ndarray
    """int32: `NGram.whole`."""
    gram_real: np.ndarray
    """float32: `NGram.real`."""
    trie: np.ndarray
    """int32 `(4, nodes + 1)`: of each beginning of a word first child, last symbol, parent, and the first of the
    pronunciations that end there. Children are neighbors, sorted by their symbols."""
    entries: np.ndarray
    """int32 `(2, pronunciations)`, sorted by their nodes: their words, and the language model's index of each (-1)."""
    entry_logs: np.ndarray
    """float64 `(pronunciations,)`: logarithms of their probabilities, not above 0."""
    gram_nodes: np.ndarray
    """int32: for each of the language model's words where its nodes stand in this array, one more, then the nodes."""
    unigrams: np.ndarray
    """float64 `(nodes,)`: the highest of the words' log probabilities without a context, -inf: it knows none."""
    grammar: GrammarTables
    boost: BoostTables


class Memory(NamedTuple):
    """What words are likely below a node, kept for later: a hash table that is emptied when it is full."""

    keys: np.ndarray
    """int64 `(size,)`: state of the language model times nodes, plus node, plus 1; 0 where nothing is. `size` is a
    power of two."""
    values: np.ndarray
    """float32 `(size,)`."""
    count: np.ndarray  # type: ignore[assignment]
    """int64 `(1,)`."""


@inner
def _slot(memory: Any, key: int) -> int:
    """Where a key is, or belongs."""
    mask = len(memory.keys) - 1
    place = (key * np.int64(-7046029254386353131)) >> 20 & mask
    while memory.keys[place] != 0 and memory.keys[place] != key:
        place = (place + 1) & mask
    return place  # type: ignore[return-value]


@inner
def _remember(models: Any, memory: Any, state: int) -> None:
    """Put what words are likely after a state into the memory, at each node that leads to one."""
    nodes, width = models.whole[NODES], models.trie.shape[1]
    low, high = models.gram_whole[nodes + state], models.gram_whole[nodes + state + 1]
    if memory.count[0] + min(np.int64(width), 32 * np.int64(high - low)) > len(memory.keys) // 2:
        for i in range(len(memory.keys)):
            memory.keys[i] = 0
        memory.count[0] = 0
    key = np.int64(state) * width + 1
    place = _slot(memory, key)
    memory.keys[place], memory.values[place] = key, -np.inf
    memory.count[0] += 1
    for gram in range(low, high):
        word, value = models.gram_whole[gram], np.float32(models.gram_real[gram])
        for i in range(models.gram_nodes[word], models.gram_nodes[word + 1]):
            node = models.gram_nodes[i]
            while True:
                place = _slot(memory, key + node)
                if memory.keys[place] == 0:
                    memory.keys[place] = key + node
                    memory.count[0] += 1
                elif memory.values[place] >= value:
                    break
                memory.values[place] = value
                if node == ROOT:
                    break
                node = models.trie[UPWARDS, node]


@inner
def likeliest(models: Any, memory: Any, state: int, node: int) -> float:
    """The most that the language model gives a word through a node, or a little more; -inf where it knows none."""
    if models.unigrams[node] == -np.inf:
        return -np.inf
    nodes, contexts, width = models.whole[NODES], models.whole[CONTEXTS], models.trie.shape[1]
    best, total = -np.inf, 0.0
    while state != 0:
        if models.gram_whole[nodes + state] < models.gram_whole[nodes + state + 1]:
            key = np.int64(state) * width + 1
            if memory.keys[_slot(memory, key)] == 0:
                _remember(models, memory, state)
            place = _slot(memory, key + node)
            if memory.keys[place] != 0:
                best = max(best, total + np.float64(memory.values[place]))
        total += models.gram_real[nodes + state]
        state = models.gram_whole[nodes + contexts + 1 + state]
    return max(best, total + models.unigrams[node])


@inner
def word_score(models: Any, language: int, gram: int) -> Any:
    """Score of the language model for a word, -1 for one that it does not know, and its state after it."""
    if models.whole[LANGUAGE_MODEL] == 0:
        return 0.0, language
    word = gram if gram >= 0 else models.whole[UNKNOWN]
    if word < 0:
        return models.real[WEIGHT] * models.real[UNKNOWN_LOG] + models.real[UNKNOWN_SCORE], np.int64(0)
    log, after = advance(
        models.gram_whole, models.gram_real, models.whole[NODES], models.whole[CONTEXTS], language, word
    )
    score = models.real[WEIGHT] * log
    return (score if gram >= 0 else score + models.real[UNKNOWN_SCORE]), after


@inner
def ahead(models: Any, memory: Any, language: int, boost: int, node: int) -> float:
    """What a word that has begun may add to the score when it ends."""
    score = models.real[WORD_BONUS]
    if models.whole[LANGUAGE_MODEL] != 0:
        log = likeliest(models, memory, language, node)
        score += models.real[WEIGHT] * log if log > -np.inf else word_score(models, language, -1)[0]
    if models.whole[BOOSTS] != 0:
        score += models.boost.ahead[boost, models.boost.places[1, node]]
    return score


@inner
def goes_on(models: Any, node: int, symbol: int) -> int:
    """The child of a node; -1 where there is none."""
    low, end = np.int64(models.trie[FIRST, node]), np.int64(models.trie[FIRST, node + 1])
    return found_in(models.trie[LETTER], symbol, low, end)
