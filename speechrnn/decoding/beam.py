"""CTC prefix beam search, with a language model, a grammar and boosted phrases."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from speechrnn.decoding import search, viterbi
from speechrnn.decoding.alignment import log_softmax, path_of
from speechrnn.decoding.automata import Boost, Grammar
from speechrnn.decoding.best_path import Path
from speechrnn.decoding.lm.ngram import BEGIN, END, UNKNOWN, NGram, constants
from speechrnn.text import Vocabulary, prefix_tree

_log = logging.getLogger(__name__)
_LEAST = -1e6
"""Log probability in place of minus infinity."""


@dataclass(frozen=True)
class Hypothesis:
    """One of the n best."""

    ids: tuple[int, ...]
    """Vocabulary indices."""
    text: str
    score: float
    """What the search ranks by: `ctc`, and what models, grammar and boosts add."""
    ctc: float
    """Natural logarithm of the probability of all the paths of `ids` that the search kept."""


@dataclass(frozen=True)
class WordHypothesis(Hypothesis):
    """One of the n best, in words; `ids` are the symbols of their pronunciations."""

    words: tuple[str, ...]
    lengths: tuple[int, ...]
    """How many of the symbols are each word's."""


@runtime_checkable
class Ranking(Protocol):
    """A decoder that keeps several texts."""

    def __call__(self, logits: np.ndarray, /) -> Path:
        """The best text of one utterance, with its frames.

        Args:
            logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank. There may be no frames.
        """
        return self.path(logits, self.n_best(logits, 1)[0])

    def n_best(self, logits: np.ndarray, n: int = 10) -> Sequence[Hypothesis]:
        """The best texts of one utterance, the best first."""

    def path(self, logits: np.ndarray, hypothesis: Any) -> Path:
        """The frames of a text that `n_best` gave for the same logits."""


class Search(Ranking, Protocol):
    """Finds texts in logits; `BeamSearch`, or `speechrnn.decoding.lexicon.LexiconSearch`."""

    language_model: NGram | None

    @property
    def characters(self) -> str:
        """What texts may be made of."""

    def weighted(self, *, lm_weight: float, word_bonus: float) -> Search:
        """The same search with other weights."""


def check(width: int, beam_threshold: float, **weights: float) -> None:
    """Refuse numbers that no search can work with.

    Raises:
        ValueError: The width or the threshold is not positive, or a weight is not finite.
    """
    if width < 1 or not beam_threshold > 0:
        raise ValueError(
            "`width` (--beam) must be at least 1 and `beam_threshold` positive. "
            f"Received: width={width}, beam_threshold={beam_threshold}."
        )
    if not np.isfinite(list(weights.values())).all():
        raise ValueError(f"Weights and bonuses must be finite. Received: {weights}.")


