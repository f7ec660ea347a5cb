"""The inner loop of the beam search, compiled on first use; see `speechrnn.decoding.beam`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.compiling import inner, outer
from speechrnn.decoding.lm.stepping import advance

BLANK = 0
PARENT, SYMBOL, CHILD, SIBLING, LANGUAGE, WORD, GRAMMAR, BOOST = range(8)
"""Columns of the tree of prefixes: links, and the state of each model after the prefix."""
OUTSIDE, NO_WORD = -1, 0
"""States of the lexicon: no word begins like this; at the start of a word."""
NONE, WORDS, CHARACTERS = range(3)
"""Kinds of language models."""


KIND, BEGIN, UNKNOWN, END, NODES, CONTEXTS, SPACE, MARKED = range(8)
"""Indices of `Models.ints`."""
WEIGHT, WORD_BONUS, UNKNOWN_SCORE, UNKNOWN_LOG = range(4)
"""Indices of `Models.floats`."""
FIRST, LETTER, SPELLED = range(3)
"""Rows of `Models.lexicon`."""


class Models(NamedTuple):
    """All models that score a prefix, apart from the logits."""

    ints: np.ndarray
    """int64: the kind of the language model, its `constants`, the character between words (-1: none), and whether the
    first word begins with it too, in which case it is ignored there."""
    floats: np.ndarray
    """float64: the language model's weight, the bonus of a word, the scores of an unknown word (ours and the model's).
    """
    gram_ints: np.ndarray
    """int32: `NGram.ints`."""
    gram_floats: np.ndarray
    """float32 or float64: `NGram.floats`."""
    letters: np.ndarray
    """int32 `(vocabulary, longest)`: the characters of each symbol, padded with -1."""
    lexicon: np.ndarray
    """int32 `(3, nodes + 1)`: prefix tree of words: first child, last character, and the word (-1: none) of a node."""
    symbol_words: np.ndarray
    """int32 `(characters,)`: a character model's index of each character."""
    grammar: np.ndarray
    """int32 `(states, characters)`: the state after each character, -1 if it is not allowed; without rows there is no
    grammar. The blank's column is 1 if a text may end."""
    boost_next: np.ndarray
    """int32 `(states, characters)`: the state after each character; without rows there is no boost."""
    boost_gain: np.ndarray
    """float64 `(states, characters)`: score of each character; the blank's column is for the end of the text."""


@inner
def _advance(models: Any, state: int, word: int) -> Any:
    """`NGram.advance`, for arrays."""
    if word < 0:
        word = models.ints[UNKNOWN]
        if word < 0:
            return models.floats[UNKNOWN_LOG], np.int64(0)
    return advance(models.gram_ints, models.gram_floats, models.ints[NODES], models.ints[CONTEXTS], state, word)


@inner
def _close_word(models: Any, language: int, word: int) -> Any:
    """Score and state of a language model over words when a word ends."""
    if word == NO_WORD:
        return 0.0, language
    score = models.floats[WORD_BONUS]
    if models.ints[KIND] == WORDS:
        index = models.lexicon[SPELLED, word] if word != OUTSIDE else -1
        log, language = _advance(models, language, index)
        score += models.floats[WEIGHT] * log
        if word != OUTSIDE and index < 0:  # only the beginning of a word that the model knows
            score += models.floats[UNKNOWN_SCORE]
    return score, language


@inner
def _spell(models: Any, word: int, letter: int) -> int:
    """State of the lexicon after a character other than the space."""
    if models.ints[KIND] != WORDS:
        return 1
    if word == OUTSIDE:
        return OUTSIDE
    for node in range(models.lexicon[FIRST, word], models.lexicon[FIRST, word + 1]):
        if models.lexicon[LETTER, node] == letter:
            return node
    return OUTSIDE


