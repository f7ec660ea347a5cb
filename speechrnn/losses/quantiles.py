"""Losses of forecasts by quantiles."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from speechrnn.losses.reduction import MeanLoss, weighted_mean, weights_like
from speechrnn.losses.targets import rows_like


def check_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    """The quantiles as floats.

    Raises:
        ValueError: They are not increasing and within (0, 1).

    Example:
    >>> check_quantiles([0.1, 0.5, 0.9])
    (0.1, 0.5, 0.9)
    """
    checked = tuple(map(float, quantiles))
    if not checked or not all(a < b for a, b in zip((0.0, *checked), (*checked, 1.0), strict=True)):
        raise ValueError(f"`quantiles` must rise, between 0 and 1. Received: {list(quantiles)}.")
    return checked


def pinball(target: Any, forecast: Any, quantiles: Sequence[float]) -> tf.Tensor:
    """Pinball loss of a forecast by quantiles, times two, so that the median's loss is the absolute error.

    `2 * max(q * e, (q - 1) * e)` with `e = target - forecast`; its mean is smallest if the forecast is the quantile `q`
    of the target.

    Args:
        target: float `(...)`, NaN if unknown.
        forecast: float `(..., quantiles)`.
        quantiles: The quantile levels, in (0, 1).

    Returns:
        float32 `(...)`, the mean over the quantiles; 0, with a zero gradient, if the target is NaN.

    Raises:
        ValueError: Target and forecast do not fit each other.

    Reference:
        Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Example:
    >>> [round(float(loss), 3) for loss in pinball([2.0], [[1.0, 2.0, 4.0]], (0.1, 0.5, 0.9))]
    [0.2]
    """
    forecast = tf.cast(forecast, tf.float32)
    target = tf.cast(rows_like(target, forecast), tf.float32)[..., None]
    if not target.shape.is_compatible_with([*forecast.shape[:-1], 1]):
        raise ValueError(
            "A forecast must have one more axis than its target, that of the quantiles. Received: a target of shape "
            f"{target.shape[:-1]} and a forecast of shape {forecast.shape}."
        )
    levels = tf.constant(quantiles, tf.float32)
    error = tf.where(tf.math.is_nan(target), tf.zeros_like(forecast), target - forecast)
    return tf.reduce_mean(2.0 * tf.maximum(levels * error, (levels - 1.0) * error), -1)


@keras.saving.register_keras_serializable(package="speechrnn")
class QuantileLoss(MeanLoss):
    """Mean pinball loss of a batch, over all known values.

    Args:
        quantiles: The quantile level of each output, increasing, in (0, 1).

    Call arguments:
        y_true: float `(batch, ...)`, NaN if unknown.
        y_pred: float `(batch, ..., quantiles)`.
        sample_weight: Optional float `(batch,)`, or one for each value.

    Returns:
        float32 scalar, in the unit of the target; 0 if no value is known.
    """

    def __init__(self, quantiles: Sequence[float], *, name: str = "quantile_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.quantiles = check_quantiles(quantiles)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """See the class."""
        y_true = tf.cast(y_true, tf.float32)
        losses = self.call(y_true, y_pred)
        known = tf.where(tf.math.is_nan(tf.reshape(y_true, tf.shape(losses))), 0.0, weights_like(losses, sample_weight))
        return weighted_mean(known, losses)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each value."""
        return pinball(y_true, y_pred, self.quantiles)
