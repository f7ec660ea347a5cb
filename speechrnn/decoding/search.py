"""The inner loop of the beam search, compiled by numba on first use; see `speechrnn.decoding.beam`.

This module alone imports numba, and is imported when a search begins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

BLANK = 0
PARENT, SYMBOL, CHILD, SIBLING, LANGUAGE, WORD, GRAMMAR, BOOST = range(8)
"""Columns of the prefixes' whole numbers: the tree, and the state of each model after the prefix."""
OUTSIDE, NO_WORD = -1, 0
"""States of the lexicon: no word begins so; nothing since the last space."""
NONE, WORDS, CHARACTERS = range(3)
"""What the language model is over."""


class Models(NamedTuple):
    """Everything beside the logits that scores a prefix, as arrays."""

    kind: int
    """`NONE`, `WORDS` or `CHARACTERS`."""
    begin: int
    last_words: np.ndarray
    first_children: np.ndarray
    next_states: np.ndarray
    suffixes: np.ndarray
    log_probabilities: np.ndarray
    backoffs: np.ndarray
    unknown: int
    """Index of `<unk>`, -1 if the model has none."""
    unknown_log: float
    end: int
    """Index of `</s>`, -1 if the model has none."""
    symbol_words: np.ndarray
    """int32 `(vocabulary,)`: a character model's index of each symbol."""
    lexicon_first: np.ndarray
    lexicon_symbols: np.ndarray
    lexicon_words: np.ndarray
    """The word that each node of the lexicon spells, -1 for none."""
    space: int
    """The symbol between words, -1 if there is none."""
    weight: float
    word_bonus: float
    unknown_score: float
    grammar_next: np.ndarray
    """int32 `(states, vocabulary)`: the state after each symbol, -1 where it is not allowed; no rows allow all."""
    grammar_ends: np.ndarray
    """bool `(states,)`: whether a sentence may end."""
    boost_next: np.ndarray
    boost_gain: np.ndarray
    """float64 `(states, vocabulary)`: what a symbol adds."""
    boost_final: np.ndarray
    """float64 `(states,)`: what the end of the sentence adds."""


