"""The inner loop of the beam search, compiled on first use; see `speechrnn.decoding.beam`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.compiling import inner, outer
from speechrnn.decoding.lm.stepping import advance

BLANK = 0
PARENT, SYMBOL, CHILD, SIBLING, LANGUAGE, WORD, GRAMMAR, BOOST = range(8)
"""Columns of the prefixes' whole numbers: the tree, and the state of each model after the prefix."""
OUTSIDE, NO_WORD = -1, 0
"""States of the lexicon: no word begins so; nothing since the last space."""
NONE, WORDS, CHARACTERS = range(3)
"""What the language model is over."""


KIND, BEGIN, UNKNOWN, END, NODES, CONTEXTS, SPACE, MARKED = range(8)
"""Places in `Models.whole`."""
WEIGHT, WORD_BONUS, UNKNOWN_SCORE, UNKNOWN_LOG = range(4)
"""Places in `Models.real`."""
FIRST, LETTER, SPELLED = range(3)
"""Rows of `Models.lexicon`."""


class Models(NamedTuple):
    """Everything beside the logits that scores a prefix."""

    whole: np.ndarray
    """int64: what the language model is over, its `constants`, the character between words (-1: none), and whether it
    stands before the first word too, where it does not count."""
    real: np.ndarray
    """float64: the language model's weight, the bonus of a word, the scores of an unknown one: ours and the model's."""
    gram_whole: np.ndarray
    """int32: `NGram.whole`."""
    gram_real: np.ndarray
    """float32 or float64: `NGram.real`."""
    letters: np.ndarray
    """int32 `(vocabulary, most)`: the characters of each symbol, -1 after its last one; what follows is over them."""
    lexicon: np.ndarray
    """int32 `(3, nodes + 1)`: of each beginning of a word first child, last character, and the word (-1: none)."""
    symbol_words: np.ndarray
    """int32 `(characters,)`: a character model's index of each character."""
    grammar: np.ndarray
    """int32 `(states, characters)`: the state after each character, -1 where it is not allowed; no rows allow all.
    The blank's column is 1 where a text may end."""
    boost_next: np.ndarray
    """int32 `(states, characters)`: the state after each character; there may be no rows."""
    boost_gain: np.ndarray
    """float64 `(states, characters)`: what a character adds; the blank's column is for the end of the text."""


@inner
def _advance(models: Any, state: int, word: int) -> Any:
    """`NGram.advance`, for arrays."""
    if word < 0:
        word = models.whole[UNKNOWN]
        if word < 0:
            return models.real[UNKNOWN_LOG], np.int64(0)
    return advance(models.gram_whole, models.gram_real, models.whole[NODES], models.whole[CONTEXTS], state, word)


@inner
def _close_word(models: Any, language: int, word: int) -> Any:
    """Score and state of a language model over words when a word ends."""
    if word == NO_WORD:
        return 0.0, language
    score = models.real[WORD_BONUS]
    if models.whole[KIND] == WORDS:
        index = models.lexicon[SPELLED, word] if word != OUTSIDE else -1
        log, language = _advance(models, language, index)
        score += models.real[WEIGHT] * log
        if word != OUTSIDE and index < 0:  # the beginning of a word that the model knows, and no word
            score += models.real[UNKNOWN_SCORE]
    return score, language


@inner
def _spell(models: Any, word: int, letter: int) -> int:
    """State of the lexicon after a character that is no space."""
    if models.whole[KIND] != WORDS:
        return 1
    if word == OUTSIDE:
        return OUTSIDE
    for node in range(models.lexicon[FIRST, word], models.lexicon[FIRST, word + 1]):
        if models.lexicon[LETTER, node] == letter:
            return node
    return OUTSIDE


@inner
def _extend(models: Any, tree: np.ndarray, node: int, symbol: int) -> Any:
    """Score that a symbol adds to a prefix, and the models' states after it: language, word, grammar, boost.

    The grammar's state is -1 where the symbol is not allowed.
    """
    language, word, grammar, boost = tree[node, LANGUAGE], tree[node, WORD], tree[node, GRAMMAR], tree[node, BOOST]
    score = 0.0
    for place in range(models.letters.shape[1]):
        letter = models.letters[symbol, place]
        if letter < 0:
            break
        if node == 0 and letter == models.whole[SPACE] and models.whole[MARKED]:
            continue
        if models.grammar.shape[0]:
            grammar = models.grammar[grammar, letter]
            if grammar < 0:
                break
        if models.boost_next.shape[0]:
            score += models.boost_gain[boost, letter]
            boost = models.boost_next[boost, letter]
        if letter == models.whole[SPACE]:
            closing, language = _close_word(models, language, word)
            score += closing
            word = np.int32(NO_WORD)
        else:
            after = np.int32(_spell(models, word, letter))
            if after == OUTSIDE and word != OUTSIDE:
                score += models.real[UNKNOWN_SCORE]
            word = after
        if models.whole[KIND] == CHARACTERS:
            log, language = _advance(models, language, models.symbol_words[letter])
            score += models.real[WEIGHT] * log
            if models.symbol_words[letter] < 0:
                score += models.real[UNKNOWN_SCORE]
    return score, language, word, grammar, boost


