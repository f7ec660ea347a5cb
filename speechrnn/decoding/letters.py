"""Grapheme-to-phoneme conversion: pronunciations of words that a lexicon lacks, learned from the lexicon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding import graphones
from speechrnn.decoding.lm import kneser_ney
from speechrnn.decoding.lm.ngram import END
from speechrnn.text import Lexicon

WEIGHT = 0.3
"""Weight of the n-grams in combination with another model, tuned on words that neither was trained on."""
BEST = 8
"""Number of the other model's pronunciations that are rescored."""

Candidate = tuple[Sequence[str], float]
"""A pronunciation and its log-probability."""

_ROUNDS = 8
_BEAM = 24


class _Pair(NamedTuple):
    letters: str
    phones: tuple[str, ...]


class LettersToPhones:
    """Grapheme-to-phoneme model of joint n-grams (Bisani and Ney 2008, simplified).

    Letters and phones of the lexicon's words are paired by expectation maximization, and an n-gram model of the pairs
    is estimated. The pronunciation of a new word is that of the most probable pairs that spell it. Training takes
    seconds.

    Args:
        lexicon: The training data: the most probable pronunciation of each word.
        order: Order of the n-gram model.

    Raises:
        ValueError: No word can be paired with its phones.

    Example:
    >>> words = "bat tab cab bac tac cat abc bad dab cad".split()
    >>> guess = LettersToPhones(Lexicon({word: [(tuple(word.upper()), 1.0)] for word in words}))
    >>> guess("tad"), guess("x")
    (['T', 'A', 'D'], None)
    """

    def __init__(self, lexicon: Lexicon, *, order: int = 6) -> None:
        pairs: dict[_Pair, int] = {}
        sentences = [" ".join(str(pairs.setdefault(p, len(pairs))) for p in word) for word in _paired(lexicon)]
        if not sentences:
            raise ValueError(f"The lexicon must have words that its phones can spell. Received: {lexicon!r}.")
        self._model = kneser_ney.train(sentences, order=order)
        self._pairs: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        for pair, number in pairs.items():
            self._pairs.setdefault(pair.letters, []).append((self._model.indices[str(number)], pair.phones))

    def __call__(self, word: str) -> list[str] | None:
        """The phones of a word; None if it has a letter that no word of the lexicon has."""
        advance = self._model.advance
        reached: list[list[tuple[float, int, tuple[str, ...]]]] = [[] for _ in range(len(word) + 1)]
        reached[0] = [(0.0, self._model.begin, ())]
        for start in range(len(word)):
            merged: dict[tuple[int, tuple[str, ...]], float] = {}
            for score, state, prefix in reached[start]:
                merged[state, prefix] = max(score, merged.get((state, prefix), -np.inf))
            best = sorted(((score, *key) for key, score in merged.items()), key=lambda item: -item[0])[:_BEAM]
            for end in range(start + 1, min(start + 2, len(word)) + 1):
                for index, phones in self._pairs.get(word[start:end], ()):
                    for score, state, prefix in best:
                        log, after = advance(state, index)
                        reached[end].append((score + log, after, (*prefix, *phones)))
        close = self._model.indices[END]
        complete = [(score + advance(state, close)[0], phones) for score, state, phones in reached[-1] if phones]
        return list(max(complete)[1]) if complete else None

    def log_probability(self, word: str, phones: Sequence[str]) -> float:
        """Log-probability of the best pairs that spell a word and its phones; minus infinity if there are none."""
        phones = tuple(phones)
        reached: list[dict[tuple[int, int], float]] = [{} for _ in range(len(word) + 1)]
        reached[0] = {(self._model.begin, 0): 0.0}
        for start, states in enumerate(reached[:-1]):
            for end in range(start + 1, min(start + 2, len(word)) + 1):
                for index, part in self._pairs.get(word[start:end], ()):
                    for (state, count), score in states.items():
                        if phones[count : count + len(part)] == part:
                            log, after = self._model.advance(state, index)
                            key = after, count + len(part)
                            reached[end][key] = max(score + log, reached[end].get(key, -np.inf))
        close = self._model.indices[END]
        complete = [
            score + self._model.advance(state, close)[0]
            for (state, n), score in reached[-1].items()
            if n == len(phones)
        ]
        return max(complete, default=-np.inf)

    def agreed(self, word: str, candidates: Iterable[Candidate], *, weight: float = WEIGHT) -> list[str] | None:
        """The best candidate of another model by the weighted sum of both models' log-probabilities.

        Models of different types make different errors, so their combination makes fewer than either. Candidates that
        no pairs spell are ignored; if none is left, the result is that of this model alone.

        Args:
            word: The word.
            candidates: Pronunciations and their log-probabilities by the other model, such as its n best.
            weight: Weight of this model, between 0 and 1; the other's is `1 - weight`.
        """
        scored = []
        for phones, other in candidates:
            log = self.log_probability(word, phones)
            if log > -np.inf:
                scored.append(((1 - weight) * other + weight * log, list(phones)))
        return max(scored)[1] if scored else self(word)

    def together(self, model: Any, words: Iterable[str]) -> dict[str, list[str] | None]:
        """Pronounce words by this model and another one; see `agreed`.

        Args:
            model: A bundle or session that translates letters to phones.
            words: The words.
        """
        words = list(words)
        answers = model.translate(words, beam=BEST, best=BEST, length_penalty=0.0, on_error="collect")
        return {
            word: self.agreed(word, [(one.symbols, one.score) for one in answer.candidates])
            for word, answer in zip(words, answers, strict=True)
        }


def _paired(lexicon: Lexicon) -> list[list[_Pair]]:
    """The words as pairs, by their most probable segmentations; words that cannot be paired are left out."""
    words = [(word, pronunciations[0][0]) for word, pronunciations in lexicon.items()]
    alphabet = sorted({letter for word, _ in words for letter in word})
    letter, phone = ({name: i for i, name in enumerate(names)} for names in (alphabet, lexicon.phones))
    all_letters = np.array([letter[c] for word, _ in words for c in word], np.int64)
    all_phones = np.array([phone[p] for _, phones in words for p in phones], np.int64)
    ends = np.cumsum([(0, 0), *((len(word), len(phones)) for word, phones in words)], axis=0)
    counts = np.array([len(alphabet), len(lexicon.phones)])
    table = graphones.train(all_letters, all_phones, ends, counts, _ROUNDS)
    paired = []
    for (word, phones), (i, j), (end, last) in zip(words, ends[:-1], ends[1:], strict=True):
        kinds = graphones.best_kinds(all_letters[i:end], all_phones[j:last], table, counts)
        if len(kinds):
            paired.append(list(_pairs(word, phones, kinds)))
    return paired


def _pairs(word: str, phones: Sequence[str], kinds: np.ndarray) -> list[_Pair]:
    pairs, i, j = [], 0, 0
    for kind in kinds:
        a, b = graphones.SIZES[kind]
        pairs.append(_Pair(word[i : i + a], tuple(phones[j : j + b])))
        i, j = i + a, j + b
    return pairs
