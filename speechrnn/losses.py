"""Connectionist temporal classification (CTC) with a length for every row."""

from typing import Any

import keras
import tensorflow as tf

__all__ = ["CTC", "consistency", "ctc", "required_frames"]


def required_frames(target: Any) -> tf.Tensor:
    """The fewest frames in which CTC can write each target: its length and one blank for each repeat.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0.

    Returns:
        int32 `(batch,)`.

    Example:
    >>> required_frames([[3, 3, 1, 0], [2, 5, 2, 5]]).numpy()
    array([4, 4], dtype=int32)
    """
    target = tf.cast(target, tf.int32)
    written = target != 0
    repeats = (target[:, 1:] == target[:, :-1]) & written[:, 1:]
    return tf.reduce_sum(tf.cast(written, tf.int32), 1) + tf.reduce_sum(tf.cast(repeats, tf.int32), 1)


def ctc(target: Any, logits: Any, frames: Any) -> tf.Tensor:
    """Negative log-likelihood of each target under CTC, over each row's own frames.

    The sparse-label kernels are used: TensorFlow's C++ one on a CPU, cuDNN's on a GPU. They stop at `frames`, so
    padding neither costs nor counts, whatever it holds.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, which is the blank.
        logits: float `(batch, frames, vocabulary)`, unnormalised; index 0 is the blank. Computed in float32.
        frames: int32 `(batch,)`, the number of valid frames.

    Returns:
        float32 `(batch,)`, in nats. A row whose frames are fewer than `required_frames` is impossible: its loss is
        infinite and its gradient zero.

    Reference:
        Graves et al., "Connectionist temporal classification", ICML 2006.
    """
    target, frames = tf.cast(target, tf.int32), tf.cast(frames, tf.int32)
    logits = tf.cast(logits, tf.float32)
    possible, empty = required_frames(target) <= frames, tf.reduce_all(target == 0, 1)
    # The kernels refuse a batch with an impossible or an unlabelled row: there a label that always fits stands in.
    usable = possible & ~empty
    width = tf.shape(target)[1]
    labels = tf.pad(target, [[0, 0], [0, tf.cast(width == 0, tf.int32)]])
    ids = tf.where(usable[:, None], labels, tf.one_hot(0, tf.maximum(width, 1), dtype=tf.int32))
    positions = tf.where(ids != 0)
    loss = tf.nn.ctc_loss(
        tf.SparseTensor(positions, tf.gather_nd(ids, positions), tf.shape(ids, tf.int64)),
        logits,
        label_length=None,
        logit_length=tf.where(usable, frames, 1),
        logits_time_major=False,
        blank_index=0,
    )
    loss = tf.where(usable, loss, float("inf"))
    return tf.cond(tf.reduce_any(empty), lambda: tf.where(empty, _all_blank(logits, frames), loss), lambda: loss)


def _all_blank(logits: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """Loss of the empty target: every valid frame is blank. float32 `(batch,)`."""
    valid = tf.sequence_mask(frames, tf.shape(logits)[1])
    blank = tf.nn.log_softmax(tf.where(valid[:, :, None], logits, 0.0))[:, :, 0]
    return -tf.reduce_sum(tf.where(valid, blank, 0.0), 1)


def consistency(logits: Any, frames: Any) -> tf.Tensor:
    """How far two views of the same utterances disagree: a symmetric Kullback-Leibler divergence, frame by frame.

    Each view is drawn towards the other's output, which is held fixed, so neither drags the other to its own errors.

    Args:
        logits: float `(2 * batch, frames, vocabulary)`; row `i + batch` is the other view of row `i`. In float32.
        frames: int32 `(2 * batch,)`, the number of valid frames; the same for both views of a row.

    Returns:
        float32 `(batch,)`, in nats, summed over the valid frames of each utterance.

    Reference:
        Yao et al., "CR-CTC: Consistency regularization on CTC for improved speech recognition", ICLR 2025, equation 6.
    """
    valid = tf.sequence_mask(frames, tf.shape(logits)[1])
    logits = tf.where(valid[:, :, None], tf.cast(logits, tf.float32), 0.0)
    first, second = tf.split(tf.nn.log_softmax(logits), 2)

    def towards(fixed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        fixed = tf.stop_gradient(fixed)
        return tf.reduce_sum(tf.exp(fixed) * (fixed - moved), [1, 2])

    return (towards(first, second) + towards(second, first)) / 2


@keras.saving.register_keras_serializable(package="speechrnn")
class CTC(keras.losses.Loss):
    """Mean CTC loss of a batch.

    Rows that are impossible (see `ctc`) or have weight 0 are left out of the mean.

    Args:
        consistency: Weight of `consistency` between the two halves of a batch, which must then hold two views of the
            same utterances; 0 leaves it out.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: float `(batch, frames, vocabulary)` logits.
        sample_weight: Optional float `(batch,)`.
        frames: int32 `(batch,)` valid frames; all of them where it is not given.

    Returns:
        float32 scalar, nats an utterance.
    """

    def __init__(self, *, consistency: float = 0.0, name: str = "ctc", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not consistency >= 0:
            raise ValueError(f"`consistency` must be zero or positive. Received: consistency={consistency}.")
        self.consistency = consistency

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, frames: Any = None) -> tf.Tensor:
        """See the class."""
        losses = self.call(y_true, y_pred) if frames is None else ctc(y_true, y_pred, frames)
        weight = tf.ones_like(losses) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        possible = tf.math.is_finite(losses)
        weight = tf.where(possible, weight, 0.0)
        mean = _weighted_mean(weight, tf.where(possible, losses, 0.0))
        if self.consistency:
            frames = tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]) if frames is None else frames
            mean += self.consistency * _weighted_mean(tf.split(weight, 2)[0], consistency(y_pred, frames))
        return mean

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each row over all frames: float32 `(batch,)`."""
        return ctc(y_true, y_pred, tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "consistency": self.consistency}


def _weighted_mean(weight: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.reduce_sum(weight * values), tf.reduce_sum(weight))
