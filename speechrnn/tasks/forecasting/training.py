"""Train forecasters on windows of series, with quantile loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf

from speechrnn import pipeline
from speechrnn.losses import QuantileLoss, pinball
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.forecasting.options import ForecasterTraining
from speechrnn.training.task import Scores, Split, Task, refuse_augmentation


class ForecasterTask(Task):
    """Trains a forecaster with the quantile loss."""

    model: Forecaster
    options: ForecasterTraining
    options_class = ForecasterTraining
    monitors: ClassVar = {"loss": 1, "mae": 1, "mse": 1}
    validation_summary = "MAE {val_mae:.4f} MSE {val_mse:.4f} in standard deviations"

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`; series are kept in memory."""
        refuse_augmentation("A forecaster's series", split.augmentation)
        model = self.model
        return pipeline.windows(
            split.examples,
            rate=model.sample_rate,
            channels=model.channels,
            context=model.context,
            horizon=model.horizon,
            known=model.known,
            calendar=model.calendar,
            batch_size=self.options.batch_size,
            shuffle=split.training,
            seed=self.options.seed,
            initial_epoch=split.epoch,
            faults=split.faults,
        )

    def loss(self, dataset: tf.data.Dataset) -> QuantileLoss:
        """See `Task`."""
        return QuantileLoss(self.model.quantiles)

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], ForecastScore]:
        """See `Task`; the forward pass is traced once and kept."""
        model, median, quantiles = self.model, self.model.median, self.model.quantiles

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor, weight: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
            forecast, truth = model(x, training=False) / scale[:, None], target / scale
            weight = weight[:, None, None] * tf.cast(~tf.math.is_nan(truth), tf.float32)
            error = tf.where(weight > 0, forecast[..., median] - truth, 0.0)
            loss = weight * pinball(truth, forecast, quantiles)
            return tf.stack([tf.reduce_sum(v) for v in (loss, tf.abs(error), tf.square(error), weight)])

        def score() -> ForecastScore:
            sums, scale = np.zeros(4), tf.constant(model.scale)
            for x, target, weight in dataset:
                sums += np.asarray(forward(x, target, weight, scale), np.float64)
            loss, mae, mse = sums[:3] / sums[3] if sums[3] else [float("nan")] * 3
            return ForecastScore(float(loss), float(mae), float(mse))

        return score


@dataclass(frozen=True)
class ForecastScore(Scores):
    """Scores of a forecaster on a dataset, in standard deviations of each channel."""

    loss: float
    """Mean pinball loss."""
    mae: float
    """Mean absolute error of the median."""
    mse: float
    """Mean squared error of the median."""
