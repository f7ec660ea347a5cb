"""Train classifiers: batches, cross-entropy loss with class weights, and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf

from speechrnn import metrics, pipeline
from speechrnn.faults import suggestion
from speechrnn.losses import ClassLoss
from speechrnn.pipeline.selection import Entry
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.classification.options import ClassifierTraining
from speechrnn.training.task import Scores, Split, Task, recording_batch_options, refuse_augmentation


class ClassifierTask(Task):
    """Trains a classifier with cross entropy."""

    model: SequenceClassifier
    options: ClassifierTraining
    options_class = ClassifierTraining
    monitors: ClassVar = {"macro_f1": -1, "accuracy": -1, "loss": 1}
    training_summary = "accuracy {accuracy:.1%}"
    validation_summary = "accuracy {val_accuracy:.1%}, mean F1 {val_macro_f1:.3f}"
    supports_hosts = True

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`."""
        augmented = {"balance": self.options.balance, "mixup": self.options.mixup} if split.training else {}
        model = self.model
        if model.tokens is not None:
            refuse_augmentation("Texts", split.augmentation)
            if self.options.mixup:
                raise ValueError(f"Texts cannot be mixed. Received: mixup={self.options.mixup}. Set it to 0.")
        return pipeline.batches(
            split.examples,
            model.features,
            classes=model.classes,
            task=model.task,
            **augmented,
            **recording_batch_options(self, split),
        )

    def loss(self, dataset: tf.data.Dataset) -> ClassLoss:
        """See `Task`."""
        options, entries = self.options, pipeline.plan_of(dataset).entries
        return ClassLoss(
            multi=self.model.task == "multi",
            weights=class_weights(options.class_weights, self.model.classes, entries),
            smoothing=options.label_smoothing,
            focal=options.focal,
        )

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], ClassScore]:
        """See `Task`; the forward pass is traced once and reused."""
        model, multi, count = self.model, self.model.task == "multi", len(self.model.classes)
        loss = ClassLoss(multi=multi)

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = model(x, training=False)
            return logits, loss.call(target, logits)

        def score() -> ClassScore:
            total, loss_sum, counts = 0, 0.0, np.zeros((count, 2, 2) if multi else (count, count), np.int64)
            for x, target, weight in dataset:
                logits, losses = (np.asarray(v) for v in forward(x, target))
                rows, target = np.asarray(weight) > 0, np.asarray(target)
                known = rows if target.ndim == 1 or multi else rows[:, None] & (target >= 0)
                loss_sum += float(losses[known].sum())
                total += int(known.sum())
                truth, logits = target[known], logits[known]
                counts += (
                    metrics.presence_matrices(truth > 0.5, logits >= 0)
                    if multi
                    else metrics.confusion_matrix(truth, logits.argmax(-1), count)
                )
            figures = metrics.summary(counts, several=multi)
            return ClassScore(
                loss_sum / total if total else float("nan"), **{name: float(v) for name, v in figures.items()}
            )

        return score


@dataclass(frozen=True)
class ClassScore(Scores):
    """Scores of a classifier on a dataset."""

    loss: float
    """Mean cross entropy in nats, without weights, smoothing or focus."""
    accuracy: float
    """Share of correct rows, or of correct frames that have a class; if several classes can be true, of rows and
    classes."""
    macro_f1: float
    """Mean F1 of the classes that occur in the truth or in the predictions; see `speechrnn.metrics`."""


def class_weights(weights_by: Sequence[str], classes: Sequence[str], entries: Sequence[Entry]) -> list[float] | None:
    """The weight of each class in the loss.

    Args:
        weights_by: "balanced", "sqrt" or NAME=NUMBER, see `ClassifierTraining.class_weights`.
        classes: Names of the classes.
        entries: Training examples; "balanced" and "sqrt" weights have the mean 1 over them.

    Returns:
        A weight for each class, 1 for a class that does not occur; None if `weights_by` is empty.

    Raises:
        ValueError: A word has another form, or names no class.
    """
    if not weights_by:
        return None
    if tuple(weights_by) in (("balanced",), ("sqrt",)):
        counts = _counts(entries, len(classes))
        present = counts > 0
        weights = np.ones(len(classes))
        weights[present] = counts[present] ** (-1.0 if weights_by[0] == "balanced" else -0.5)
        weights[present] *= counts.sum() / (counts * weights)[present].sum()
        return weights.tolist()
    weights = np.ones(len(classes))
    for word in weights_by:
        name, _, number = word.rpartition("=")
        if name not in classes:
            raise ValueError(
                f'`class_weights` must be "balanced", "sqrt" or NAME=NUMBER with a class of {", ".join(classes)}. '
                f"Received: {word!r}.{suggestion(name, classes)}"
            )
        weights[list(classes).index(name)] = float(number)
    return weights.tolist()


def _counts(entries: Sequence[Entry], classes: int) -> np.ndarray:
    """Number of rows or frames of each class."""
    first = entries[0].target
    if np.issubdtype(first.dtype, np.floating):
        return np.sum([entry.target for entry in entries], axis=0)
    labels = np.concatenate([np.atleast_1d(entry.target) for entry in entries])
    return np.bincount(labels[labels >= 0], minlength=classes).astype(float)