class BeamSearch(Search):
    """Prefix beam search over CTC logits (Hannun et al. 2014, algorithm 1; Graves 2012, section 7.5.3).

    A text's score is `log P_ctc(text) + lm_weight log P_lm(text)`, `word_bonus` for each word, `unknown_score` for each
    word that is unknown, and the boosts of its phrases. Called with logits it gives the best text as a `Path`, its
    frames found by forced alignment, so it takes the place of `greedy`. Without pruning, and with the width large
    enough, it is exact.

    Args:
        vocabulary: Of the model whose logits are searched.
        width: Prefixes kept after each frame.
        token_floor: Symbols whose log probability in a frame is lower are not tried there; the likeliest always is.
            With a grammar all are.
        beam_threshold: Prefixes whose score is this much below the best are dropped.
        language_model: Over words or characters.
        lm_weight: Of the language model's log probabilities.
        word_bonus: Added for each word; the language model makes longer texts less likely, and this makes up for it.
        unknown_score: Added for each word that the language model does not know (for each character, if it is over
            those), as soon as that is clear.
        grammar: The texts that are allowed. If none of them is left at the end, the longest allowed beginning is
            taken, which may be empty.
        boost: Phrases that are made likelier.

    Raises:
        ValueError: The width is not positive, a weight is not finite, or no word of the language model can be written
            with the vocabulary.

    Example:
    >>> search = BeamSearch(Vocabulary("ab"), width=8)
    >>> logits = np.log([[0.6, 0.4, 1e-9], [0.6, 0.4, 1e-9]])
    >>> [(h.text, round(float(np.exp(h.ctc)), 3)) for h in search.n_best(logits, 2)]
    [('a', 0.64), ('', 0.36)]
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        width: int = 64,
        token_floor: float = -6.0,
        beam_threshold: float = 12.0,
        language_model: NGram | None = None,
        lm_weight: float = 0.5,
        word_bonus: float = 0.0,
        unknown_score: float = -8.0,
        grammar: Grammar | None = None,
        boost: Boost | None = None,
    ) -> None:
        check(width, beam_threshold, lm_weight=lm_weight, word_bonus=word_bonus, unknown_score=unknown_score)
        self.vocabulary, self.width = vocabulary, int(width)
        self.token_floor, self.beam_threshold = token_floor, beam_threshold
        self.language_model, self.lm_weight = language_model, lm_weight
        self.word_bonus, self.unknown_score = word_bonus, unknown_score
        self.grammar, self.boost = grammar, boost
        self._lexicon = _lexicon(language_model, vocabulary.letters)

    @property
    def characters(self) -> str:
        """What texts are made of."""
        return "".join(self.vocabulary.letters.symbols)

    def path(self, logits: np.ndarray, hypothesis: Hypothesis) -> Path:
        """The frames of a text that `n_best` gave for the same logits."""
        # A beginning of a text, all that a grammar left, may be ruled out; what is finite has a path nevertheless.
        logs, symbols = np.maximum(log_softmax(logits), _LEAST), np.array(hypothesis.ids, np.int32)
        return path_of(logs, symbols, viterbi.best_states(logs, symbols))

    def n_best(self, logits: np.ndarray, n: int = 10) -> list[Hypothesis]:
        """The best texts of one utterance, the best first; at least one, at most `n`, no more than the width.

        Raises:
            ValueError: `logits` are not `(frames, vocabulary)` numbers, or `n` is not positive.
        """
        if n < 1:
            raise ValueError(f"`n` must be at least 1. Received: n={n}.")
        logs = log_softmax(logits, len(self.vocabulary))
        floor = -np.inf if self.grammar else float(self.token_floor)
        tree, nodes, paths, added = search.prefixes(logs, self.width, floor, float(self.beam_threshold), self._models)
        scores = paths + added
        order = np.argsort(-scores, kind="stable")
        found: dict[str, Hypothesis] = {}  # by text, which subwords can write in several ways; the best one stays
        for i in order[scores[order] > -np.inf]:
            hypothesis = self._hypothesis(_symbols(tree, nodes[i]), scores[i], paths[i])
            found.setdefault(hypothesis.text, hypothesis)
            if len(found) == n:
                break
        return list(found.values()) or [self._allowed_beginning(tree, int(nodes[paths.argmax()]))]

    def weighted(self, *, lm_weight: float, word_bonus: float) -> BeamSearch:
        """The same search with other weights."""
        other = copy.copy(self)
        other.lm_weight, other.word_bonus = lm_weight, word_bonus
        other.__dict__["_models"] = self._models._replace(real=other._weights())
        return other

    def _weights(self) -> np.ndarray:
        unknown_log = self.language_model.unknown_log_probability if self.language_model else 0.0
        return np.array([self.lm_weight, self.word_bonus, self.unknown_score, unknown_log])

    def _hypothesis(self, ids: tuple[int, ...], score: float, ctc: float) -> Hypothesis:
        return Hypothesis(ids, self.vocabulary.decode(ids), float(score), float(ctc))

    def _allowed_beginning(self, tree: np.ndarray, node: int) -> Hypothesis:
        """The longest beginning of a prefix that is an allowed text."""
        ends = self.grammar.ends if self.grammar else np.ones(1, np.bool_)
        while node and not ends[tree[node, search.GRAMMAR]]:
            node = int(tree[node, search.PARENT])
        return self._hypothesis(_symbols(tree, node), -np.inf, -np.inf)

    @cached_property
    def _models(self) -> Any:
        characters = self.vocabulary.letters
        size = len(characters)
        space = characters.encode(" ")[0] if not characters.missing(" ") else -1
        written = [characters.encode(spelling) for spelling in self.vocabulary.spellings]
        letters_of = np.full((len(written), max(map(len, written))), -1, np.int32)
        for row, indices in zip(letters_of, written, strict=True):
            row[: len(indices)] = indices
        lm, grammar, boost = self.language_model, self.grammar, self.boost
        kind = search.NONE if lm is None else search.CHARACTERS if lm.characters else search.WORDS
        symbols = np.full(size, -1, np.int32)
        if lm is not None and lm.characters:
            names = [lm.space if symbol == " " else symbol for symbol in characters.symbols]
            symbols[1:] = [lm.indices.get(name, -1) for name in names]
        return search.Models(
            whole=np.array([kind, *constants(lm), space, characters is not self.vocabulary]),
            real=self._weights(),
            gram_whole=lm.whole if lm else np.zeros(0, np.int32),
            gram_real=lm.real if lm else np.zeros(0),
            letters=letters_of,
            lexicon=self._lexicon,
            symbol_words=symbols,
            grammar=_with_first_column(grammar.next, grammar.ends) if grammar else np.zeros((0, size), np.int32),
            boost_next=boost.next if boost else np.zeros((0, size), np.int32),
            boost_gain=_with_first_column(boost.gain, boost.final) if boost else np.zeros((0, size)),
        )


def _with_first_column(table: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A table of symbols, the blank's column of which says something else."""
    return np.column_stack([column.astype(table.dtype), table[:, 1:]])


