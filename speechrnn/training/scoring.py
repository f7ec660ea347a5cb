"""Validation: what a model is worth on a dataset of batches: a recogniser, a classifier or a forecaster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from speechrnn import metrics
from speechrnn.decoding.greedy import greedy
from speechrnn.losses import ClassLoss, ctc, pinball
from speechrnn.metrics import edits
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.recognition.model import SpeechRecognizer

__all__ = ["ClassScore", "ClassScorer", "ForecastScore", "ForecastScorer", "Score", "Scorer"]


@dataclass(frozen=True)
class Score:
    """Counts over a dataset, and the rates they give."""

    loss: float
    """Mean CTC loss, nats an utterance, over the rows that are possible."""
    words: edits.Edits
    """Word edits of the best paths, without pairs."""
    tokens: edits.Edits
    """Character edits of the best paths, without pairs."""

    def logs(self) -> dict[str, float]:
        """The rates under the names training logs them by."""
        return {"val_loss": self.loss, "val_token_error_rate": self.tokens.rate, "val_wer": self.words.rate}


class Scorer:
    """Scores a recogniser; the forward pass is traced once and kept.

    Args:
        model: The recogniser.
        batches: A dataset of `speechrnn.pipeline.batches`; it may be iterated many times.
    """

    def __init__(self, model: SpeechRecognizer, batches: Iterable[Any]) -> None:
        self._model, self._batches = model, batches

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor) -> tuple[tf.Tensor, ...]:
            logits, frames = model(x, training=False), model.logit_frames(x)
            return logits, frames, ctc(target, logits, frames)

        self._forward: Callable[..., tuple[tf.Tensor, ...]] = forward

    def __call__(self) -> Score:
        """Score the model as it stands."""
        losses: list[float] = []
        words = tokens = edits.Edits()
        decode = self._model.vocabulary.decode
        for x, target, weight in self._batches:
            logits, frames, loss = (np.asarray(v) for v in self._forward(x, target))
            for row in np.flatnonzero(np.asarray(weight)):
                reference = decode(np.asarray(target[row]))
                hypothesis = decode(greedy(logits[row, : frames[row]]).ids)
                words += edits.counts(reference.split(), hypothesis.split())
                tokens += edits.counts(reference, hypothesis)
                losses.append(float(loss[row]))
        possible = [value for value in losses if np.isfinite(value)]
        return Score(float(np.mean(possible)) if possible else float("nan"), words, tokens)


@dataclass(frozen=True)
class ClassScore:
    """What a classifier is worth on a dataset."""

    loss: float
    """Mean cross entropy in nats, without weights, smoothing or focus."""
    accuracy: float
    """Share that is right of rows, or of frames that have a class; of rows and classes where several can be true."""
    macro_f1: float
    """Mean F1 of the classes that are there or were found, as `speechrnn.metrics` has it."""

    def logs(self) -> dict[str, float]:
        """The rates under the names training logs them by."""
        return {"val_loss": self.loss, "val_accuracy": self.accuracy, "val_macro_f1": self.macro_f1}


class ClassScorer:
    """Scores a classifier; the forward pass is traced once and kept.

    Args:
        model: The classifier.
        batches: A dataset of `speechrnn.pipeline.batches`; it may be iterated many times.
    """

    def __init__(self, model: SequenceClassifier, batches: Iterable[Any]) -> None:
        self._model, self._batches = model, batches
        self._multi = model.task == "multi"
        loss = ClassLoss(multi=self._multi)

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = model(x, training=False)
            return logits, loss.call(target, logits)

        self._forward: Callable[..., tuple[tf.Tensor, tf.Tensor]] = forward

    def __call__(self) -> ClassScore:
        """Score the model as it stands."""
        count, total, loss = len(self._model.classes), 0, 0.0
        counts = np.zeros((count, 2, 2) if self._multi else (count, count), np.int64)
        for x, target, weight in self._batches:
            logits, losses = (np.asarray(v) for v in self._forward(x, target))
            rows, target = np.asarray(weight) > 0, np.asarray(target)
            known = rows if target.ndim == 1 or self._multi else rows[:, None] & (target >= 0)
            loss += float(losses[known].sum())
            total += int(known.sum())
            counts += self._counts(target[known], logits[known])
        figures = metrics.summary(counts, several=self._multi)
        return ClassScore(loss / total if total else float("nan"), **{name: float(v) for name, v in figures.items()})

    def _counts(self, target: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Counts that `metrics.summary` takes."""
        if self._multi:
            return metrics.presence_matrices(target > 0.5, logits >= 0)
        return metrics.confusion_matrix(target, logits.argmax(-1), logits.shape[-1])


@dataclass(frozen=True)
class ForecastScore:
    """What a forecaster is worth on a dataset, in standard deviations of each channel."""

    loss: float
    """Mean pinball loss."""
    mae: float
    """Mean absolute error of the median."""
    mse: float
    """Mean squared error of the median."""

    def logs(self) -> dict[str, float]:
        """The errors under the names training logs them by."""
        return {"val_loss": self.loss, "val_mae": self.mae, "val_mse": self.mse}


class ForecastScorer:
    """Scores a forecaster; the forward pass is traced once and kept.

    Args:
        model: The forecaster.
        batches: A dataset of `speechrnn.pipeline.windows`; it may be iterated many times.
    """

    def __init__(self, model: Forecaster, batches: Iterable[Any]) -> None:
        self._batches = batches
        median, quantiles = model.median, model.quantiles

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor, weight: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
            found, truth = model(x, training=False) / scale[:, None], target / scale
            weight = weight[:, None, None] * tf.cast(~tf.math.is_nan(truth), tf.float32)
            error = tf.where(weight > 0, found[..., median] - truth, 0.0)
            loss = weight * pinball(truth, found, quantiles)
            return tf.stack([tf.reduce_sum(v) for v in (loss, tf.abs(error), tf.square(error), weight)])

        self._model, self._forward = model, forward

    def __call__(self) -> ForecastScore:
        """Score the model as it stands."""
        sums, scale = np.zeros(4), tf.constant(self._model.scale)
        for x, target, weight in self._batches:
            sums += np.asarray(self._forward(x, target, weight, scale), np.float64)
        loss, mae, mse = sums[:3] / sums[3] if sums[3] else [float("nan")] * 3
        return ForecastScore(float(loss), float(mae), float(mse))
