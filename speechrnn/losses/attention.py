"""The loss of attention decoders: cross entropy of every symbol and of the end, given the previous symbols."""

from typing import Any

import keras
import tensorflow as tf

from speechrnn.losses.classes import softmax_cross_entropy
from speechrnn.losses.connectionist import LossWithCTC


@keras.saving.register_keras_serializable(package="speechrnn")
class Attention(LossWithCTC):
    """Mean cross entropy of a batch of texts, summed over their symbols and ends, plus CTC of the encoder.

    Args:
        smoothing: Label smoothing: the share of each target that is spread evenly over all symbols.
        name: Name of the loss.
        **kwargs: `ctc` and `consistency`, see `LossWithCTC`.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: float `(batch, labels + 1, vocabulary)` logits of each next symbol; 0 is the end.
        sample_weight: Optional float `(batch,)`.
        frames: int32 `(batch,)` valid frames, for CTC.
        encoder_logits: float `(batch, frames, vocabulary)`, the encoder's logits for CTC.

    Returns:
        float32 scalar, nats per utterance.
    """

    def __init__(self, *, smoothing: float = 0.0, name: str = "attention", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not 0 <= smoothing < 1:
            raise ValueError(f"`smoothing` must be in [0, 1). Received: smoothing={smoothing}.")
        self.smoothing = smoothing

    def rows(self, y_true: Any, y_pred: Any, frames: Any) -> tf.Tensor:
        """See `LossWithCTC`; `frames` is not used."""
        target = tf.pad(tf.cast(y_true, tf.int32), [[0, 0], [0, 1]])
        labels = tf.math.count_nonzero(target, 1, dtype=tf.int32)
        known = tf.sequence_mask(labels + 1, tf.shape(target)[1])
        return tf.reduce_sum(softmax_cross_entropy(tf.where(known, target, -1), y_pred, smoothing=self.smoothing), 1)