@inner
def _extend(models: Any, tree: np.ndarray, node: int, symbol: int) -> Any:
    """Score of a symbol after a prefix, and the next states: language model, word, grammar, boost.

    The grammar's state is -1 if the symbol is not allowed.
    """
    language, word, grammar, boost = tree[node, LANGUAGE], tree[node, WORD], tree[node, GRAMMAR], tree[node, BOOST]
    score = 0.0
    for i in range(models.letters.shape[1]):
        letter = models.letters[symbol, i]
        if letter < 0:
            break
        if node == 0 and letter == models.ints[SPACE] and models.ints[MARKED]:
            continue
        if models.grammar.shape[0]:
            grammar = models.grammar[grammar, letter]
            if grammar < 0:
                break
        if models.boost_next.shape[0]:
            score += models.boost_gain[boost, letter]
            boost = models.boost_next[boost, letter]
        if letter == models.ints[SPACE]:
            closing, language = _close_word(models, language, word)
            score += closing
            word = np.int32(NO_WORD)
        else:
            after = np.int32(_spell(models, word, letter))
            if after == OUTSIDE and word != OUTSIDE:
                score += models.floats[UNKNOWN_SCORE]
            word = after
        if models.ints[KIND] == CHARACTERS:
            log, language = _advance(models, language, models.symbol_words[letter])
            score += models.floats[WEIGHT] * log
            if models.symbol_words[letter] < 0:
                score += models.floats[UNKNOWN_SCORE]
    return score, language, word, grammar, boost


@inner
def _finish(models: Any, tree: np.ndarray, node: int) -> float:
    """Score of the end of the sentence; -inf if the grammar does not allow it."""
    if models.grammar.shape[0] and models.grammar[tree[node, GRAMMAR], BLANK] != 1:
        return -np.inf
    score, language = _close_word(models, tree[node, LANGUAGE], tree[node, WORD])
    if models.ints[KIND] != NONE and models.ints[END] >= 0:
        score += models.floats[WEIGHT] * _advance(models, language, models.ints[END])[0]
    if models.boost_next.shape[0]:
        score += models.boost_gain[tree[node, BOOST], BLANK]
    return score


@inner
def log_add(a: float, b: float) -> float:
    """`log(exp(a) + exp(b))`."""
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
    models: Any, tree: np.ndarray, model_scores: np.ndarray, position: np.ndarray, node: int, symbol: int, child: int
) -> None:
    """Add a prefix to the tree."""
    gain, language, word, grammar, boost = _extend(models, tree, node, symbol)
    tree[child, PARENT], tree[child, SYMBOL], tree[child, CHILD] = node, symbol, -1
    tree[child, SIBLING], tree[node, CHILD] = tree[node, CHILD], child
    tree[child, LANGUAGE], tree[child, WORD] = language, word
    tree[child, GRAMMAR], tree[child, BOOST] = grammar, boost
    model_scores[child], position[child] = model_scores[node] + gain, -1


@inner
def most_likely(row: np.ndarray) -> int:
    """The symbol with the highest log-probability, the first one of several."""
    best = 0
    for symbol in range(1, len(row)):
        if row[symbol] > row[best]:
            best = symbol
    return best


