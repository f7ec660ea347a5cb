"""CTC beam search for words: a lexicon says how each one is pronounced, a language model which ones are likely."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from itertools import pairwise, repeat

import numpy as np

from speechrnn.decoding import lexicon_models
from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.automata import Boost, Grammar
from speechrnn.decoding.beam import Hypothesis, Search, WordHypothesis, check
from speechrnn.decoding.best_path import WordPath
from speechrnn.decoding.lexicon_stream import LexiconStream, Space
from speechrnn.decoding.lm.ngram import BEGIN, END, UNKNOWN, NGram, constants
from speechrnn.decoding.word_automata import NO_BOOST, NO_GRAMMAR, Words, boost_tables, grammar_tables
from speechrnn.text import Vocabulary
from speechrnn.text.packed import Pronunciation, Pronunciations

_log = logging.getLogger(__name__)


def letters_of(words: Iterable[str]) -> Vocabulary:
    """The characters of words and the space between them: what boosts and grammars for a lexicon are made over."""
    return Vocabulary.from_texts([" ", *words])


class LexiconSearch(Search):
    """Prefix beam search over CTC logits into the words of a lexicon.

    The score of words pronounced in one way is `log P_ctc(symbols)`, all its paths summed, plus `lm_weight log
    P_lm(words)`, `word_bonus` for each word, `unknown_score` for each that the language model does not know, the
    logarithms of the pronunciations' probabilities and the boosts of phrases; that of a text is its best way's. The
    pronunciations are a tree (Ney et al. 1992), in which the language model looks ahead (Ortmanns et al. 1996): a word
    that has begun is scored as the likeliest one after those before it that it may become, unigrams and longer
    n-grams alike. Without pruning, and with the width large enough, the search is exact.

    Called with logits it gives the best text as a `WordPath`, its frames found by forced alignment, so it takes the
    place of `greedy`.

    Args:
        vocabulary: Of the model whose logits are searched.
        pronunciations: Of the words, several ones for each if there are; words that sound alike may share one.
        width: Prefixes kept after each frame.
        token_floor: Symbols whose log probability in a frame is lower are not tried there; the likeliest always is.
        beam_threshold: Prefixes whose score is this much below the best are dropped.
        language_model: Over words.
        lm_weight: Of the language model's log probabilities.
        word_bonus: Added for each word.
        unknown_score: Added for each word that the language model does not know; with minus infinity they are left out.
        separator: A symbol between words, such as a silence, which may also be there before and after them.
        separated: Whether it must be there between words, as a space is; else it may.
        unknown_word: What is written for a word that the lexicon lacks: any symbols, each as likely as the others.
            Its language model's score is that of unknown words. Without it there are none.
        grammar: Over `letters_of` the words: the texts that are allowed. If none of them is left at the end, the
            longest allowed beginning is taken, which may be empty.
        boost: Over the same: phrases that are made likelier.

    Raises:
        ValueError: There are no pronunciations, one is empty or is no list of the vocabulary's symbols without the
            blank and the separator, or has a probability above 1; the language model is over characters, or no word is
            in both; a word of the grammar has no pronunciation; or a number is out of range.

    Example:
    >>> vocabulary = Vocabulary("ABR")
    >>> search = LexiconSearch(vocabulary, [("bar", [2, 1, 3], 0.0), ("a", [1], 0.0)])
    >>> search.n_best(9.0 * np.eye(4)[[2, 0, 1, 1, 3]], 1)[0].text
    'bar'
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        pronunciations: Iterable[Pronunciation],
        *,
        width: int = 64,
        token_floor: float = -9.0,
        beam_threshold: float = 16.0,
        language_model: NGram | None = None,
        lm_weight: float = 1.0,
        word_bonus: float = 0.0,
        unknown_score: float = -8.0,
        separator: int | None = None,
        separated: bool = False,
        unknown_word: str | None = None,
        grammar: Grammar | None = None,
        boost: Boost | None = None,
    ) -> None:
        # Minus infinity rules unknown words out.
        unknown = {} if unknown_score == -np.inf else {"unknown_score": unknown_score}
        check(width, beam_threshold, lm_weight=lm_weight, word_bonus=word_bonus, **unknown)
        if separated and separator is None:
            raise ValueError("`separated` needs a `separator`. Received none.")
        self.vocabulary, self.width = vocabulary, int(width)
        self.token_floor, self.beam_threshold = token_floor, beam_threshold
        self.language_model, self.lm_weight = language_model, lm_weight
        self.word_bonus, self.unknown_score = word_bonus, unknown_score
        self.separator, self.separated, self.unknown_word = separator, separated, unknown_word
        self.grammar, self.boost = grammar, boost
        held = _checked(pronunciations, vocabulary, separator)
        self._spoken = held.words
        for automaton in (grammar, boost):
            if automaton is not None and automaton.next.shape[1] != len(self.letters):
                raise ValueError(
                    f"A grammar or boost for a lexicon must be over its words' {len(self.letters)} letters, as "
                    f"`letters_of` gives them. Received: one over {automaton.next.shape[1]}."
                )
        if language_model is not None:
            held = _known(held, language_model, keep_others=unknown_score > -np.inf)
        self._held = held
        # Here, so that a word that the lexicon lacks is an error before any recording is read.
        self._allowed = NO_GRAMMAR if grammar is None else grammar_tables(grammar, self._dictionary)

    @property
    def words(self) -> tuple[str, ...]:
        """All that can be recognized, an unknown word apart."""
        return self._held.words

    @cached_property
    def letters(self) -> Vocabulary:
        """What grammars and boosts are over."""
        return letters_of(self._spoken)

    @property
    def characters(self) -> str:
        """What texts may be made of."""
        return "".join({*self.letters.symbols, *(self.unknown_word or "")})

    def path(self, logits: np.ndarray, hypothesis: Hypothesis) -> WordPath:
        """The frames of a text that `n_best` gave for the same logits."""
        if not isinstance(hypothesis, WordHypothesis):
            raise TypeError(f"A hypothesis of this search is needed. Received: {type(hypothesis).__name__}.")
        return self._space.aligned(log_softmax(logits), hypothesis, whole=True)

    def n_best(self, logits: np.ndarray, n: int = 10) -> list[WordHypothesis]:
        """The best texts of one utterance, the best first; at least one, at most `n`, no more than the width.

        They are those of two searches: one that recombines prefixes, which finds the best text, as a call does, and one
        that does not, which finds the others; see `LexiconStream`.

        Raises:
            ValueError: `logits` are not `(frames, vocabulary)` numbers, or `n` is not positive.
        """
        if n < 1:
            raise ValueError(f"`n` must be at least 1. Received: n={n}.")
        best = self._searched(logits, 1)
        if n == 1:
            return best
        by_text: dict[str, WordHypothesis] = {}
        for found in sorted([*self._searched(logits, n), *best], key=lambda found: -found.score):
            by_text.setdefault(found.text, found)
        return list(by_text.values())[:n]

    def _searched(self, logits: np.ndarray, n: int) -> list[WordHypothesis]:
        stream = LexiconStream(self._space, recombine=n == 1)
        stream.search_through(logits)
        return stream.n_best(n)

    def stream(self) -> LexiconStream:
        """A search through logits that come piece by piece."""
        return LexiconStream(self._space)

    def weighted(self, *, lm_weight: float, word_bonus: float) -> LexiconSearch:
        """The same search with other weights."""
        other = copy.copy(self)
        other.lm_weight, other.word_bonus = lm_weight, word_bonus
        other.__dict__["_space"] = replace(self._space, models=self._space.models._replace(real=other._weights()))
        return other

    def _weights(self) -> np.ndarray:
        lm = self.language_model
        spelling = -(self.lm_weight if lm else 1.0) * np.log(len(self.vocabulary) - 1)
        unknown = self.unknown_score if lm or self.unknown_score > -np.inf else 0.0
        unknown_log = lm.unknown_log_probability if lm else 0.0
        return np.array([self.lm_weight, self.word_bonus, unknown, unknown_log, spelling], np.float64)

    @cached_property
    def _space(self) -> Space:
        floor = -np.inf if self.grammar else float(self.token_floor)
        return Space(
            self._models(), len(self.vocabulary), self.words, self.unknown_word, self.separator, self.separated,
            self.width, floor, float(self.beam_threshold),
        )  # fmt: skip

    @cached_property
    def _dictionary(self) -> Words:
        held = self._held
        by_word = np.argsort(held.word_of, kind="stable")
        edges = pairwise(np.searchsorted(held.word_of[by_word], np.arange(len(held.words) + 1)).tolist())
        ends = held.tree.nodes[by_word]
        indices = {word: i for i, word in enumerate(held.words)}
        return Words(indices, self.letters, held.tree, [ends[a:b] for a, b in edges])

    def _models(self) -> lexicon_models.Models:
        lm, held, tree, order = self.language_model, self._held, self._held.tree, self._held.tree.order
        indices = {} if lm is None else lm.indices
        known_as = map(indices.get, held.words, repeat(-1))
        grams = np.fromiter(known_as, np.int32, len(held.words))[held.word_of]
        unigrams = np.zeros(len(tree.symbols))
        gram_nodes = np.zeros(1, np.int32)
        if lm is not None:
            known = np.flatnonzero(grams >= 0)
            unigrams = tree.maxima(np.where(grams >= 0, lm.log_probabilities[1 + grams], -np.inf))
            known = known[np.argsort(grams[known], kind="stable")]
            starts = np.searchsorted(grams[known], np.arange(len(lm.words) + 1)) + len(lm.words) + 1
            gram_nodes = np.concatenate([starts, tree.nodes[known]]).astype(np.int32)
        trie = np.full((4, len(tree.first)), -1, np.int32)
        trie[lexicon_models.FIRST], trie[lexicon_models.ENDS] = tree.first, tree.ends
        trie[lexicon_models.LETTER, :-1], trie[lexicon_models.UPWARDS, :-1] = tree.symbols, tree.parents
        fills = self.unknown_word is not None and self.grammar is None
        whole = [
            lm is not None, *constants(lm), -1 if self.separator is None else self.separator, self.separated, fills,
            self.grammar is not None, self.boost is not None, len(self.words), 3 + int(np.diff(tree.ends).max()),
        ]  # fmt: skip
        return lexicon_models.Models(
            whole=np.array(whole, np.int64),
            real=self._weights(),
            gram_whole=lm.whole if lm else np.zeros(0, np.int32),
            gram_real=lm.real.astype(np.float32, copy=False) if lm else np.zeros(0, np.float32),
            trie=trie,
            entries=np.stack([held.word_of[order], grams[order]]),
            entry_logs=held.logs[order],
            gram_nodes=gram_nodes,
            unigrams=unigrams,
            grammar=self._allowed,
            boost=NO_BOOST if self.boost is None else boost_tables(self.boost, self._dictionary),
        )


