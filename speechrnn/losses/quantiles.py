"""Losses of forecasts: a forecast by quantiles is right on average where each quantile is."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from speechrnn.losses.reduction import MeanLoss, weighted_mean


def check_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    """The quantiles as floats.

    Raises:
        ValueError: They do not rise within (0, 1).

    Example:
    >>> check_quantiles([0.1, 0.5, 0.9])
    (0.1, 0.5, 0.9)
    """
    found = tuple(map(float, quantiles))
    if not found or not all(a < b for a, b in zip((0.0, *found), (*found, 1.0), strict=True)):
        raise ValueError(f"`quantiles` must rise, between 0 and 1. Received: {list(quantiles)}.")
    return found


def pinball(target: Any, forecast: Any, quantiles: Sequence[float]) -> tf.Tensor:
    """Pinball loss of a forecast by quantiles, twice over: that of the median is the absolute error.

    `2 * max(q * e, (q - 1) * e)` with `e = target - forecast`, whose mean is least where the forecast is the quantile
    `q` of the target.

    Args:
        target: float `(...)`, NaN where nothing is known.
        forecast: float `(..., quantiles)`.
        quantiles: What each of them is, in (0, 1).

    Returns:
        float32 `(...)`, the mean over the quantiles; 0 where the target is NaN, with a zero gradient.

    Reference:
        Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Example:
    >>> [round(float(loss), 3) for loss in pinball([2.0], [[1.0, 2.0, 4.0]], (0.1, 0.5, 0.9))]
    [0.2]
    """
    target, forecast = tf.cast(target, tf.float32)[..., None], tf.cast(forecast, tf.float32)
    shares = tf.constant(quantiles, tf.float32)
    error = tf.where(tf.math.is_nan(target), tf.zeros_like(forecast), target - forecast)
    return tf.reduce_mean(2.0 * tf.maximum(shares * error, (shares - 1.0) * error), -1)


@keras.saving.register_keras_serializable(package="speechrnn")
class QuantileLoss(MeanLoss):
    """Mean pinball loss of a batch, over all values that are known.

    Args:
        quantiles: What each output is a quantile of, rising, in (0, 1).

    Call arguments:
        y_true: float `(batch, ...)`, NaN where nothing is known.
        y_pred: float `(batch, ..., quantiles)`.
        sample_weight: Optional float `(batch,)`.

    Returns:
        float32 scalar, in the unit of the target; 0 if nothing is known.
    """

    def __init__(self, quantiles: Sequence[float], *, name: str = "quantile_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.quantiles = check_quantiles(quantiles)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """See the class."""
        y_true = tf.cast(y_true, tf.float32)
        losses = self.call(y_true, y_pred)
        weight = tf.cast(~tf.math.is_nan(y_true), tf.float32)
        if sample_weight is not None:
            row = tf.cast(sample_weight, tf.float32)
            weight *= tf.reshape(row, [-1] + [1] * (losses.shape.rank - 1))
        return weighted_mean(weight, losses)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each value."""
        return pinball(y_true, y_pred, self.quantiles)
