"""Losses of classifiers: one class, one per frame, or several at once; class weights, smoothing, focal loss."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from speechrnn.losses.reduction import MeanLoss, weighted_mean, weights_like
from speechrnn.losses.targets import classes_like, refuse, shares_like


def softmax_cross_entropy(
    target: Any,
    logits: Any,
    *,
    weights: Sequence[float] | None = None,
    smoothing: float = 0.0,
    focal: float = 0.0,
) -> tf.Tensor:
    """Cross entropy of exclusive classes.

    `w * -sum_k q_k * (1 - p_k)**focal * log(p_k)`, where `q` is the target after label smoothing and `w` the target's
    class weight.

    Args:
        target: int `(batch,)` or `(batch, frames)`, -1 if unknown; or shares of the classes, float `(batch, classes)`.
        logits: float `(..., classes)`, unnormalized. Computed in float32.
        weights: A weight for each class.
        smoothing: Share of the target that is spread evenly over all classes.
        focal: Exponent that lowers the weight of well classified examples.

    Returns:
        float32, the logits' shape without classes, in nats; 0, with a zero gradient, if the target is -1.

    Raises:
        ValueError: The target does not fit the logits, or a class is out of range; within a graph, the latter is
            `tf.errors.InvalidArgumentError`.

    Reference:
        Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 5; smoothing as in Szegedy et al.,
        "Rethinking the Inception architecture", CVPR 2016, section 7.
    """
    logits = tf.cast(logits, tf.float32)
    target, count = classes_like(target, logits), logits.shape[-1]
    if target.dtype.is_floating:
        known, shares = tf.ones(tf.shape(logits)[:-1], tf.bool), target
    else:
        requirement = f"Classes must lie from 0 to {count - 1}, or be -1 where nothing is known."
        with tf.control_dependencies(refuse((target < -1) | (target >= count), target, requirement)):
            known, shares = target >= 0, tf.one_hot(tf.maximum(target, 0), count)
    logits = tf.where(known[..., None], logits, 0.0)
    log_p = tf.nn.log_softmax(logits)
    smoothed = shares * (1.0 - smoothing) + smoothing / count
    terms = smoothed * log_p
    if focal:
        terms *= (1.0 - tf.exp(log_p)) ** focal
    losses = -tf.reduce_sum(terms, -1)
    if weights is not None:
        losses *= tf.linalg.matvec(shares, _for_each(weights, count))
    return tf.where(known, losses, 0.0)


def _for_each(weights: Sequence[float], count: int) -> tf.Tensor:
    if len(weights) != count:
        raise ValueError(f"`weights` must be {count}, one for each class. Received: {len(weights)}, {list(weights)}.")
    return tf.constant(weights, tf.float32)


def sigmoid_cross_entropy(
    target: Any,
    logits: Any,
    *,
    weights: Sequence[float] | None = None,
    smoothing: float = 0.0,
    focal: float = 0.0,
) -> tf.Tensor:
    """Mean cross entropy of classes that do not exclude each other.

    Args:
        target: float `(..., classes)` in [0, 1].
        logits: float `(..., classes)`, unnormalized. Computed in float32.
        weights: A weight for each class, for examples in which it is present.
        smoothing: Label smoothing: how far each target is moved towards a half.
        focal: Exponent that lowers the weight of well classified examples.

    Returns:
        float32 `(...)`, in nats.

    Raises:
        ValueError: Target and logits are of different shapes.
    """
    logits = tf.cast(logits, tf.float32)
    target = shares_like(target, logits)
    smoothed = target * (1.0 - smoothing) + smoothing / 2
    present, absent = -tf.nn.softplus(-logits), -tf.nn.softplus(logits)
    if focal:
        present, absent = present * tf.sigmoid(-logits) ** focal, absent * tf.sigmoid(logits) ** focal
    if weights is not None:
        present *= _for_each(weights, logits.shape[-1])
    return -tf.reduce_mean(smoothed * present + (1.0 - smoothed) * absent, -1)


@keras.saving.register_keras_serializable(package="speechrnn")
class ClassLoss(MeanLoss):
    """Mean classification loss of a batch: over its rows, or over all its frames that have a class.

    Args:
        multi: Whether classes do not exclude each other.
        weights: A weight for each class, which multiplies its rows' losses.
        smoothing: Label smoothing, in [0, 1).
        focal: Exponent of the focal loss; 0 is plain cross entropy.

    Call arguments:
        y_true: int `(batch,)` or `(batch, frames)`, -1 if unknown; or float `(batch, classes)`.
        y_pred: float logits, with a last axis of classes.
        sample_weight: Optional float `(batch,)` or, with classes of frames, `(batch, frames)`.

    Returns:
        float32 scalar, nats per row or per frame; 0 if no class is known.
    """

    def __init__(
        self,
        *,
        multi: bool = False,
        weights: Sequence[float] | None = None,
        smoothing: float = 0.0,
        focal: float = 0.0,
        name: str = "class_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if not 0 <= smoothing < 1 or not focal >= 0:
            raise ValueError(
                f"`smoothing` must be in [0, 1) and `focal` zero or positive. Received: {smoothing=}, {focal=}."
            )
        if weights is not None and not min(weights) >= 0:
            raise ValueError(f"`weights` must be zero or positive. Received: {list(weights)}.")
        self.multi, self.smoothing, self.focal = multi, smoothing, focal
        self.weights = None if weights is None else [float(weight) for weight in weights]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        """See the class."""
        y_true = tf.convert_to_tensor(y_true) if self.multi else classes_like(y_true, tf.convert_to_tensor(y_pred))
        losses = self.call(y_true, y_pred)
        weight = weights_like(losses, sample_weight)
        if not (self.multi or y_true.dtype.is_floating):
            weight = tf.where(y_true >= 0, weight, 0.0)
        return weighted_mean(weight, losses)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each row or frame."""
        function = sigmoid_cross_entropy if self.multi else softmax_cross_entropy
        return function(y_true, y_pred, weights=self.weights, smoothing=self.smoothing, focal=self.focal)
