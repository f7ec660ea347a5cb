"""What differs between training a recogniser, a classifier and a forecaster: targets, loss, score, and their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import keras
import numpy as np
import tensorflow as tf

from speechrnn import pipeline
from speechrnn.data.manifest import Example
from speechrnn.faults import suggestion
from speechrnn.losses import CTC, ClassLoss, QuantileLoss
from speechrnn.models.bundle import Bundle
from speechrnn.pipeline.selection import Entry
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.classification.options import ClassifierTraining
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.forecasting.options import ForecasterTraining
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.options import RecognizerTraining
from speechrnn.training.options import SignalTraining, TrainingOptions, promoted
from speechrnn.training.scoring import ClassScorer, ForecastScorer, Scorer

__all__ = ["Classification", "Forecasting", "Scores", "Task", "Transcription", "class_weights", "task_of"]


class Scores(Protocol):
    """What a scorer gives."""

    def logs(self) -> dict[str, float]:
        """The rates under the names training logs them by."""


class Task:
    """What a model is trained for.

    Args:
        model: The model.
        options: How to train; None for the defaults of the kind.

    Raises:
        TypeError: They are options of another kind.
    """

    options: Any
    """The options, of the kind's class."""
    kind: ClassVar[type[TrainingOptions]]
    """Its options."""

    monitors: ClassVar[Mapping[str, int]]
    """What may be monitored, the default first: 1 where lower is better, -1 where higher is."""
    noun: ClassVar[str]

    def __init__(self, model: Any, options: TrainingOptions | None) -> None:
        self.model, self.options = model, promoted(options, self.kind, noun=self.noun)
        self.monitor = next(iter(self.monitors)) if self.options.monitor == "auto" else self.options.monitor

    def badness(self, logs: Mapping[str, float]) -> float:
        """What is monitored, so that lower is better."""
        return self.monitors[self.monitor] * logs[f"val_{self.monitor}"]

    def batches(self, examples: Sequence[Example], *, training: bool, **options: Any) -> tf.data.Dataset:
        """Batches to train on or to validate on."""
        raise NotImplementedError

    def loss(self, dataset: tf.data.Dataset) -> keras.losses.Loss:
        """What is minimised on a dataset that `batches` made."""
        raise NotImplementedError

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], Scores]:
        """What scores the model on a dataset that `batches` made."""
        raise NotImplementedError

    def trained(self, logs: Mapping[str, float]) -> str:
        """Words about the training examples."""
        raise NotImplementedError

    def validated(self, logs: Mapping[str, float]) -> str:
        """Words about the validation examples."""
        raise NotImplementedError


class Transcription(Task):
    """Texts, by CTC."""

    model: SpeechRecognizer
    options: RecognizerTraining
    kind = RecognizerTraining
    monitors: ClassVar = {"wer": 1, "loss": 1}
    noun = "recognizer"

    def batches(self, examples: Sequence[Example], *, training: bool, **options: Any) -> tf.data.Dataset:
        """See `Task`."""
        views = 2 if training and self.options.consistency else 1
        options |= _of_recordings(self.options)
        return pipeline.batches(examples, self.model.features, self.model.vocabulary, views=views, **options)

    def loss(self, dataset: tf.data.Dataset) -> CTC:
        """See `Task`."""
        return CTC(consistency=self.options.consistency)

    def scorer(self, dataset: tf.data.Dataset) -> Scorer:
        """See `Task`."""
        return Scorer(self.model, dataset)

    def trained(self, logs: Mapping[str, float]) -> str:
        """Token errors."""
        return f"token errors {logs.get('token_error_rate', 0):.1%}"

    def validated(self, logs: Mapping[str, float]) -> str:
        """Word errors."""
        return f"WER {logs['val_wer']:.1%}"


