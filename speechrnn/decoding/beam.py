"""CTC prefix beam search with a language model, a grammar and boosted phrases."""

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
_MIN_LOG = -1e6
"""Log-probability instead of minus infinity."""


@dataclass(frozen=True)
class Hypothesis:
    """One of the n best texts."""

    ids: tuple[int, ...]
    """Vocabulary indices."""
    text: str
    score: float
    """The score for ranking: `ctc` plus the scores of language model, grammar and boosts."""
    ctc: float
    """Log-probability of `ids` under CTC, over the paths that the search kept."""


@dataclass(frozen=True)
class WordHypothesis(Hypothesis):
    """One of the n best texts of a search with a lexicon; `ids` are the symbols of the pronunciations."""

    words: tuple[str, ...]
    lengths: tuple[int, ...]
    """Number of symbols of each word."""


@runtime_checkable
class Ranking(Protocol):
    """A decoder with an n-best list."""

    def __call__(self, logits: np.ndarray, /) -> Path:
        """The best text of one utterance, with its frames.

        Args:
            logits: float `(frames, vocabulary)`, unnormalized; index 0 is the blank. There may be no frames.
        """
        return self.path(logits, self.n_best(logits, 1)[0])

    def n_best(self, logits: np.ndarray, n: int = 10) -> Sequence[Hypothesis]:
        """The best texts of one utterance, the best first."""

    def path(self, logits: np.ndarray, hypothesis: Any) -> Path:
        """Align a text of `n_best` to the same logits."""


class Search(Ranking, Protocol):
    """A beam search: `BeamSearch`, or `speechrnn.decoding.lexicon.LexiconSearch`."""

    language_model: NGram | None

    @property
    def characters(self) -> str:
        """The characters that texts may have."""

    def weighted(self, *, lm_weight: float, word_bonus: float) -> Search:
        """The same search with other weights."""


def check(width: int, beam_threshold: float, **weights: float) -> None:
    """Refuse invalid options of a search.

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

    The score of a text is `log P_ctc(text) + lm_weight * log P_lm(text)`, plus `word_bonus` for each word,
    `unknown_score` for each unknown word, and the bonuses of boosted phrases. Called with logits it returns the best
    text as a `Path`, like `greedy`; the frames are those of a forced alignment. Without pruning, and with a sufficient
    width, the search is exact.

    Args:
        vocabulary: The model's vocabulary.
        width: Number of prefixes kept after each frame.
        token_floor: Symbols with a lower log-probability in a frame are not tried there, except for the most probable
            one. With a grammar all are tried.
        beam_threshold: Prefixes whose score is this much below the best are dropped.
        language_model: A model over words or characters.
        lm_weight: Weight of the language model's log-probabilities.
        word_bonus: Score added for each word, to compensate for the language model's preference for short texts.
        unknown_score: Score added for each word that the language model does not know (or each character, for a model
            over characters), as soon as this is certain.
        grammar: The allowed texts. If none of them is left at the end, the result is the longest allowed prefix,
            possibly empty.
        boost: Boosted phrases.

    Raises:
        ValueError: The width is not positive, a weight is not finite, or the vocabulary cannot write any word of the
            language model.

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
        """The characters that texts may have."""
        return "".join(self.vocabulary.letters.symbols)

    def path(self, logits: np.ndarray, hypothesis: Hypothesis) -> Path:
        """Align a text of `n_best` to the same logits."""
        # The longest allowed prefix may have no possible path; with finite log-probabilities there is one anyway.
        logs, symbols = np.maximum(log_softmax(logits), _MIN_LOG), np.array(hypothesis.ids, np.int32)
        return path_of(logs, symbols, viterbi.best_states(logs, symbols))

    def n_best(self, logits: np.ndarray, n: int = 10) -> list[Hypothesis]:
        """The best texts of one utterance, the best first; from one to `n`, and no more than the width.

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
        by_text: dict[str, Hypothesis] = {}  # subwords can write a text in several ways, of which the best one is kept
        for i in order[scores[order] > -np.inf]:
            hypothesis = self._hypothesis(_symbols(tree, nodes[i]), scores[i], paths[i])
            by_text.setdefault(hypothesis.text, hypothesis)
            if len(by_text) == n:
                break
        return list(by_text.values()) or [self._allowed_prefix(tree, int(nodes[paths.argmax()]))]

    def weighted(self, *, lm_weight: float, word_bonus: float) -> BeamSearch:
        """The same search with other weights."""
        other = copy.copy(self)
        other.lm_weight, other.word_bonus = lm_weight, word_bonus
        other.__dict__["_models"] = self._models._replace(floats=other._weights())
        return other

    def _weights(self) -> np.ndarray:
        unknown_log = self.language_model.unknown_log_probability if self.language_model else 0.0
        return np.array([self.lm_weight, self.word_bonus, self.unknown_score, unknown_log])

    def _hypothesis(self, ids: tuple[int, ...], score: float, ctc: float) -> Hypothesis:
        return Hypothesis(ids, self.vocabulary.decode(ids), float(score), float(ctc))

    def _allowed_prefix(self, tree: np.ndarray, node: int) -> Hypothesis:
        """The longest prefix of a node's text that is an allowed text."""
        ends = self.grammar.ends if self.grammar else np.ones(1, np.bool_)
        while node and not ends[tree[node, search.GRAMMAR]]:
            node = int(tree[node, search.PARENT])
        return self._hypothesis(_symbols(tree, node), -np.inf, -np.inf)

    @cached_property
    def _models(self) -> Any:
        characters = self.vocabulary.letters
        size = len(characters)
        space = characters.encode(" ")[0] if not characters.missing(" ") else -1
        spellings = [characters.encode(spelling) for spelling in self.vocabulary.spellings]
        letters = np.full((len(spellings), max(map(len, spellings))), -1, np.int32)
        for row, indices in zip(letters, spellings, strict=True):
            row[: len(indices)] = indices
        lm, grammar, boost = self.language_model, self.grammar, self.boost
        kind = search.NONE if lm is None else search.CHARACTERS if lm.characters else search.WORDS
        symbols = np.full(size, -1, np.int32)
        if lm is not None and lm.characters:
            names = [lm.space if symbol == " " else symbol for symbol in characters.symbols]
            symbols[1:] = [lm.indices.get(name, -1) for name in names]
        return search.Models(
            ints=np.array([kind, *constants(lm), space, characters is not self.vocabulary]),
            floats=self._weights(),
            gram_ints=lm.ints if lm else np.zeros(0, np.int32),
            gram_floats=lm.floats if lm else np.zeros(0),
            letters=letters,
            lexicon=self._lexicon,
            symbol_words=symbols,
            grammar=_with_first_column(grammar.next, grammar.ends) if grammar else np.zeros((0, size), np.int32),
            boost_next=boost.next if boost else np.zeros((0, size), np.int32),
            boost_gain=_with_first_column(boost.gain, boost.final) if boost else np.zeros((0, size)),
        )


