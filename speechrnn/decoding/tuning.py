"""Weights of a language model that give the fewest word errors on validation data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn import edits
from speechrnn.decoding.beam import BeamSearch
from speechrnn.edits import Edits

_WEIGHTS, _BONUSES = (0.25, 0.75, 1.5), (0.0, 1.5, 3.0)
_STEPS = (0.5, 0.25, 0.125)
_MOST = 12
"""Moves with one step; the search ends in any case."""


@dataclass(frozen=True)
class Trial:
    """One pair of weights, and the errors it gives."""

    lm_weight: float
    word_bonus: float
    words: Edits
    characters: Edits

    @property
    def rank(self) -> tuple[float, float, float]:
        """Less is better: word errors, then character errors, then the smaller weight."""
        return self.words.errors, self.characters.errors, self.lm_weight


def tune(
    search: BeamSearch,
    logits: Sequence[np.ndarray],
    references: Sequence[str],
    *,
    progress: Callable[[Trial], None] | None = None,
) -> list[Trial]:
    """Search for the language model's weight and the word bonus.

    A coarse grid first, then from its best point to its best neighbour, with ever smaller steps, until none is better.

    Args:
        search: With a language model; its own weights do not matter.
        logits: Of the validation utterances.
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
            tried[weight, bonus] = trial = _trial(search, logits, references, weight, bonus)
            if progress:
                progress(trial)
        return tried[weight, bonus]

    best = min((attempt(w, b) for w in _WEIGHTS for b in _BONUSES), key=lambda t: t.rank)
    for step in _STEPS:
        for _ in range(_MOST):
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


def _trial(
    search: BeamSearch, logits: Sequence[np.ndarray], references: Sequence[str], weight: float, bonus: float
) -> Trial:
    weighted = search.weighted(lm_weight=weight, word_bonus=bonus)
    words = characters = Edits()
    for values, reference in zip(logits, references, strict=True):
        hypothesis = " ".join(weighted.n_best(values, 1)[0].text.split())
        reference = " ".join(reference.split())
        words += edits.counts(reference.split(), hypothesis.split())
        characters += edits.counts(reference, hypothesis)
    return Trial(weight, bonus, words, characters)