class Classification(Task):
    """Classes, by cross entropy."""

    model: SequenceClassifier
    options: ClassifierTraining
    kind = ClassifierTraining
    monitors: ClassVar = {"macro_f1": -1, "accuracy": -1, "loss": 1}
    noun = "classifier"

    def batches(self, examples: Sequence[Example], *, training: bool, **options: Any) -> tf.data.Dataset:
        """See `Task`."""
        varied = {"balance": self.options.balance, "mixup": self.options.mixup} if training else {}
        model, options = self.model, options | varied | _of_recordings(self.options)
        return pipeline.batches(examples, model.features, classes=model.classes, task=model.task, **options)

    def loss(self, dataset: tf.data.Dataset) -> ClassLoss:
        """See `Task`."""
        options, entries = self.options, pipeline.plan_of(dataset).entries
        return ClassLoss(
            multi=self.model.task == "multi",
            weights=class_weights(options.class_weights, self.model.classes, entries),
            smoothing=options.label_smoothing,
            focal=options.focal,
        )

    def scorer(self, dataset: tf.data.Dataset) -> ClassScorer:
        """See `Task`."""
        return ClassScorer(self.model, dataset)

    def trained(self, logs: Mapping[str, float]) -> str:
        """Accuracy."""
        return f"accuracy {logs.get('accuracy', 0):.1%}"

    def validated(self, logs: Mapping[str, float]) -> str:
        """Accuracy and mean F1."""
        return f"accuracy {logs['val_accuracy']:.1%} F1 {logs['val_macro_f1']:.3f}"


class Forecasting(Task):
    """What comes, by quantiles."""

    model: Forecaster
    options: ForecasterTraining
    kind = ForecasterTraining
    monitors: ClassVar = {"loss": 1, "mae": 1, "mse": 1}
    noun = "forecaster"

    def batches(self, examples: Sequence[Example], *, training: bool, **options: Any) -> tf.data.Dataset:
        """See `Task`; series are kept in memory."""
        if options["augmentation"] is not None:
            raise ValueError(f"A forecaster's series are not augmented. Received: {options['augmentation']}.")
        taken = ("batch_size", "faults", "initial_epoch", "seed", "shuffle")
        model = self.model
        return pipeline.windows(
            examples,
            rate=model.sample_rate,
            channels=model.channels,
            context=model.context,
            horizon=model.horizon,
            **{name: options[name] for name in taken},
        )

    def loss(self, dataset: tf.data.Dataset) -> QuantileLoss:
        """See `Task`."""
        return QuantileLoss(self.model.quantiles)

    def scorer(self, dataset: tf.data.Dataset) -> ForecastScorer:
        """See `Task`."""
        return ForecastScorer(self.model, dataset)

    def trained(self, logs: Mapping[str, float]) -> str:
        """Nothing that the loss does not say; its third digit matters."""
        return f"({logs.get('loss', 0):.4f})"

    def validated(self, logs: Mapping[str, float]) -> str:
        """Errors in standard deviations."""
        return f"({logs['val_loss']:.4f}) MAE {logs['val_mae']:.4f} MSE {logs['val_mse']:.4f}"


def _of_recordings(options: SignalTraining) -> dict[str, Any]:
    """How recordings are batched."""
    how = {"batch_seconds": options.batch_seconds, "cache": options.cache, "max_duration": options.max_duration}
    return how if options.batch_seconds is None else {**how, "batch_size": None}


def task_of(model: Bundle, options: TrainingOptions | None) -> Task:
    """What a model is trained for.

    Raises:
        TypeError: It is no recogniser, classifier or forecaster, or the options are for models of another kind.
    """
    kinds: dict[type[Bundle], type[Task]] = {
        SpeechRecognizer: Transcription,
        SequenceClassifier: Classification,
        Forecaster: Forecasting,
    }
    for kind, task in kinds.items():
        if isinstance(model, kind):
            return task(model, options)
    known = ", ".join(kind.__name__ for kind in kinds)
    raise TypeError(f"`model` must be one of {known}. Received: {type(model).__name__}.")


def class_weights(given: Sequence[str], classes: Sequence[str], entries: Sequence[Entry]) -> list[float] | None:
    """The weight of each class in the loss.

    Args:
        given: "balanced", "sqrt" or NAME=NUMBER, as `ClassifierTraining.class_weights` has them.
        classes: Names of the classes.
        entries: What is learnt from; the weights of what is in it have the mean 1.

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
