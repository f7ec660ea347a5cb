"""Tunes the weights of a language model for the fewest word errors on validation data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.decoding.beam import Search
from speechrnn.decoding.rescoring import Rescored, texts_of
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits

_WEIGHTS, _BONUSES = (0.25, 0.75, 1.5), (0.0, 1.5, 3.0)
_STEPS = (0.5, 0.25, 0.125)
_RESCORING_WEIGHTS = tuple(i / 8 for i in range(13))
_RESCORING_BONUSES = tuple(i / 2 for i in range(-2, 9))
_MAX_MOVES = 12
"""Maximum number of moves with one step size."""


@dataclass(frozen=True)
class Trial:
    """A pair of weights and its errors."""

    lm_weight: float
    word_bonus: float
    words: Edits
    characters: Edits

    @property
    def rank(self) -> tuple[float, float, float, float]:
        """Key for sorting: word errors, then character errors, then the weight, then the size of the bonus."""
        return self.words.errors, self.characters.errors, self.lm_weight, abs(self.word_bonus)


def tune(
    search: Search,
    logits: Sequence[np.ndarray],
    references: Sequence[str],
    *,
    progress: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Search for the language model's weight and the word bonus.

    First a coarse grid; then from its best point to the best neighbor, with decreasing steps, until none is better.

    Args:
        search: A search with a language model; its own weights do not matter.
        logits: Logits of the validation utterances.
        references: Their texts.
        progress: Called with each trial.

    Returns:
        All trials, the best first.

    Raises:
        ValueError: There are no utterances, or there is no language model.
    """
    if search.language_model is None or not references:
        raise ValueError("Tuning needs a language model and utterances with texts. Received none.")
    tried: dict[tuple[float, float], Trial] = {}

    def attempt(weight: float, bonus: float) -> Trial:
        if (weight, bonus) not in tried:
            weighted = search.weighted(lm_weight=weight, word_bonus=bonus)
            texts = [weighted.n_best(values, 1)[0].text for values in logits]
            tried[weight, bonus] = trial = _trial(weight, bonus, texts, references)
            if progress:
                progress(trial)
        return tried[weight, bonus]

    best = min((attempt(w, b) for w in _WEIGHTS for b in _BONUSES), key=lambda t: t.rank)
    for step in _STEPS:
        for _ in range(_MAX_MOVES):
            around = [
                attempt(max(0.0, best.lm_weight + i * step), best.word_bonus + j * step)
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
            nearest = min(around, key=lambda t: t.rank)
            if nearest.rank >= best.rank:
                break
            best = nearest
    return sorted(tried.values(), key=lambda t: t.rank)


def tune_rescoring(
    rescored: Rescored,
    logits: Sequence[np.ndarray],
    references: Sequence[str],
    *,
    progress: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Search a grid for the weight and word bonus of a language model that rescores n-best lists.

    The n-best lists and their log-probabilities are computed once.

    Args:
        rescored: The rescored search; its own weight and bonus do not matter.
        logits: Logits of the validation utterances.
        references: Their texts.
        progress: Called with each trial.

    Returns:
        All trials, the best first; `lm_weight` and `word_bonus` are those of rescoring.

    Raises:
        ValueError: There are no utterances.
    """
    if not references:
        raise ValueError("Tuning needs utterances with texts. Received none.")
    n_best = [rescored.search.n_best(values, rescored.best) for values in logits]
    lm_scores = [rescored.model.scores(texts_of(hypotheses)) for hypotheses in n_best]
    trials = []
    for weight in _RESCORING_WEIGHTS:
        for bonus in _RESCORING_BONUSES:
            weighted = Rescored(rescored.search, rescored.model, weight=weight, bonus=bonus)
            pairs = zip(n_best, lm_scores, strict=True)
            texts = [hypotheses[int(weighted.rescore(hypotheses, s).argmax())].text for hypotheses, s in pairs]
            trials.append(_trial(weight, bonus, texts, references))
            if progress:
                progress(trials[-1])
    return sorted(trials, key=lambda t: t.rank)


@functools.lru_cache(maxsize=1 << 16)  # for most utterances most weights give the same text
def _errors(hypothesis: str, reference: str) -> tuple[Edits, Edits]:
    """Errors of words and of characters."""
    hypothesis, reference = " ".join(hypothesis.split()), " ".join(reference.split())
    return edits.counts(reference.split(), hypothesis.split()), edits.counts(reference, hypothesis)


def _trial(weight: float, bonus: float, texts: Sequence[str], references: Sequence[str]) -> Trial:
    errors = [_errors(text, reference) for text, reference in zip(texts, references, strict=True)]
    return Trial(weight, bonus, sum((words for words, _ in errors), Edits()), sum((c for _, c in errors), Edits()))
