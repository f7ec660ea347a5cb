"""Train encoder-decoders on pairs of texts, with cross entropy of each next symbol of the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from speechrnn.losses import ClassLoss
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.pipeline.graph import passes, plan_of
from speechrnn.pipeline.loading import Loaded
from speechrnn.pipeline.planning import PooledPlan
from speechrnn.tasks.sequence_to_sequence.model import SequenceToSequence
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions, SequenceTraining
from speechrnn.tasks.sequence_to_sequence.pairs import Pair, encoded, padded, pairs_of
from speechrnn.tasks.sequence_to_sequence.search import BOUNDARY
from speechrnn.tasks.sequence_to_sequence.translation import searched
from speechrnn.training.task import Scores, Split, Task, refuse_augmentation

_POOL = 32
"""Batches whose pairs are sorted by length together, so that a batch holds little padding."""
_SCORED = 256
"""Pairs in a batch that is scored."""
_NONE = -1
"""Value of the padding of targets."""


class SequenceTask(Task):
    """Trains an encoder-decoder with cross entropy of the target's symbols."""

    model: SequenceToSequence
    options: SequenceTraining
    options_class = SequenceTraining
    monitors: ClassVar = {"symbol_error": 1, "sequence_error": 1, "loss": 1}
    training_summary = "nats per symbol"
    validation_summary = "errors {val_symbol_error:.2%} of symbols, {val_sequence_error:.1%} of sequences"

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`; examples are pairs."""
        refuse_augmentation("Pairs of texts", split.augmentation)
        pairs, weights = [], []
        for pair in pairs_of(split.examples):
            try:
                pairs.append(self._encoded(pair))
                weights.append(pair.weight)
            except ValueError as error:
                split.faults.add_error(pair.id, error)
        if not pairs:
            first = next(iter(split.faults), "no pair")
            raise ValueError(f"Training needs a pair of texts that the model can learn. Received none; {first}")
        return pair_batches(PairPlan(pairs, weights, self.options, split.epoch))

    def _encoded(self, pair: Pair) -> tuple[list[int], list[int]]:
        source = encoded(self.model.source, pair.source, what="source", where=pair.id)
        limit = self.model.max_length
        target = encoded(self.model.target, pair.target, what="target", where=pair.id, limit=limit)
        return source, target

    def loss(self, dataset: tf.data.Dataset) -> ClassLoss:
        """See `Task`."""
        return ClassLoss(smoothing=self.options.label_smoothing)

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], SequenceScore]:
        """See `Task`."""
        plan, model, loss = plan_of(dataset), self.model, ClassLoss()
        search = SearchOptions(beam=1, length_penalty=0.0, batch_size=_SCORED)

        @tf.function(reduce_retracing=True)
        def measured(x: dict[str, tf.Tensor], y: tf.Tensor) -> tf.Tensor:
            return loss(y, model(x, training=False)) * tf.reduce_sum(tf.cast(y != _NONE, tf.float32))

        def score() -> SequenceScore:
            total, symbols = 0.0, sum(len(target) + 1 for _, target in plan.pairs)
            for batch in plan.in_order(_SCORED):
                x, y, _ = _inputs({"source": batch.values, "source_length": batch.lengths}, batch.target, batch.weight)
                total += float(measured(x, y))
            best = searched(model, [source for source, _ in plan.pairs], search)
            each = [
                edits.counts(target, list(hypotheses[0].symbols))
                for (_, target), hypotheses in zip(plan.pairs, best, strict=True)
            ]
            wrong = sum(one.errors > 0 for one in each)
            return SequenceScore(total / symbols, sum(each, Edits()).rate, wrong / len(each))

        return score


@dataclass(frozen=True)
class SequenceScore(Scores):
    """Scores of an encoder-decoder on pairs, decoded greedily."""

    loss: float
    """Nats per symbol, the ends counted."""
    symbol_error: float
    """Substituted, missing and additional symbols per symbol of the targets."""
    sequence_error: float
    """Share of the pairs whose target is not the truth."""


class PairPlan(PooledPlan):
    """Which pairs are in which batch of an epoch.

    Args:
        pairs: Indices of source and target.
        weights: Of each pair.
        options: Size of a batch, seed, number of epochs, scheduled sampling.
        initial_epoch: Number of the first pass.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        weights: Sequence[float],
        options: SequenceTraining,
        initial_epoch: int = 0,
    ) -> None:
        super().__init__([len(source) for source, _ in pairs], options.batch_size, _POOL, options.seed, initial_epoch)
        self.pairs, self.options = list(pairs), options
        self._weights = np.array(weights, np.float32)

    def load(self, epoch: int, step: int) -> Loaded:
        """Batch `step` of an epoch."""
        batch = super().load(epoch, step)
        last = max(self.options.epochs - 1, 1)
        share = self.options.scheduled_sampling * min(epoch / last, 1.0)
        rng = np.random.default_rng([self.options.seed, epoch, step])
        batch.target[..., 1] = rng.random(batch.target.shape[:2]) < share
        return batch

    def _batch(self, chosen: np.ndarray) -> Loaded:
        """The target has two columns: the symbols and the end, and whether the decoder reads its own guess."""
        values, lengths = padded([self.pairs[i][0] for i in chosen])
        target, _ = padded([[*self.pairs[i][1], BOUNDARY] for i in chosen], fill=_NONE)
        return Loaded.of(values, lengths, np.stack([target, np.zeros_like(target)], axis=-1), self._weights[chosen])


def pair_batches(plan: PairPlan) -> tf.data.Dataset:
    """Batches of inputs as `SequenceToSequence` takes them, targets int32 `(batch, steps)` with -1 in the padding, and
    weights float32 `(batch,)`.
    """
    rows, sampled = plan.batch_size, plan.options.scheduled_sampling > 0
    return passes(
        plan.load, plan, steps=plan.steps,
        shapes=([rows, None], [rows, None, 2]), value_type=tf.int32, names=("source", "source_length"),
        to_inputs=partial(_inputs, sampled=sampled),
    )  # fmt: skip


def _inputs(x: dict[str, Any], both: Any, weight: Any, *, sampled: bool = False) -> tuple[dict[str, Any], Any, Any]:
    """The decoder reads each symbol before it says the next one."""
    target, guessed = tf.unstack(tf.convert_to_tensor(both), axis=-1)
    previous = tf.pad(tf.maximum(target[:, :-1], BOUNDARY), [[0, 0], [1, 0]])
    length = tf.reduce_sum(tf.cast(target != _NONE, tf.int32), 1)
    inputs = {**x, "previous": previous, "target_length": length}
    return {**inputs, "guessed": guessed > 0} if sampled else inputs, target, weight