@inner
def score_of_rank(scores: np.ndarray, count: int, width: int, values: np.ndarray) -> float:
    """The score of rank `width` among the first `count`, the highest being rank 1 (Hoare's selection).

    `values` is a buffer.
    """
    for i in range(count):
        values[i] = scores[i]
    low, high, rank = 0, count - 1, width - 1
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
    model_scores: np.ndarray,
    position: np.ndarray,
    candidates: np.ndarray,
    scores: np.ndarray,
    token_floor: float,
    beam_threshold: float,
) -> Any:
    """One frame: fill in the candidates that are not far below the best; returns their number and the best score.

    The first `size` of them are the prefixes of the beam, which stay by a blank, by a repetition of their last symbol,
    or as the child of another prefix. Their new log-probabilities are in the last two columns of `paths`.
    """
    best_symbol = most_likely(row)
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
        if symbol > 0 and (row[symbol] >= token_floor or symbol == best_symbol):
            parent = position[tree[node, PARENT]]
            if parent >= 0:
                before = paths[parent, 0] if tree[beam[parent], SYMBOL] == symbol else paths[parent, 2]
                paths[i, 4] = log_add(paths[i, 4], before + row[symbol])
        scores[i] = log_add(paths[i, 3], paths[i, 4]) + model_scores[node]
        candidates[i, 0], candidates[i, 1] = i, BLANK
        best = max(best, scores[i])
    count = size
    for symbol in range(1, len(row)):
        if row[symbol] < token_floor and symbol != best_symbol:
            continue
        for i in range(size):
            node = beam[i]
            before = (paths[i, 0] if symbol == tree[node, SYMBOL] else paths[i, 2]) + row[symbol]
            child = _child(tree, node, symbol)
            if before == -np.inf or (child >= 0 and position[child] >= 0):  # the latter is among the first
                continue
            if child >= 0:
                score = before + model_scores[child]
            else:
                gain, _, _, grammar, _ = _extend(models, tree, node, symbol)
                if grammar < 0:
                    continue
                score = before + model_scores[node] + gain
            if score >= best - beam_threshold:
                scores[count], candidates[count, 0], candidates[count, 1] = score, i, symbol
                count += 1
                best = max(best, score)
    return count, best


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
    model_scores: np.ndarray,
    position: np.ndarray,
    candidates: np.ndarray,
    scores: np.ndarray,
    ranked: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Search all frames; fills in `counts`: prefixes in the tree, size of the last beam, and which of the two it is."""
    nodes, size, now = 1, 1, 0
    for frame in range(len(logs)):
        row, beam, old, new = logs[frame], beams[now], paths[now], paths[1 - now]
        count, best = _step(
            models, row, beam, size, old, tree, model_scores, position, candidates, scores, token_floor, beam_threshold
        )
        floor, equal = best - beam_threshold, count
        if count > width:
            cut = score_of_rank(scores, count, width, ranked)
            if cut >= floor:  # of candidates whose score equals that of the last rank, the first ones are kept
                floor, equal = cut, width
                for j in range(count):
                    equal -= scores[j] > cut
        for i in range(size):
            position[beam[i]] = -1
        size = 0
        for j in range(count):
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
                    _add_child(models, tree, model_scores, position, node, symbol, child)
                node = child
            beams[1 - now, size] = node
            size += 1
        now = 1 - now
        for i in range(size):
            position[beams[now, i]] = i
    for i in range(size):
        node = beams[now, i]
        paths[now, i, 2] = log_add(paths[now, i, 0], paths[now, i, 1])
        paths[now, i, 3] = model_scores[node] + _finish(models, tree, node)
    counts[0], counts[1], counts[2] = nodes, size, now


def prefixes(
    logs: np.ndarray, width: int, token_floor: float, beam_threshold: float, models: Models
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prefix search over the frames of one utterance.

    Args:
        logs: float64 `(frames, vocabulary)`, log-softmax.
        width: Prefixes kept after each frame.
        token_floor: Symbols with a lower log-probability are not tried in a frame, except for the most probable one.
        beam_threshold: Prefixes whose score is this much below the best one's are dropped.
        models: The other models that score a prefix.

    Returns:
        The tree `(nodes, 8)`; and for the prefixes kept to the end, their nodes, log-probabilities of all their paths,
        and scores of the models, with the end of the sentence (-inf if it is not allowed).
    """
    frames, vocabulary = logs.shape
    # Each frame adds at most `width` prefixes, usually far fewer; memory that is never written to costs nothing.
    room = 1 + frames * width
    tree, model_scores, position = np.empty((room, 8), np.int32), np.empty(room), np.empty(room, np.int32)
    tree[0] = [-1, -1, -1, -1, models.ints[BEGIN], NO_WORD, 0, 0]
    model_scores[0], position[0] = 0.0, 0
    beams = np.zeros((2, width), np.int32)
    # Log-probabilities of a prefix's paths: ending in a blank, not ending in one, all; and the first two at the next
    # frame.
    paths = np.full((2, width, 5), -np.inf)
    paths[0, 0, 0] = 0.0
    candidates, scores = np.empty((width * vocabulary, 2), np.int32), np.empty(width * vocabulary)
    counts = np.zeros(3, np.int64)
    _search(
        logs, width, token_floor, beam_threshold, models, beams, paths, tree, model_scores, position, candidates,
        scores, np.empty_like(scores), counts,
    )  # fmt: skip
    nodes, size, now = counts.tolist()
    return tree[:nodes], beams[now, :size], paths[now, :size, 2], paths[now, :size, 3]
