"""Train language models on sentences, with cross entropy of each next symbol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf

from speechrnn.decoding.rescoring import BOUNDARY, perplexity
from speechrnn.pipeline.graph import passes, plan_of
from speechrnn.pipeline.loading import Loaded
from speechrnn.pipeline.planning import PooledPlan
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.language.options import LanguageTraining
from speechrnn.text import Vocabulary
from speechrnn.training.task import Scores, Split, Task, refuse_augmentation

_POOL = 64
"""Batches whose sentences are sorted by length together, so that a batch holds little padding."""


class LanguageTask(Task):
    """Trains a language model with cross entropy of each next symbol."""

    model: LanguageModel
    options: LanguageTraining
    options_class = LanguageTraining
    monitors: ClassVar = {"perplexity": 1, "loss": 1}
    training_summary = "nats per symbol"
    validation_summary = "perplexity {val_perplexity:.1f} per word"

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`; examples are sentences."""
        refuse_augmentation("A language model's sentences", split.augmentation)
        sentences = []
        for number, text in enumerate(split.examples, 1):
            if len(text) > self.options.max_characters:
                message = f"has {len(text):,} characters, more than max_characters={self.options.max_characters:,}."
                split.faults.add(f"sentence {number}", "too long", message)
            elif missing := sorted(self.model.vocabulary.missing(text)):
                message = f"has symbols that the model never saw: {' '.join(map(repr, missing[:10]))}."
                split.faults.add(f"sentence {number}", "with unknown symbols", message)
            else:
                sentences.append(text)
        if not sentences:
            first = next(iter(split.faults), "no sentence")
            raise ValueError(
                f"Training needs sentences of at most max_characters={self.options.max_characters} characters that the "
                f"model knows. Received: none of {len(split.examples):,}; the first: {first}"
            )
        plan = SentencePlan(self.model.vocabulary, sentences, self.options.batch_size, self.options.seed, split.epoch)
        return sentence_batches(plan)

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], LanguageScore]:
        """See `Task`."""
        plan = plan_of(dataset)
        symbols = int(np.sum(plan.lengths + 1))

        def score() -> LanguageScore:
            found = perplexity(self.model, plan.sentences)
            # Per symbol as in training: of a model of words that is a word, however many characters it has.
            return LanguageScore(found.words * float(np.log(found.perplexity)) / symbols, found.perplexity)

        return score


@dataclass(frozen=True)
class LanguageScore(Scores):
    """Scores of a language model on sentences."""

    loss: float
    """Nats per symbol (a character or a word), the ends of sentences counted."""
    perplexity: float
    """Of a word, the ends of sentences counted as words."""


class SentencePlan(PooledPlan):
    """Which sentences are in which batch of an epoch.

    Args:
        vocabulary: Of the model.
        sentences: The texts.
        batch_size: Sentences in a batch, at most as many as there are.
        seed: Of the order, with the number of the epoch.
        initial_epoch: Number of the first pass.

    Raises:
        ValueError: A text has characters that the vocabulary lacks.
    """

    def __init__(
        self, vocabulary: Vocabulary, sentences: Sequence[str], batch_size: int, seed: int, initial_epoch: int = 0
    ) -> None:
        self.sentences = list(sentences)
        self._ids = [np.array(vocabulary.encode(text), np.int32) for text in self.sentences]
        super().__init__([len(ids) for ids in self._ids], batch_size, _POOL, seed, initial_epoch)

    def _batch(self, chosen: np.ndarray) -> Loaded:
        """Each row begins with a boundary, and so does what follows its last character."""
        lengths = (self.lengths[chosen] + 1).astype(np.int32)
        ids = np.full((len(chosen), lengths.max()), BOUNDARY, np.int32)
        target = ids.copy()
        for row, index in enumerate(chosen):
            ids[row, 1 : lengths[row]] = target[row, : lengths[row] - 1] = self._ids[index]
        return Loaded.of(ids, lengths, target)


def sentence_batches(plan: SentencePlan) -> tf.data.Dataset:
    """Batches `({"ids": int32 (batch, steps), "length": int32 (batch,)}, target int32 (batch, steps), weight)`."""
    rows = plan.batch_size
    return passes(
        plan.load, plan, steps=plan.steps,
        shapes=([rows, None], [rows, None]), value_type=tf.int32, names=("ids", "length"),
    )  # fmt: skip