def _with_first_column(table: np.ndarray, column: np.ndarray) -> np.ndarray:
    """A table of symbols whose column of the blank is replaced."""
    return np.column_stack([column.astype(table.dtype), table[:, 1:]])


def _symbols(tree: np.ndarray, node: int) -> tuple[int, ...]:
    """The symbols from the root to a node."""
    symbols = []
    while node:
        symbols.append(int(tree[node, 1]))
        node = int(tree[node, 0])
    return tuple(reversed(symbols))


def _lexicon(model: NGram | None, vocabulary: Vocabulary) -> np.ndarray:
    """The words of a language model as a prefix tree of characters, see `search.Models.lexicon`."""
    empty = np.array([[0, 0], [0, -1], [-1, -1]], np.int32)
    if model is None:
        return empty
    if model.characters:
        _check_characters(model, vocabulary)
        return empty
    spellings, missing = _spellings(model, vocabulary)
    if not spellings:
        raise ValueError(
            f"A language model's words must be written with the model's characters {''.join(vocabulary.symbols)!r}. "
            f"Received: no such word; they have {_some(missing)}. Train it on text like the model's."
        )
    if missing:
        words = len(model.words) - len({UNKNOWN, BEGIN, END} & set(model.words)) - len(spellings)
        _log.warning(
            "%d words of the language model have characters that the model cannot write (%s); they are left out.",
            words,
            _some(missing),
        )
    ids, indices = zip(*spellings, strict=True)
    tree = prefix_tree.build(ids)
    table = np.full((3, len(tree.first)), -1, np.int32)
    table[search.FIRST], table[search.LETTER, :-1] = tree.first, tree.symbols
    table[search.SPELLED, tree.nodes] = indices
    return table


def _spellings(model: NGram, vocabulary: Vocabulary) -> tuple[list[tuple[list[int], int]], set[str]]:
    """The words that the vocabulary can write, encoded, with their indices; and the missing characters of others."""
    spellings, all_missing = [], set()
    for index, word in enumerate(model.words):
        if word not in (UNKNOWN, BEGIN, END):
            missing = vocabulary.missing(word)
            all_missing |= missing
            if not missing:
                spellings.append((vocabulary.encode(word), index))
    return spellings, all_missing


def _check_characters(model: NGram, vocabulary: Vocabulary) -> None:
    known = set(vocabulary.symbols) - {" "}
    characters = {word for word in model.words if len(word) == 1}
    if not known & characters:
        raise ValueError(
            f"A language model over characters must have the model's {''.join(vocabulary.symbols)!r}. "
            f"Received: {_some(characters)}. Train it on text in the form the model was trained on."
        )
    if characters - known - {model.space}:
        _log.warning(
            "The language model has characters that the model cannot write (%s); they are left out.",
            _some(characters - known - {model.space}),
        )


def _some(characters: Sequence[str] | set[str]) -> str:
    return " ".join(map(repr, sorted(characters)[:20]))