@inner
def _finish(models: Any, tree: np.ndarray, node: int) -> float:
    """Score that the end of the sentence adds; -inf where the grammar does not allow it."""
    if models.grammar.shape[0] and models.grammar[tree[node, GRAMMAR], BLANK] != 1:
        return -np.inf
    score, language = _close_word(models, tree[node, LANGUAGE], tree[node, WORD])
    if models.whole[KIND] != NONE and models.whole[END] >= 0:
        score += models.real[WEIGHT] * _advance(models, language, models.whole[END])[0]
    if models.boost_next.shape[0]:
        score += models.boost_gain[tree[node, BOOST], BLANK]
    return score


@inner
def log_add(a: float, b: float) -> float:
    """Logarithm of the sum of two numbers whose logarithms are given."""
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + np.log1p(np.exp(b - a))


@inner
def _child(tree: np.ndarray, parent: int, symbol: int) -> int:
    node = tree[parent, CHILD]
    while node >= 0 and tree[node, SYMBOL] != symbol:
        node = tree[node, SIBLING]
    return node


@inner
def _add_child(
    models: Any, tree: np.ndarray, added: np.ndarray, place: np.ndarray, node: int, symbol: int, child: int
) -> None:
    """Write a prefix's row of the tree."""
    gain, language, word, grammar, boost = _extend(models, tree, node, symbol)
    tree[child, PARENT], tree[child, SYMBOL], tree[child, CHILD] = node, symbol, -1
    tree[child, SIBLING], tree[node, CHILD] = tree[node, CHILD], child
    tree[child, LANGUAGE], tree[child, WORD] = language, word
    tree[child, GRAMMAR], tree[child, BOOST] = grammar, boost
    added[child], place[child] = added[node] + gain, -1


@inner
def likeliest_of(row: np.ndarray) -> int:
    """The symbol with the highest log probability, the first one of several."""
    likeliest = 0
    for symbol in range(1, len(row)):
        if row[symbol] > row[likeliest]:
            likeliest = symbol
    return likeliest


@inner
def of_rank(scores: np.ndarray, found: int, width: int, values: np.ndarray) -> float:
    """The score of rank `width` among the first `found`, the highest being rank 1 (Hoare's selection).

    `values` is room for them.
    """
    for place in range(found):
        values[place] = scores[place]
    low, high, rank = 0, found - 1, width - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return values[rank]


@inner
def _step(
    models: Any,
    row: np.ndarray,
    beam: np.ndarray,
    size: int,
    paths: np.ndarray,
    tree: np.ndarray,
    added: np.ndarray,
    place: np.ndarray,
    candidates: np.ndarray,
    scores: np.ndarray,
    token_floor: float,
    beam_threshold: float,
) -> Any:
    """One frame: the candidates that are not far below the best, and how many they are.

    The first `size` of them are the prefixes of the beam that stay: by a blank, by their last symbol again, or as the
    child of another one. Their new probabilities are left in the last two columns of `paths`.
    """
    likeliest = likeliest_of(row)
    best = -np.inf
    for i in range(size):
        node = beam[i]
        symbol = tree[node, SYMBOL]
        paths[i, 2] = log_add(paths[i, 0], paths[i, 1])
        paths[i, 3], paths[i, 4] = paths[i, 2] + row[BLANK], -np.inf
        if symbol > 0:
            paths[i, 4] = paths[i, 1] + row[symbol]
    for i in range(size):
        node = beam[i]
        symbol = tree[node, SYMBOL]
        if symbol > 0 and (row[symbol] >= token_floor or symbol == likeliest):
            parent = place[tree[node, PARENT]]
            if parent >= 0:
                before = paths[parent, 0] if tree[beam[parent], SYMBOL] == symbol else paths[parent, 2]
                paths[i, 4] = log_add(paths[i, 4], before + row[symbol])
        scores[i] = log_add(paths[i, 3], paths[i, 4]) + added[node]
        candidates[i, 0], candidates[i, 1] = i, BLANK
        best = max(best, scores[i])
    found = size
    for symbol in range(1, len(row)):
        if row[symbol] < token_floor and symbol != likeliest:
            continue
        for i in range(size):
            node = beam[i]
            before = (paths[i, 0] if symbol == tree[node, SYMBOL] else paths[i, 2]) + row[symbol]
            child = _child(tree, node, symbol)
            if before == -np.inf or (child >= 0 and place[child] >= 0):  # the latter is counted above
                continue
            if child >= 0:
                score = before + added[child]
            else:
                gain, _, _, grammar, _ = _extend(models, tree, node, symbol)
                if grammar < 0:
                    continue
                score = before + added[node] + gain
            if score >= best - beam_threshold:
                scores[found], candidates[found, 0], candidates[found, 1] = score, i, symbol
                found += 1
                best = max(best, score)
    return found, best


