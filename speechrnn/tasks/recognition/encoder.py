"""The base class of recognizers whose network is an encoder: symbols depend on its outputs and on previous symbols."""

from typing import Any, ClassVar

import tensorflow as tf

from speechrnn.losses.connectionist import LossWithCTC, measured
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.text import Vocabulary


def without_padding(target: Any) -> Any:
    """Targets int32 `(batch, labels)` without the columns that are padding in all rows, which would only cost time."""
    return target[:, : tf.reduce_max(tf.math.count_nonzero(target, 1))]


class EncoderRecognizer(SpeechRecognizer):
    """Base class of transducers and recognizers with attention."""

    noun: ClassVar[str]
    """Name in messages."""
    loss_class: ClassVar[type[LossWithCTC]]

    def with_vocabulary(self, vocabulary: Vocabulary) -> SpeechRecognizer:
        """Not supported.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"A {self.noun} cannot change its vocabulary. Train a new one, or a recognizer with CTC.")

    def ctc_outputs(self, encoded: Any) -> Any:
        """CTC logits of the encoder, float32 `(batch, frames, vocabulary)`, from its outputs."""
        raise NotImplementedError

    def symbol_logits(self, encoded: Any, target: Any, frames: Any, training: bool | None = None) -> Any:
        """Logits of the target's symbols, in the form that the loss needs.

        Args:
            encoded: float32 `(batch, frames, width)`, outputs of the encoder.
            target: int32 `(batch, labels)`.
            frames: int32 `(batch,)`.
            training: Whether dropout is active.
        """
        raise NotImplementedError

    def _loss(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        ctc, frames = self.ctc_outputs(y_pred) if loss.ctc else None, self.logit_frames(x)
        y = without_padding(y)
        loss = measured(loss, training)
        return loss(y, self.symbol_logits(y_pred, y, frames, training), sample_weight, frames, ctc)
