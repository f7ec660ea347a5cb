"""Weighted means of a batch, also of one whose rows several processes share."""

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
"""Gives the sums, over all processes, of tensors that each of them has."""

_sum: ContextVar[Sum | None] = ContextVar("sum", default=None)


@contextmanager
def summed_by(total: Sum) -> Iterator[None]:
    """Within the block, what is traced belongs to one of several processes, whose sums `total` gives."""
    token = _sum.set(total)
    try:
        yield
    finally:
        _sum.reset(token)


def summed(tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """Sums over all processes, without a gradient; the tensors themselves where there is one process."""
    total = _sum.get()
    return tensors if total is None else total([tf.stop_gradient(tensor) for tensor in tensors])


def weighted_mean(weight: Any, values: Any) -> tf.Tensor:
    """`sum(weight * values) / sum(weight)`, 0 where there is no weight.

    Where several processes share a batch both sums go over all of its rows: the value is the mean of the whole batch,
    and the gradient is this process's part of it, so that the parts add up. A mean of the processes' means would give
    rows of a lighter part more weight.
    """
    own, weights = tf.reduce_sum(weight * values), tf.reduce_sum(weight)
    if _sum.get() is None:
        return tf.math.divide_no_nan(own, weights)
    sums = summed([own, weights])
    part = tf.math.divide_no_nan(own, sums[1])
    return part + tf.stop_gradient(tf.math.divide_no_nan(sums[0], sums[1]) - part)


class MeanLoss(Configured, keras.losses.Loss):
    """A loss whose value is the mean over what counts in a batch; a subclass says what that is.

    Raises:
        ValueError: Another reduction than the mean is asked for.
    """

    def __init__(self, *, reduction: str = "sum_over_batch_size", **kwargs: Any) -> None:
        super().__init__(reduction=reduction, **kwargs)
        if reduction != "sum_over_batch_size":
            raise ValueError(
                f"`reduction` must be left out: {type(self).__name__} is the mean over a batch, and its method `call` "
                f"gives the loss of each row. Received: {reduction=}."
            )


def mean_of_possible(losses: Any, sample_weight: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The weighted mean of the losses that are not infinite; it is NaN where one of them is.

    Args:
        losses: float32 `(batch,)`; infinite for a row that is impossible.
        sample_weight: float `(batch,)` or `(batch, 1)`, or None.

    Returns:
        float32 `(batch,)` weights, 0 for what is impossible; and the mean.
    """
    weight = tf.where(tf.math.is_inf(losses), 0.0, 1.0)
    if sample_weight is not None:
        weight *= tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
    return weight, weighted_mean(weight, tf.where(weight == 0, 0.0, losses))
