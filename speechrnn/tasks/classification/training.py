"""Training classifiers: classes, by cross entropy."""

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
    """Classes, by cross entropy."""

    model: SequenceClassifier
    options: ClassifierTraining
    options_class = ClassifierTraining
    monitors: ClassVar = {"macro_f1": -1, "accuracy": -1, "loss": 1}
    training_summary = "accuracy {accuracy:.1%}"
    validation_summary = "accuracy {val_accuracy:.1%}, mean F1 {val_macro_f1:.3f}"
    supports_hosts = True

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`."""
        varied = {"balance": self.options.balance, "mixup": self.options.mixup} if split.training else {}
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
            **varied,
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
        """See `Task`; the forward pass is traced once and kept."""
        model, several, count = self.model, self.model.task == "multi", len(self.model.classes)
        loss = ClassLoss(multi=several)

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = model(x, training=False)
            return logits, loss.call(target, logits)

        def score() -> ClassScore:
            total, lost, counts = 0, 0.0, np.zeros((count, 2, 2) if several else (count, count), np.int64)
            for x, target, weight in dataset:
                logits, losses = (np.asarray(v) for v in forward(x, target))
                rows, target = np.asarray(weight) > 0, np.asarray(target)
                known = rows if target.ndim == 1 or several else rows[:, None] & (target >= 0)
                lost += float(losses[known].sum())
                total += int(known.sum())
                truth, found = target[known], logits[known]
                counts += (
                    metrics.presence_matrices(truth > 0.5, found >= 0)
                    if several
                    else metrics.confusion_matrix(truth, found.argmax(-1), count)
                )
            figures = metrics.summary(counts, several=several)
            return ClassScore(
                lost / total if total else float("nan"), **{name: float(v) for name, v in figures.items()}
            )

        return score


@dataclass(frozen=True)
class ClassScore(Scores):
    """What a classifier is worth on a dataset."""

    loss: float
    """Mean cross entropy in nats, without weights, smoothing or focus."""
    accuracy: float
    """Share that is right of rows, or of frames that have a class; of rows and classes where several can be true."""
    macro_f1: float
    """Mean F1 of the classes that are there or were found, as `speechrnn.metrics` has it."""


def class_weights(given: Sequence[str], classes: Sequence[str], entries: Sequence[Entry]) -> list[float] | None:
    """The weight of each class in the loss.

    Args:
        given: "balanced", "sqrt" or NAME=NUMBER, as `ClassifierTraining.class_weights` has them.
        classes: Names of the classes.
        entries: What is learned from; the weights of what is in it have the mean 1.

    Returns:
        A weight for each class, or None where none is given; 1 for a class that is not there.

    Raises:
        ValueError: A word is of another form, or no class.
    """
    if not given:
        return None
    if tuple(given) in (("balanced",), ("sqrt",)):
        counts = _counts(entries, len(classes))
        there = counts > 0
        weights = np.ones(len(classes))
        weights[there] = counts[there] ** (-1.0 if given[0] == "balanced" else -0.5)
        weights[there] *= counts.sum() / (counts * weights)[there].sum()
        return weights.tolist()
    weights = np.ones(len(classes))
    for word in given:
        name, _, number = word.rpartition("=")
        if name not in classes:
            raise ValueError(
                f'`class_weights` must be "balanced", "sqrt" or NAME=NUMBER with a class of {", ".join(classes)}. '
                f"Received: {word!r}.{suggestion(name, classes)}"
            )
        weights[list(classes).index(name)] = float(number)
    return weights.tolist()


def _counts(entries: Sequence[Entry], classes: int) -> np.ndarray:
    """How often each class is there, in rows or frames."""
    first = entries[0].target
    if np.issubdtype(first.dtype, np.floating):
        return np.sum([entry.target for entry in entries], axis=0)
    labels = np.concatenate([np.atleast_1d(entry.target) for entry in entries])
    return np.bincount(labels[labels >= 0], minlength=classes).astype(float)
