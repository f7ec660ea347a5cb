"""Letters to phones: how a word is pronounced that a lexicon lacks, learned from those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechrnn.decoding import graphones
from speechrnn.decoding.lm import kneser_ney
from speechrnn.decoding.lm.ngram import END
from speechrnn.text import Lexicon

WEIGHT = 0.3
"""Of n-grams beside another model; found on words that neither had learned."""
BEST = 8
"""Pronunciations by the other model, of which the n-grams choose."""

Candidate = tuple[Sequence[str], float]
"""A pronunciation and its log probability."""

_ROUNDS = 8
_BEAM = 24


class _Pair(NamedTuple):
    letters: str
    phones: tuple[str, ...]


class LettersToPhones:
    """Pronounces words by the way similar ones are pronounced (joint n-grams; Bisani and Ney 2008, simplified).

    Letters and phones of the lexicon's words are paired by expectation maximization, and an n-gram model of the pairs
    is estimated; the likeliest pairs that spell a new word pronounce it. It takes seconds to learn.

    Args:
        lexicon: What to learn from; the likeliest pronunciation of each word.
        order: Longest n-grams of pairs.

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
        for place in range(len(word)):
            kept: dict[tuple[int, tuple[str, ...]], float] = {}
            for score, state, said in reached[place]:
                kept[state, said] = max(score, kept.get((state, said), -np.inf))
            best = sorted(((score, *key) for key, score in kept.items()), key=lambda item: -item[0])[:_BEAM]
            for end in range(place + 1, min(place + 2, len(word)) + 1):
                for index, phones in self._pairs.get(word[place:end], ()):
                    for score, state, said in best:
                        log, after = advance(state, index)
                        reached[end].append((score + log, after, (*said, *phones)))
        last = [
            (score + advance(state, self._model.indices[END])[0], said) for score, state, said in reached[-1] if said
        ]
        return list(max(last)[1]) if last else None

    def log_probability(self, word: str, phones: Sequence[str]) -> float:
        """Natural logarithm of the probability of the likeliest pairs that spell a word and are these phones.

        Minus infinity if no pairs are both.
        """
        said = tuple(phones)
        reached: list[dict[tuple[int, int], float]] = [{} for _ in range(len(word) + 1)]
        reached[0] = {(self._model.begin, 0): 0.0}
        for place, here in enumerate(reached[:-1]):
            for end in range(place + 1, min(place + 2, len(word)) + 1):
                for index, part in self._pairs.get(word[place:end], ()):
                    for (state, count), score in here.items():
                        if said[count : count + len(part)] == part:
                            log, after = self._model.advance(state, index)
                            key = after, count + len(part)
                            reached[end][key] = max(score + log, reached[end].get(key, -np.inf))
        close = self._model.indices[END]
        last = [
            score + self._model.advance(state, close)[0] for (state, n), score in reached[-1].items() if n == len(said)
        ]
        return max(last, default=-np.inf)

    def agreed(self, word: str, candidates: Iterable[Candidate], *, weight: float = WEIGHT) -> list[str] | None:
        """The candidate of another model that both models together find likeliest.

        Models of different types make different errors, so that both together make fewer than either. Candidates that
        no pairs spell do not count; if none is left, the answer is that of this model alone.

        Args:
            word: The word.
            candidates: Pronunciations and their log probabilities by the other model, such as the best of a beam.
            weight: Of this model's log probability, between 0 and 1; the other's has the rest.
        """
        found = []
        for phones, log in candidates:
            own = self.log_probability(word, phones)
            if own > -np.inf:
                found.append(((1 - weight) * log + weight * own, list(phones)))
        return max(found)[1] if found else self(word)

    def together(self, model: Any, words: Iterable[str]) -> dict[str, list[str] | None]:
        """What this model and another one together find likeliest for each word; see `agreed`.

        Args:
            model: A bundle or session that translates letters to phones.
            words: The words.
        """
        words = list(words)
        found = model.translate(words, beam=BEST, best=BEST, length_penalty=0.0, on_error="collect")
        return {
            word: self.agreed(word, [(one.symbols, one.score) for one in answer.candidates])
            for word, answer in zip(words, found, strict=True)
        }


def _paired(lexicon: Lexicon) -> list[list[_Pair]]:
    """The words as pairs on their likeliest segmentations; words that cannot be paired are left out."""
    words = [(word, pronunciations[0][0]) for word, pronunciations in lexicon.items()]
    alphabet = sorted({letter for word, _ in words for letter in word})
    letter, phone = ({name: i for i, name in enumerate(names)} for names in (alphabet, lexicon.phones))
    spelled = np.array([letter[c] for word, _ in words for c in word], np.int64)
    said = np.array([phone[p] for _, phones in words for p in phones], np.int64)
    ends = np.cumsum([(0, 0), *((len(word), len(phones)) for word, phones in words)], axis=0)
    many = np.array([len(alphabet), len(lexicon.phones)])
    table = graphones.learned(spelled, said, ends, many, _ROUNDS)
    found = []
    for (word, phones), (i, j), (end, last) in zip(words, ends[:-1], ends[1:], strict=True):
        kinds = graphones.best_kinds(spelled[i:end], said[j:last], table, many)
        if len(kinds):
            found.append(list(_cut(word, phones, kinds)))
    return found


def _cut(word: str, phones: Sequence[str], kinds: np.ndarray) -> list[_Pair]:
    pairs, i, j = [], 0, 0
    for kind in kinds:
        a, b = graphones.SIZES[kind]
        pairs.append(_Pair(word[i : i + a], tuple(phones[j : j + b])))
        i, j = i + a, j + b
    return pairs
