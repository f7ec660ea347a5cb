"""CTC beam search for words, with a pronunciation lexicon and a language model."""

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
from speechrnn.decoding.lexicon_stream import LexiconStream, SearchOptions
from speechrnn.decoding.lm.ngram import BEGIN, END, UNKNOWN, NGram, constants
from speechrnn.decoding.word_automata import NO_BOOST, NO_GRAMMAR, Words, boost_tables, grammar_tables
from speechrnn.text import Vocabulary
from speechrnn.text.packed import Pronunciation, Pronunciations

_log = logging.getLogger(__name__)


def letters_of(words: Iterable[str]) -> Vocabulary:
    """The characters of words and the space: the vocabulary of boosts and grammars for a lexicon."""
    return Vocabulary.from_texts([" ", *words])


class LexiconSearch(Search):
    """Prefix beam search over CTC logits into the words of a lexicon.

    The score of a sequence of pronunciations is `log P_ctc(symbols)`, over all paths, plus `lm_weight * log
    P_lm(words)`, `word_bonus` for each word, `unknown_score` for each word that the language model does not know, the
    log-probabilities of the pronunciations, and the bonuses of boosted phrases; the score of a text is that of its best
    pronunciation. The pronunciations are a prefix tree (Ney et al. 1992) with language model look-ahead (Ortmanns et
    al. 1996): an incomplete word is scored as the most probable word that it may become in its context, by n-grams of
    all orders. Without pruning, and with a sufficient width, the search is exact.

    Called with logits it returns the best text as a `WordPath`, like `greedy`; the frames are those of a forced
    alignment.

    Args:
        vocabulary: The model's vocabulary.
        pronunciations: One or more pronunciations of each word; homophones may share one.
        width: Number of prefixes kept after each frame.
        token_floor: Symbols with a lower log-probability in a frame are not tried there, except for the most probable
            one.
        beam_threshold: Prefixes whose score is this much below the best are dropped.
        language_model: A model over words.
        lm_weight: Weight of the language model's log-probabilities.
        word_bonus: Score added for each word.
        unknown_score: Score added for each word that the language model does not know; minus infinity excludes them.
        separator: A symbol between words, such as silence, which may also occur at both ends.
        separated: Whether the separator is required between words, like a space, or optional.
        unknown_word: Text for a word that the lexicon lacks, which may have any symbols, all equally probable. The
            language model scores it as an unknown word. Without it there are no such words.
        grammar: The allowed texts, over `letters_of` the words. If none of them is left at the end, the result is the
            longest allowed prefix, possibly empty.
        boost: Boosted phrases, over `letters_of` the words.

    Raises:
        ValueError: There are no pronunciations, one is empty, has a symbol outside the vocabulary, the blank or the
            separator, or a probability above 1; the language model is over characters, or has no word of the lexicon; a
            word of the grammar has no pronunciation; or a number is out of range.

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
        # Minus infinity excludes unknown words.
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
        pronunciations = _checked(pronunciations, vocabulary, separator)
        self._all_words = pronunciations.words
        for automaton in (grammar, boost):
            if automaton is not None and automaton.next.shape[1] != len(self.letters):
                raise ValueError(
                    f"A grammar or boost for a lexicon must be over its words' {len(self.letters)} letters, as "
                    f"`letters_of` gives them. Received: one over {automaton.next.shape[1]}."
                )
        if language_model is not None:
            pronunciations = _known(pronunciations, language_model, keep_others=unknown_score > -np.inf)
        self._pronunciations = pronunciations
        # Compiled here, so that a word that the lexicon lacks is an error before any recording is read.
        self._grammar_tables = NO_GRAMMAR if grammar is None else grammar_tables(grammar, self._dictionary)

    @property
    def words(self) -> tuple[str, ...]:
        """All words that can be recognized, without the unknown word."""
        return self._pronunciations.words

    @cached_property
    def letters(self) -> Vocabulary:
        """The vocabulary of grammars and boosts."""
        return letters_of(self._all_words)

    @property
    def characters(self) -> str:
        """The characters that texts may have."""
        return "".join({*self.letters.symbols, *(self.unknown_word or "")})

    def path(self, logits: np.ndarray, hypothesis: Hypothesis) -> WordPath:
        """Align a text of `n_best` to the same logits."""
        if not isinstance(hypothesis, WordHypothesis):
            raise TypeError(f"A hypothesis of this search is needed. Received: {type(hypothesis).__name__}.")
        return self._options.align(log_softmax(logits), hypothesis, final=True)

    def n_best(self, logits: np.ndarray, n: int = 10) -> list[WordHypothesis]:
        """The best texts of one utterance, the best first; from one to `n`, and no more than the width.

        They come from two searches: one that recombines prefixes, for the best text, which a call returns too, and one
        that does not, for the others; see `LexiconStream`.

        Raises:
            ValueError: `logits` are not `(frames, vocabulary)` numbers, or `n` is not positive.
        """
        if n < 1:
            raise ValueError(f"`n` must be at least 1. Received: n={n}.")
        best = self._search(logits, 1)
        if n == 1:
            return best
        by_text: dict[str, WordHypothesis] = {}
        for hypothesis in sorted([*self._search(logits, n), *best], key=lambda hypothesis: -hypothesis.score):
            by_text.setdefault(hypothesis.text, hypothesis)
        return list(by_text.values())[:n]

    def _search(self, logits: np.ndarray, n: int) -> list[WordHypothesis]:
        stream = LexiconStream(self._options, recombine=n == 1)
        stream.search_through(logits)
        return stream.n_best(n)

    def stream(self) -> LexiconStream:
        """Start a search through logits that arrive in blocks."""
        return LexiconStream(self._options)

    def weighted(self, *, lm_weight: float, word_bonus: float) -> LexiconSearch:
        """The same search with other weights."""
        other = copy.copy(self)
        other.lm_weight, other.word_bonus = lm_weight, word_bonus
        models = self._options.models._replace(floats=other._weights())
        other.__dict__["_options"] = replace(self._options, models=models)
        return other

    def _weights(self) -> np.ndarray:
        lm = self.language_model
        spelling = -(self.lm_weight if lm else 1.0) * np.log(len(self.vocabulary) - 1)
        unknown = self.unknown_score if lm or self.unknown_score > -np.inf else 0.0
        unknown_log = lm.unknown_log_probability if lm else 0.0
        return np.array([self.lm_weight, self.word_bonus, unknown, unknown_log, spelling], np.float64)

    @cached_property
    def _options(self) -> SearchOptions:
        floor = -np.inf if self.grammar else float(self.token_floor)
        return SearchOptions(
            self._models(), len(self.vocabulary), self.words, self.unknown_word, self.separator, self.separated,
            self.width, floor, float(self.beam_threshold),
        )  # fmt: skip

    @cached_property
    def _dictionary(self) -> Words:
        entries = self._pronunciations
        by_word = np.argsort(entries.word_of, kind="stable")
        edges = pairwise(np.searchsorted(entries.word_of[by_word], np.arange(len(entries.words) + 1)).tolist())
        ends = entries.tree.nodes[by_word]
        indices = {word: i for i, word in enumerate(entries.words)}
        return Words(indices, self.letters, entries.tree, [ends[a:b] for a, b in edges])

    def _models(self) -> lexicon_models.Models:
        lm, entries, tree = self.language_model, self._pronunciations, self._pronunciations.tree
        indices = {} if lm is None else lm.indices
        lm_indices = map(indices.get, entries.words, repeat(-1))
        grams = np.fromiter(lm_indices, np.int32, len(entries.words))[entries.word_of]
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
        trie[lexicon_models.LETTER, :-1], trie[lexicon_models.PARENT_NODE, :-1] = tree.symbols, tree.parents
        unknown_words = self.unknown_word is not None and self.grammar is None
        ints = [
            lm is not None, *constants(lm), -1 if self.separator is None else self.separator, self.separated,
            unknown_words, self.grammar is not None, self.boost is not None, len(self.words), 3 +
            int(np.diff(tree.ends).max()),
        ]  # fmt: skip
        return lexicon_models.Models(
            ints=np.array(ints, np.int64),
            floats=self._weights(),
            gram_ints=lm.ints if lm else np.zeros(0, np.int32),
            gram_floats=lm.floats.astype(np.float32, copy=False) if lm else np.zeros(0, np.float32),
            trie=trie,
            entries=np.stack([entries.word_of[tree.order], grams[tree.order]]),
            entry_logs=entries.logs[tree.order],
            gram_nodes=gram_nodes,
            unigrams=unigrams,
            grammar=self._grammar_tables,
            boost=NO_BOOST if self.boost is None else boost_tables(self.boost, self._dictionary),
        )


def _known(entries: Pronunciations, model: NGram, *, keep_others: bool) -> Pronunciations:
    """The pronunciations of words that the language model knows, or of all; warns of words that the lexicon lacks."""
    if model.characters:
        raise ValueError(
            "A search with a lexicon needs a language model over words. Received: one over characters. "
            "Train it without --characters."
        )
    marks = {UNKNOWN, BEGIN, END}
    in_lexicon = marks.union(entries.words)
    missing = [word for word in model.words if word not in in_lexicon]
    total = len(model.words) - len(marks & model.indices.keys())
    if len(missing) == total:
        raise ValueError(
            "A language model and a lexicon must have words in common. Received: none of the language model's "
            f"{total:,} words has a pronunciation; the first is {missing[0]!r}. Bring both to the same form."
        )
    if missing:
        _log.warning(
            "%s of the language model's %s words have no pronunciation in the lexicon and cannot be recognized; "
            "the first is %r.",
            f"{len(missing):,}", f"{total:,}", missing[0],
        )  # fmt: skip
    if keep_others or all(word in model.indices for word in entries.words):
        return entries
    return Pronunciations.of(entry for entry in entries if entry[0] in model.indices)


def _checked(pronunciations: Iterable[Pronunciation], vocabulary: Vocabulary, separator: int | None) -> Pronunciations:
    """The pronunciations as arrays, after a check.

    Raises:
        ValueError: One of them is invalid, or there are none.
    """
    allowed = set(range(1, len(vocabulary))) - {separator}
    if isinstance(pronunciations, Pronunciations):
        if not allowed.issuperset(np.flatnonzero(np.bincount(pronunciations.tree.symbols[1:])).tolist()):
            raise ValueError("Pronunciations must be of the vocabulary's symbols, without the separator.")
        return pronunciations
    entries = list(pronunciations)
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
