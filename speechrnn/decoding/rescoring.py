"""Rescoring of n-best lists by a neural language model, and its perplexity."""

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
"""Index of the boundary of sentences; characters have indices from 1, as in every `Vocabulary`."""
_ROWS = 64
"""Sentences in a batch."""


class TextModel(Protocol):
    """A language model over characters."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's characters."""

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Log-probability of each sentence, with its end."""


def batches(vocabulary: Vocabulary, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Padded batches of sentences of similar lengths.

    Args:
        vocabulary: The language model's vocabulary.
        texts: The sentences.

    Yields:
        Indices of the batch's sentences in `texts`; encoded sentences, int32 `(batch, steps)`, each with a boundary
        first and padded with zeros; and their lengths, with the boundary, int32 `(batch,)`.

    Raises:
        ValueError: A text has characters that the vocabulary lacks.
    """
    encoded = [vocabulary.encode(text) for text in texts]
    order = np.argsort([len(ids) for ids in encoded], kind="stable")
    for start in range(0, len(order), _ROWS):
        indices = order[start : start + _ROWS]
        lengths = np.array([1 + len(encoded[i]) for i in indices], np.int32)
        ids = np.full((len(indices), lengths.max()), BOUNDARY, np.int32)
        for row, i in zip(ids, indices, strict=True):
            row[1 : 1 + len(encoded[i])] = encoded[i]
        yield indices, ids, lengths


def log_probabilities(logits: np.ndarray, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Log-probabilities of sentences, float64 `(batch,)`.

    Args:
        logits: `(batch, steps, vocabulary)` of the symbol after each symbol of `ids`.
        ids: From `batches`; the padding does not matter.
        lengths: From `batches`.
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
    """Perplexity of a model over characters, for which no word is unknown."""

    bits_per_character: float
    """Bits per character, spaces and ends of sentences included."""


def tallies(model: TextModel, texts: Sequence[str]) -> np.ndarray:
    """Log-probability, words and characters of each text, with its end: float64 `(texts, 3)`.

    Raises:
        ValueError: A text has characters that the model lacks.
    """
    counts = [(1 + len(text.split()), 1 + len(text)) for text in texts]
    return np.column_stack([model.scores(texts), np.reshape(counts, (-1, 2))])


def perplexity_of(counts: np.ndarray) -> TextPerplexity:
    """The perplexity of one or more texts, from their `tallies`."""
    total, words, characters = counts.sum(0).tolist()
    value = math.exp(-total / words)
    return TextPerplexity(value, value, int(words), 0, -total / characters / math.log(2.0))


def perplexity(model: TextModel, sentences: Iterable[str]) -> TextPerplexity:
    """Perplexity per word, comparable with `NGram.perplexity`: the end of each sentence counts as a word.

    Raises:
        ValueError: There are no sentences, or a text has characters that the model lacks.
    """
    texts = [" ".join(sentence.split()) for sentence in sentences]
    if not texts:
        raise ValueError("Perplexity needs a text with at least one sentence. Received none.")
    return perplexity_of(tallies(model, texts))


class Rescored(Ranking):
    """A beam search whose n-best list is rescored by a language model over whole sentences.

    A text's score is that of the search, plus `weight * log P(text)` and `bonus` for each word. It can be used like the
    search: called with logits it returns the best text as a `Path`.

    Args:
        search: The beam search.
        model: The language model.
        weight: Weight of the model's log-probabilities.
        bonus: Score added for each word, to compensate for the model's preference for short texts.
        best: Number of texts of the search that are rescored.

    Raises:
        ValueError: The model lacks characters that the search may write, or `best` is not positive.
    """

    def __init__(
        self, search: Search, model: TextModel, *, weight: float = 0.5, bonus: float = 0.0, best: int = 30
    ) -> None:
        missing = model.vocabulary.missing(search.characters)
        if missing:
            raise ValueError(
                f"The language model that rescores must know the model's characters. Received: one without "
                f"{sorted(missing)}; it has {''.join(model.vocabulary.symbols)!r}. Train it on texts like the model's."
            )
        if best < 1:
            raise ValueError(f"`best` must be at least 1. Received: best={best}.")
        self.search, self.model, self.weight, self.bonus, self.best = search, model, weight, bonus, best

    def path(self, logits: np.ndarray, hypothesis: Hypothesis) -> Path:
        """Align a text of `n_best` to the same logits."""
        return self.search.path(logits, hypothesis)

    def n_best(self, logits: np.ndarray, n: int = 10) -> list[Hypothesis]:
        """The best texts of one utterance, the best first; at most `n`, and no more than are rescored."""
        hypotheses = self.search.n_best(logits, self.best)
        scores = self.rescore(hypotheses, self.model.scores(texts_of(hypotheses)))
        order = np.argsort(-scores, kind="stable")[:n]
        return [replace(hypotheses[i], score=float(scores[i])) for i in order]

    def rescore(self, hypotheses: Sequence[Hypothesis], lm_scores: np.ndarray) -> np.ndarray:
        """The scores of texts, given their log-probabilities by the language model."""
        words = np.array([len(hypothesis.text.split()) for hypothesis in hypotheses])
        scores = np.array([hypothesis.score for hypothesis in hypotheses])
        return scores + self.weight * lm_scores + self.bonus * words


def texts_of(hypotheses: Sequence[Hypothesis]) -> list[str]:
    """The texts with single spaces, as a language model reads them."""
    return [" ".join(hypothesis.text.split()) for hypothesis in hypotheses]