@outer
def _search(
    logs: np.ndarray,
    width: int,
    token_floor: float,
    beam_threshold: float,
    models: Any,
    beams: np.ndarray,
    paths: np.ndarray,
    tree: np.ndarray,
    added: np.ndarray,
    place: np.ndarray,
    candidates: np.ndarray,
    scores: np.ndarray,
    ranked: np.ndarray,
    counts: np.ndarray,
) -> None:
    """All frames; fills in the numbers of prefixes in the tree and in the last beam, and which of the beams that is."""
    nodes, size, now = 1, 1, 0
    for frame in range(len(logs)):
        row, beam, old, new = logs[frame], beams[now], paths[now], paths[1 - now]
        found, best = _step(
            models, row, beam, size, old, tree, added, place, candidates, scores, token_floor, beam_threshold
        )
        floor, equal = best - beam_threshold, found
        if found > width:
            cut = of_rank(scores, found, width, ranked)
            if cut >= floor:  # of those with the very score of the last rank, the first ones are kept
                floor, equal = cut, width
                for j in range(found):
                    equal -= scores[j] > cut
        for i in range(size):
            place[beam[i]] = -1
        size = 0
        for j in range(found):
            if scores[j] < floor or size == width or (scores[j] == floor and equal == 0):
                continue
            equal -= scores[j] == floor
            i, symbol = candidates[j, 0], candidates[j, 1]
            node = beam[i]
            if symbol == BLANK:
                new[size, 0], new[size, 1] = old[i, 3], old[i, 4]
            else:
                before = old[i, 0] if symbol == tree[node, SYMBOL] else old[i, 2]
                new[size, 0], new[size, 1] = -np.inf, before + row[symbol]
                child = _child(tree, node, symbol)
                if child < 0:
                    child, nodes = nodes, nodes + 1
                    _add_child(models, tree, added, place, node, symbol, child)
                node = child
            beams[1 - now, size] = node
            size += 1
        now = 1 - now
        for i in range(size):
            place[beams[now, i]] = i
    for i in range(size):
        node = beams[now, i]
        paths[now, i, 2] = log_add(paths[now, i, 0], paths[now, i, 1])
        paths[now, i, 3] = added[node] + _finish(models, tree, node)
    counts[0], counts[1], counts[2] = nodes, size, now


def prefixes(
    logs: np.ndarray, width: int, token_floor: float, beam_threshold: float, models: Models
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prefix search over the frames of one utterance.

    Args:
        logs: float64 `(frames, vocabulary)`, log-softmax.
        width: Prefixes kept after each frame.
        token_floor: Symbols less likely than this (a logarithm) are not tried in a frame, its likeliest one apart.
        beam_threshold: Prefixes whose score is this much below the best one's are dropped.
        models: What else scores a prefix.

    Returns:
        The tree's whole numbers `(nodes, 8)`, and of the prefixes kept to the end: their nodes, log probabilities
        of all their paths, and scores of the models with the end of the sentence (-inf where it is not allowed).
    """
    frames, vocabulary = logs.shape
    # Each frame adds at most `width` prefixes, and fewer by far; memory that is not written to is not taken.
    room = 1 + frames * width
    tree, added, place = np.empty((room, 8), np.int32), np.empty(room), np.empty(room, np.int32)
    tree[0] = [-1, -1, -1, -1, models.whole[BEGIN], NO_WORD, 0, 0]
    added[0], place[0] = 0.0, 0
    beams = np.zeros((2, width), np.int32)
    # Log probabilities of a prefix's paths: those that end in a blank, those that do not, all; and the first two again.
    paths = np.full((2, width, 5), -np.inf)
    paths[0, 0, 0] = 0.0
    candidates, scores = np.empty((width * vocabulary, 2), np.int32), np.empty(width * vocabulary)
    counts = np.zeros(3, np.int64)
    _search(
        logs, width, token_floor, beam_threshold, models, beams, paths, tree, added, place, candidates, scores,
        np.empty_like(scores), counts,
    )  # fmt: skip
    nodes, size, now = counts.tolist()
    return tree[:nodes], beams[now, :size], paths[now, :size, 2], paths[now, :size, 3]
