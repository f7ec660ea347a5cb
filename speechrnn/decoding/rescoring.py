"""Texts judged as a whole: a neural language model's log probabilities, and the n best of a search ranked by them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from speechrnn.decoding.beam import Hypothesis, Ranking, Search
from speechrnn.decoding.best_path import Path
from speechrnn.decoding.lm.ngram import Perplexity
from speechrnn.text import Vocabulary

BOUNDARY = 0
"""Index of what begins and ends a sentence; characters have theirs from 1, as in every `Vocabulary`."""
_ROWS = 64
"""Sentences in a batch."""


class TextModel(Protocol):
    """A language model over characters."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The characters it knows."""

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Natural logarithm of the probability of each sentence, its end counted."""


def batches(vocabulary: Vocabulary, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Sentences as padded batches of about equal lengths.

    Args:
        vocabulary: Of the language model.
        texts: The sentences.

    Yields:
        Places of the batch's sentences in `texts`; their indices, int32 `(batch, steps)`, each row with a boundary
        first and zeros after its last character; and their lengths, the boundary counted, int32 `(batch,)`.

    Raises:
        ValueError: A text has characters that the vocabulary lacks.
    """
    encoded = [vocabulary.encode(text) for text in texts]
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    for start in range(0, len(order), _ROWS):
        places = order[start : start + _ROWS]
        lengths = np.array([1 + len(encoded[i]) for i in places], np.int32)
        ids = np.full((len(places), lengths.max()), BOUNDARY, np.int32)
        for row, place in zip(ids, places, strict=True):
            row[1 : 1 + len(encoded[place])] = encoded[place]
        yield places, ids, lengths


def log_probabilities(logits: np.ndarray, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Natural logarithms of the probabilities of sentences, float64 `(batch,)`.

    Args:
        logits: `(batch, steps, vocabulary)`: of what follows each symbol of `ids`.
        ids: As `batches` gives them; what stands in the padding does not matter.
        lengths: The same.
    """
    following = np.append(ids[:, 1:], np.full((len(ids), 1), BOUNDARY, ids.dtype), axis=1)
    following[np.arange(len(ids)), lengths - 1] = BOUNDARY
    logits = logits.astype(np.float64)
    top = logits.max(axis=2)
    totals = top + np.log(np.exp(logits - top[..., np.newaxis]).sum(axis=2))
    chosen = np.take_along_axis(logits, following[..., np.newaxis], axis=2)[..., 0] - totals
    return np.where(np.arange(ids.shape[1]) < lengths[:, np.newaxis], chosen, 0.0).sum(axis=1)


@dataclass(frozen=True)
class TextPerplexity(Perplexity):
    """How well a model over characters foretells a text; its words are spelled, so that none is unknown."""

    bits_per_character: float
    """The ends of sentences and the spaces counted as characters."""


def tallies(model: TextModel, texts: Sequence[str]) -> np.ndarray:
    """Of each text the log probability, the words and the characters, its end counted: float64 `(texts, 3)`.

    Raises:
        ValueError: A text has characters that the model lacks.
    """
    counts = [(1 + len(text.split()), 1 + len(text)) for text in texts]
    return np.column_stack([model.scores(texts), np.reshape(counts, (-1, 2))])


def foretold(counted: np.ndarray) -> TextPerplexity:
    """The perplexity of texts from their `tallies`; there must be one at least."""
    total, words, characters = counted.sum(0).tolist()
    found = math.exp(-total / words)
    return TextPerplexity(found, found, int(words), 0, -total / characters / math.log(2.0))


def perplexity(model: TextModel, sentences: Iterable[str]) -> TextPerplexity:
    """Perplexity of a word, to be set beside `NGram.perplexity`: each sentence's end is counted as a word.

    Raises:
        ValueError: There is nothing to score, or a text has characters that the model lacks.
    """
    texts = [" ".join(sentence.split()) for sentence in sentences]
    if not texts:
        raise ValueError("Perplexity needs a text with at least one sentence. Received none.")
    return foretold(tallies(model, texts))


class Rescored(Ranking):
    """A beam search whose n best are rescored by a language model that sees whole sentences.

    A text's score is that of the search, plus `weight log P(text)` and `bonus` for each word. It takes the place of the
    search: called with logits it gives the best text as a `Path`.

    Args:
        search: Finds the n best.
        model: Judges them.
        weight: Of the model's log probabilities.
        bonus: Added for each word; the model makes longer texts less likely, and this makes up for it.
        best: How many texts of the search are judged.

    Raises:
        ValueError: The model lacks characters that the search may write, or `best` is not positive.
    """

    def __init__(
        self, search: Search, model: TextModel, *, weight: float = 0.5, bonus: float = 0.0, best: int = 30
    ) -> None:
        lacking = model.vocabulary.missing(search.characters)
        if lacking:
            raise ValueError(
                f"The language model that rescores must know the model's characters. Received: one without "
                f"{sorted(lacking)}; it has {''.join(model.vocabulary.symbols)!r}. Train it on texts like the model's."
            )
        if best < 1:
            raise ValueError(f"`best` must be at least 1. Received: best={best}.")
        self.search, self.model, self.weight, self.bonus, self.best = search, model, weight, bonus, best

    def path(self, logits: np.ndarray, hypothesis: Hypothesis) -> Path:
        """The frames of a text that `n_best` gave for the same logits."""
        return self.search.path(logits, hypothesis)

    def n_best(self, logits: np.ndarray, n: int = 10) -> list[Hypothesis]:
        """The best texts of one utterance, the best first; at most `n`, and no more than are judged."""
        found = self.search.n_best(logits, self.best)
        scores = self.ranked(found, self.model.scores(spoken(found)))
        order = np.argsort(-scores, kind="stable")[:n]
        return [replace(found[i], score=float(scores[i])) for i in order]

    def ranked(self, found: Sequence[Hypothesis], judged: np.ndarray) -> np.ndarray:
        """The scores of texts whose log probabilities are known."""
        words = np.array([len(hypothesis.text.split()) for hypothesis in found])
        return np.array([hypothesis.score for hypothesis in found]) + self.weight * judged + self.bonus * words


def spoken(found: Sequence[Hypothesis]) -> list[str]:
    """The texts with single spaces, as a language model reads them."""
    return [" ".join(hypothesis.text.split()) for hypothesis in found]
