"""Weighted means of a batch, also of a batch that is distributed over several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from speechrnn.layers.config import Configured

__all__ = ["MeanLoss", "mean_of_possible", "summed", "summed_by", "weighted_mean"]

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
        sample_weight: float `(batch,)` or `(batch, 1)`, or None.

    Returns:
        float32 `(batch,)` weights, 0 for impossible rows; and the mean.
    """
    weight = tf.where(tf.math.is_inf(losses), 0.0, 1.0)
    if sample_weight is not None:
        weight *= tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
    return weight, weighted_mean(weight, tf.where(weight == 0, 0.0, losses))