def _symbols(tree: np.ndarray, node: int) -> tuple[int, ...]:
    """The symbols on the way from the root to a node."""
    found = []
    while node:
        found.append(int(tree[node, 1]))
        node = int(tree[node, 0])
    return tuple(reversed(found))


def _lexicon(model: NGram | None, vocabulary: Vocabulary) -> np.ndarray:
    """The model's words as a tree over the vocabulary, see `search.Models.lexicon`."""
    empty = np.array([[0, 0], [0, -1], [-1, -1]], np.int32)
    if model is None:
        return empty
    if model.characters:
        _check_characters(model, vocabulary)
        return empty
    spelled, lacking = _spelled(model, vocabulary)
    if not spelled:
        raise ValueError(
            f"A language model's words must be written with the model's characters {''.join(vocabulary.symbols)!r}. "
            f"Received: no such word; they have {_some(lacking)}. Train it on text like the model's."
        )
    if lacking:
        words = len(model.words) - len({UNKNOWN, BEGIN, END} & set(model.words)) - len(spelled)
        _log.warning(
            "%d words of the language model have characters that the model cannot write (%s); they are left out.",
            words,
            _some(lacking),
        )
    ids, indices = zip(*spelled, strict=True)
    tree = prefix_tree.build(ids)
    table = np.full((3, len(tree.first)), -1, np.int32)
    table[search.FIRST], table[search.LETTER, :-1] = tree.first, tree.symbols
    table[search.SPELLED, tree.nodes] = indices
    return table


def _spelled(model: NGram, vocabulary: Vocabulary) -> tuple[list[tuple[list[int], int]], set[str]]:
    """The words that can be written, as indices; and the characters that others would need."""
    spelled, lacking = [], set()
    for index, word in enumerate(model.words):
        if word not in (UNKNOWN, BEGIN, END):
            missing = vocabulary.missing(word)
            lacking |= missing
            if not missing:
                spelled.append((vocabulary.encode(word), index))
    return spelled, lacking


def _check_characters(model: NGram, vocabulary: Vocabulary) -> None:
    known = set(vocabulary.symbols) - {" "}
    given = {word for word in model.words if len(word) == 1}
    if not known & given:
        raise ValueError(
            f"A language model over characters must have the model's {''.join(vocabulary.symbols)!r}. "
            f"Received: {_some(given)}. Train it on text in the form the model was trained on."
        )
    if given - known - {model.space}:
        _log.warning(
            "The language model has characters that the model cannot write (%s); they are left out.",
            _some(given - known - {model.space}),
        )


def _some(characters: Sequence[str] | set[str]) -> str:
    return " ".join(map(repr, sorted(characters)[:20]))