def _known(held: Pronunciations, model: NGram, *, keep_others: bool) -> Pronunciations:
    """The pronunciations of words that the language model knows, or of all; warns of what the lexicon lacks."""
    if model.characters:
        raise ValueError(
            "A search with a lexicon needs a language model over words. Received: one over characters. "
            "Train it without --characters."
        )
    marks = {UNKNOWN, BEGIN, END}
    spoken = marks.union(held.words)
    lacking = [word for word in model.words if word not in spoken]
    total = len(model.words) - len(marks & model.indices.keys())
    if len(lacking) == total:
        raise ValueError(
            "A language model and a lexicon must have words in common. Received: none of the language model's "
            f"{total:,} words has a pronunciation; the first is {lacking[0]!r}. Bring both to the same form."
        )
    if lacking:
        _log.warning(
            "%s of the language model's %s words have no pronunciation in the lexicon and cannot be recognized; "
            "the first is %r.",
            f"{len(lacking):,}", f"{total:,}", lacking[0],
        )  # fmt: skip
    if keep_others or all(word in model.indices for word in held.words):
        return held
    return Pronunciations.of(entry for entry in held if entry[0] in model.indices)


def _checked(given: Iterable[Pronunciation], vocabulary: Vocabulary, separator: int | None) -> Pronunciations:
    """Pronunciations by symbols of a vocabulary.

    Raises:
        ValueError: They are none.
    """
    allowed = set(range(1, len(vocabulary))) - {separator}
    if isinstance(given, Pronunciations):
        if not allowed.issuperset(np.flatnonzero(np.bincount(given.tree.symbols[1:])).tolist()):
            raise ValueError("Pronunciations must be of the vocabulary's symbols, without the separator.")
        return given
    entries = list(given)
    if not entries:
        raise ValueError("A search with a lexicon needs at least one pronunciation. Received none.")
    for word, symbols, log in entries:
        if not len(symbols) or not allowed.issuperset(symbols) or not log <= 0:
            raise ValueError(
                f"A pronunciation must be symbols from 1 to {len(vocabulary) - 1}, at least one and not the separator, "
                f"and the logarithm of its probability at most 0. Received: {word!r} as {list(symbols)!r:.100}, {log}."
            )
        if not word or word.split() != [word]:
            raise ValueError(f"A word of a lexicon must not be empty or have white space in it. Received: {word!r}.")
    return Pronunciations.of(entries)
