"""Converts grammars and boosted phrases from automata over characters to tables over the words of a lexicon."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding.automata import Boost, Grammar
from speechrnn.decoding.lexicon_models import BoostTables, GrammarTables
from speechrnn.text import Vocabulary
from speechrnn.text.prefix_tree import PrefixTree

_MAX_ARCS = 2_000_000


class Words(NamedTuple):
    """The words of a lexicon."""

    indices: Mapping[str, int]
    letters: Vocabulary
    """The characters of the words, and the space."""
    tree: PrefixTree
    """Prefix tree of their pronunciations."""
    nodes: Sequence[np.ndarray]
    """The last nodes of each word's pronunciations."""


NO_GRAMMAR = GrammarTables(np.zeros((2, 0), np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
"""Allows everything."""
NO_BOOST = BoostTables(np.zeros((2, 1), np.int32), np.zeros((0, 1), np.int32), np.zeros((0, 1)), np.zeros((0, 1)))


def grammar_tables(grammar: Grammar, lexicon: Words) -> GrammarTables:
    """Convert a grammar to words.

    Raises:
        ValueError: The grammar has a word that the lexicon lacks, or over 2,000,000 pairs of a state and a word.
    """
    space = lexicon.letters.encode(" ")[0]
    table: Any = grammar.next.tolist()
    states = {(0, bool(grammar.ends[0])): 0}  # the state before the next word's letters, and whether the text may end
    keys, nexts, nodes, count = [], [], [], 0
    width = len(lexicon.tree.first)
    for number, (before, _) in enumerate(queue := list(states)):
        spellings = _spellings(table[before], lambda s, letter: table[s][letter], lexicon, space) if before >= 0 else ()
        word_nodes = []
        for word, state in spellings:
            if not grammar.ends[state] and table[state][space] < 0:
                continue  # an incomplete word
            index = _index(word, lexicon, "word of a grammar")
            after = (table[state][space], bool(grammar.ends[state]))
            if after not in states:
                states[after] = len(states)
                queue.append(after)
            keys.append(number * len(lexicon.nodes) + index)
            nexts.append(states[after])
            word_nodes.append(lexicon.nodes[index])
            count += 1
            if count > _MAX_ARCS:
                raise ValueError(
                    f"A grammar must have at most {_MAX_ARCS:,} pairs of a state and a word that may follow. "
                    "Received: one with more. Use fewer words, or fewer places where they may stand."
                )
        if word_nodes:
            nodes.append(number * width + lexicon.tree.paths(np.concatenate(word_nodes)).astype(np.int64))
    order = np.argsort(keys)
    words = np.array([keys, nexts], np.int64).reshape(2, -1)[:, order]
    ends = np.array([end for _, end in states], np.bool_)
    return GrammarTables(np.ascontiguousarray(words), np.concatenate([*nodes, np.zeros(0, np.int64)]), ends)


def boost_tables(boost: Boost, lexicon: Words) -> BoostTables:
    """Convert boosted phrases to words; phrases with a word that the lexicon lacks have no effect."""
    size = len(lexicon.nodes), len(lexicon.tree.symbols)
    space = lexicon.letters.encode(" ")[0]
    no_phrase = _state_without_phrase(boost, space)
    states, rows = [0], []  # after a space
    for state in states:
        row: dict[int, tuple[int, float]] = {}
        for word, (end, gain) in _spellings(
            [(int(s), float(g)) for s, g in zip(boost.next[state], boost.gain[state], strict=True)],
            lambda s, letter: (int(boost.next[s[0], letter]), s[1] + float(boost.gain[s[0], letter])),
            lexicon, space, dead=lambda s: s[0] == no_phrase,
        ):  # fmt: skip
            after = int(boost.next[end, space])
            if word in lexicon.indices:
                row[lexicon.indices[word]] = after, gain + float(boost.gain[end, space])
                if after not in states:
                    states.append(after)
        rows.append(row)
    words: list[int] = sorted({word for row in rows for word in row})
    nodes = lexicon.tree.paths(np.concatenate([*(lexicon.nodes[w] for w in words), np.zeros(0, np.int32)]))
    columns = np.zeros((2, max(size)), np.int32)
    columns[0], columns[1] = len(words), len(nodes)
    columns[0, words], columns[1, nodes] = np.arange(len(words)), np.arange(len(nodes))
    numbers = {state: i for i, state in enumerate(states)}
    # Any other word ends a phrase, like the end of the text.
    final = boost.final[states]
    nexts, gains = np.zeros((len(states), len(words) + 1), np.int32), np.repeat(final[:, None], len(words) + 2, axis=1)
    ahead = np.repeat(final[:, None], len(nodes) + 1, axis=1)
    for i, row in enumerate(rows):
        for index, (after, gain) in row.items():
            nexts[i, columns[0, index]], gains[i, columns[0, index]] = numbers[after], gain
            passed = columns[1, lexicon.tree.paths(lexicon.nodes[index])]
            ahead[i, passed] = np.maximum(ahead[i, passed], gain)
    return BoostTables(columns, nexts, gains, ahead)


def _state_without_phrase(boost: Boost, space: int) -> int:
    """The state within a word at which no phrase is possible: every letter leads back to it."""
    letters = np.delete(boost.next, [0, space], axis=1)
    return int((letters == np.arange(len(letters))[:, None]).all(axis=1).argmax())


def _spellings(
    row: list, step: Callable, lexicon: Words, space: int, *, dead: Callable = lambda state: state < 0
) -> Iterator[tuple[str, Any]]:
    """All strings without a space that can be spelled from a row of next states, and the states after them."""
    symbols = ["", *lexicon.letters.symbols]
    stack = [(symbols[i], s) for i, s in enumerate(row) if i not in (0, space) and not dead(s)]
    while stack:
        word, state = stack.pop()
        yield word, state
        for letter in range(1, len(symbols)):
            if letter != space and not dead(after := step(state, letter)):
                stack.append((word + symbols[letter], after))


def _index(word: str, lexicon: Words, noun: str) -> int:
    if word not in lexicon.indices:
        raise ValueError(
            f"A {noun} must be in the lexicon. Received: {word!r}, which it lacks. Add its pronunciation, or leave the "
            "word out."
        )
    return lexicon.indices[word]