_compiled: Any = numba.njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _advance(models: Any, state: int, word: int) -> Any:
    """`NGram.advance`, for arrays."""
    if word < 0:
        word = models.unknown
        if word < 0:
            return models.unknown_log, 0
    total = 0.0
    while True:
        if state == 0:
            node = 1 + word
            return total + models.log_probabilities[node], models.next_states[node]
        low, end = models.first_children[state], models.first_children[state + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if models.last_words[middle] < word:
                low = middle + 1
            else:
                high = middle
        if low < end and models.last_words[low] == word:
            return total + models.log_probabilities[low], models.next_states[low]
        total += models.backoffs[state]
        state = models.suffixes[state]


@_compiled
def _close_word(models: Any, language: int, word: int) -> Any:
    """Score and state of a language model over words when a word ends."""
    if word == NO_WORD:
        return 0.0, language
    score = models.word_bonus
    if models.kind == WORDS:
        index = models.lexicon_words[word] if word != OUTSIDE else -1
        log, language = _advance(models, language, index)
        score += models.weight * log
        if word != OUTSIDE and index < 0:  # the beginning of a word that the model knows, and no word
            score += models.unknown_score
    return score, language


@_compiled
def _spell(models: Any, word: int, symbol: int) -> int:
    """State of the lexicon after a symbol that is no space."""
    if models.kind != WORDS:
        return 1
    if word == OUTSIDE:
        return OUTSIDE
    for node in range(models.lexicon_first[word], models.lexicon_first[word + 1]):
        if models.lexicon_symbols[node] == symbol:
            return node
    return OUTSIDE


@_compiled
def _extend(models: Any, whole: np.ndarray, symbol: int) -> Any:
    """Score that a symbol adds to a prefix, and the models' states after it: language, word, grammar, boost.

    The grammar's state is -1 where the symbol is not allowed.
    """
    language, word, grammar, boost = whole[LANGUAGE], whole[WORD], whole[GRAMMAR], whole[BOOST]
    score = 0.0
    if models.grammar_next.shape[0]:
        grammar = models.grammar_next[grammar, symbol]
        if grammar < 0:
            return score, language, word, grammar, boost
    if models.boost_next.shape[0]:
        score += models.boost_gain[boost, symbol]
        boost = models.boost_next[boost, symbol]
    if symbol == models.space:
        closing, language = _close_word(models, language, word)
        score += closing
        word = NO_WORD
    else:
        after = _spell(models, word, symbol)
        if after == OUTSIDE and word != OUTSIDE:
            score += models.unknown_score
        word = after
    if models.kind == CHARACTERS:
        log, language = _advance(models, language, models.symbol_words[symbol])
        score += models.weight * log
        if models.symbol_words[symbol] < 0:
            score += models.unknown_score
    return score, language, word, grammar, boost


@_compiled
def _finish(models: Any, whole: np.ndarray) -> float:
    """Score that the end of the sentence adds; -inf where the grammar does not allow it."""
    if models.grammar_next.shape[0] and not models.grammar_ends[whole[GRAMMAR]]:
        return -np.inf
    score, language = _close_word(models, whole[LANGUAGE], whole[WORD])
    if models.kind != NONE and models.end >= 0:
        score += models.weight * _advance(models, language, models.end)[0]
    if models.boost_next.shape[0]:
        score += models.boost_final[whole[BOOST]]
    return score


@_compiled
def _log_add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + np.log1p(np.exp(b - a))


@_compiled
def _child(tree: np.ndarray, parent: int, symbol: int) -> int:
    node = tree[parent, CHILD]
    while node >= 0 and tree[node, SYMBOL] != symbol:
        node = tree[node, SIBLING]
    return node


@_compiled
def prefixes(logs: np.ndarray, width: int, token_floor: float, beam_threshold: float, models: Any) -> Any:
    """Prefix search over the frames of one utterance.

    Args:
        logs: float64 `(frames, vocabulary)`, log-softmax.
        width: Prefixes kept after each frame.
        token_floor: Symbols less likely than this (a logarithm) are not tried in a frame, its likeliest one apart.
        beam_threshold: Prefixes whose score is this much below the best one's are dropped.
        models: `Models`.

    Returns:
        The tree's whole numbers `(nodes, 8)`, and of the prefixes kept to the end: their nodes, log probabilities
        of all their paths, and scores of the models with the end of the sentence (-inf where it is not allowed).
    """
    frames, vocabulary = logs.shape
    tree = np.full((1024, 8), -1, np.int32)
    added = np.zeros(1024)  # the models' score of each prefix
    tree[0, LANGUAGE:] = np.array([models.begin, NO_WORD, 0, 0], np.int32)
    nodes = 1
    place = np.full(1024, -1, np.int32)  # of each prefix in the beam
    beam = np.zeros(1, np.int32)
    blank, spoken = np.zeros(1), np.full(1, -np.inf)  # log probabilities of the paths that end in a blank, or not
    place[0] = 0
    symbols = np.empty(vocabulary, np.int32)
    for frame in range(frames):
        row = logs[frame]
        tried, likeliest = 0, row.argmax()
        for symbol in range(1, vocabulary):
            if row[symbol] >= token_floor or symbol == likeliest:
                symbols[tried] = symbol
                tried += 1
        size = len(beam)
        # Prefixes of the beam that stay: by a blank, by their last symbol again, or as the child of another one.
        total = np.empty(size)
        for i in range(size):
            total[i] = _log_add(blank[i], spoken[i])
        room = size * (tried + 1)
        score = np.empty(room)
        origin, symbol_of = np.empty(room, np.int32), np.empty(room, np.int32)
        new_blank, new_spoken = np.full(size, -np.inf), np.full(size, -np.inf)
        best = -np.inf
        for i in range(size):
            node = beam[i]
            symbol = tree[node, SYMBOL]
            new_blank[i] = total[i] + row[BLANK]
            if symbol > 0:
                new_spoken[i] = spoken[i] + row[symbol]
                parent = place[tree[node, PARENT]]
                if parent >= 0 and (row[symbol] >= token_floor or symbol == likeliest):
                    before = blank[parent] if tree[beam[parent], SYMBOL] == symbol else total[parent]
                    new_spoken[i] = _log_add(new_spoken[i], before + row[symbol])
            score[i] = _log_add(new_blank[i], new_spoken[i]) + added[node]
            origin[i], symbol_of[i] = i, 0
            best = max(best, score[i])
        found = size
        for i in range(size):
            node = beam[i]
            last = tree[node, SYMBOL]
            for k in range(tried):
                symbol = symbols[k]
                before = (blank[i] if symbol == last else total[i]) + row[symbol]
                if before == -np.inf:
                    continue
                child = _child(tree, node, symbol)
                if child >= 0:
                    if place[child] >= 0:
                        continue  # counted above
                    candidate = before + added[child]
                else:
                    gain, _, _, grammar, _ = _extend(models, tree[node], symbol)
                    if grammar < 0:
                        continue
                    candidate = before + added[node] + gain
                if candidate >= best - beam_threshold:
                    score[found], origin[found], symbol_of[found] = candidate, i, symbol
                    found += 1
                    best = max(best, candidate)
        floor = best - beam_threshold
        equal = found  # how many of those at the floor are let in
        if found > width:
            cut = np.partition(score[:found], found - width)[found - width]
            if cut >= floor:
                floor = cut
                equal = width - (score[:found] > cut).sum()
        kept = min(found, width)
        next_beam = np.empty(kept, np.int32)
        next_blank, next_spoken = np.empty(kept), np.empty(kept)
        for node in beam:
            place[node] = -1
        count = 0
        for j in range(found):
            if score[j] < floor or count == kept:
                continue
            if score[j] == floor and found > width:
                if equal == 0:
                    continue
                equal -= 1
            i, symbol = origin[j], symbol_of[j]
            node = beam[i]
            if symbol == 0:
                next_blank[count], next_spoken[count] = new_blank[i], new_spoken[i]
            else:
                before = blank[i] if symbol == tree[node, SYMBOL] else total[i]
                next_blank[count], next_spoken[count] = -np.inf, before + row[symbol]
                child = _child(tree, node, symbol)
                if child < 0:
                    if nodes == len(tree):
                        tree = np.concatenate((tree, np.full_like(tree, -1)))
                        added = np.concatenate((added, np.zeros_like(added)))
                        place = np.concatenate((place, np.full_like(place, -1)))
                    child = nodes
                    nodes += 1
                    gain, language, word, grammar, boost = _extend(models, tree[node], symbol)
                    tree[child, PARENT], tree[child, SYMBOL] = node, symbol
                    tree[child, SIBLING], tree[node, CHILD] = tree[node, CHILD], child
                    tree[child, LANGUAGE], tree[child, WORD] = language, word
                    tree[child, GRAMMAR], tree[child, BOOST] = grammar, boost
                    added[child] = added[node] + gain
                node = child
            next_beam[count] = node
            count += 1
        beam, blank, spoken = next_beam[:count], next_blank[:count], next_spoken[:count]
        for i in range(count):
            place[beam[i]] = i
    paths, scores = np.empty(len(beam)), np.empty(len(beam))
    for i in range(len(beam)):
        paths[i] = _log_add(blank[i], spoken[i])
        scores[i] = added[beam[i]] + _finish(models, tree[beam[i]])
    return tree[:nodes], beam, paths, scores
