"""Weighted means of a batch, also of a batch that is distributed over several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from speechrnn.layers.config import Configured

__all__ = ["MeanLoss", "mean_of_possible", "summed", "summed_by", "weighted_mean", "weights_like"]

Sum = Callable[[Sequence[tf.Tensor]], Sequence[tf.Tensor]]
"""Returns the sums of tensors over all processes."""

_sum: ContextVar[Sum | None] = ContextVar("sum", default=None)


@contextmanager
def summed_by(total: Sum) -> Iterator[None]:
    """Trace a block as one of several processes, over which `total` sums tensors."""
    token = _sum.set(total)
    try:
        yield
    finally:
        _sum.reset(token)


def summed(tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """Sums over all processes, without a gradient; the tensors themselves if there is one process only."""
    total = _sum.get()
    return tensors if total is None else total([tf.stop_gradient(tensor) for tensor in tensors])


def weighted_mean(weight: Any, values: Any) -> tf.Tensor:
    """`sum(weight * values) / sum(weight)`, 0 if the weights are 0.

    If several processes share a batch, both sums go over all of its rows: the value is the mean of the whole batch, and
    the gradient is this process's part of it, so that the parts add up. A mean of the processes' means would give rows
    more weight in a process whose weights sum to less.
    """
    total, weights = tf.reduce_sum(weight * values), tf.reduce_sum(weight)
    if _sum.get() is None:
        return tf.math.divide_no_nan(total, weights)
    sums = summed([total, weights])
    part = tf.math.divide_no_nan(total, sums[1])
    return part + tf.stop_gradient(tf.math.divide_no_nan(sums[0], sums[1]) - part)


def weights_like(values: tf.Tensor, sample_weight: Any) -> tf.Tensor:
    """Weights as float32 of the shape of `values`.

    Args:
        values: `(batch, ...)`, what is weighted.
        sample_weight: A number, a weight for each row, or one for each value; with axes of size 1 behind, as Keras's
            losses take them, or None.

    Raises:
        ValueError: They are of another shape.
    """
    ones = tf.ones_like(values, tf.float32)
    if sample_weight is None:
        return ones
    weight = tf.cast(sample_weight, tf.float32)
    while weight.shape.rank and weight.shape.rank > values.shape.rank and weight.shape[-1] == 1:
        weight = tf.squeeze(weight, -1)
    if weight.shape.rank is None:  # arrays lose theirs in Keras's `fit`
        rows, all_of_them = tf.concat([tf.shape(values)[:1], [1] * (values.shape.rank - 1)], 0), tf.shape(values)
        return ones * tf.reshape(weight, tf.where(tf.size(weight) == rows[0], rows, all_of_them))
    rows = values.shape[:1] + [1] * (values.shape.rank - 1)
    if weight.shape.rank == 1 and weight.shape.is_compatible_with(rows[:1]):
        weight = tf.reshape(weight, [-1, *rows[1:]])
    fitting: list[Any] = [[], rows, values.shape]
    if not any(weight.shape.is_compatible_with(shape) for shape in fitting):
        raise ValueError(
            f"`sample_weight` must be a weight for each row, or one for each value, of shape {tuple(values.shape)}. "
            f"Received: shape {tuple(weight.shape)}."
        )
    return ones * weight


class MeanLoss(Configured, keras.losses.Loss):
    """Base of losses that are a weighted mean over a batch; the subclass gives losses and weights.

    Raises:
        ValueError: `reduction` is not the mean.
    """

    def __init__(self, *, reduction: str = "sum_over_batch_size", **kwargs: Any) -> None:
        super().__init__(reduction=reduction, **kwargs)
        if reduction != "sum_over_batch_size":
            raise ValueError(
                f"`reduction` must be left out: {type(self).__name__} is the mean over a batch, and its method `call` "
                f"gives the loss of each row. Received: {reduction=}."
            )


def mean_of_possible(losses: Any, sample_weight: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted mean of the finite losses; NaN if one of them is NaN.

    Args:
        losses: float32 `(batch,)`; infinite for an impossible row.
        sample_weight: See `weights_like`.

    Returns:
        float32 `(batch,)` weights, 0 for impossible rows; and the mean.
    """
    weight = tf.where(tf.math.is_inf(losses), 0.0, weights_like(losses, sample_weight))
    return weight, weighted_mean(weight, tf.where(weight == 0, 0.0, losses))
