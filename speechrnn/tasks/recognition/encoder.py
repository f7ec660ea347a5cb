"""Recognizers whose network is an encoder: symbols come of its outputs and of the symbols before them."""

from typing import Any, ClassVar

import tensorflow as tf

from speechrnn.losses.connectionist import BesideCTC
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.text import Vocabulary


def without_padding(target: Any) -> Any:
    """The columns of targets int32 `(batch, labels)` that are not padding in every row.

    Each would be joined with every frame.
    """
    return target[:, : tf.reduce_max(tf.math.count_nonzero(target, 1))]


class EncoderRecognizer(SpeechRecognizer):
    """What transducers and recognizers with attention share."""

    noun: ClassVar[str]
    """What messages call it."""
    loss_class: ClassVar[type[BesideCTC]]

    def with_vocabulary(self, vocabulary: Vocabulary) -> SpeechRecognizer:
        """Not for these models.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"A {self.noun} cannot change its vocabulary. Train a new one, or a recognizer with CTC.")

    def ctc_outputs(self, encoded: Any) -> Any:
        """Logits of the encoder alone, float32 `(batch, frames, vocabulary)`, from its outputs."""
        raise NotImplementedError

    def symbol_logits(self, encoded: Any, target: Any, frames: Any, training: bool | None = None) -> Any:
        """Logits of symbols as the loss takes them.

        Args:
            encoded: float32 `(batch, frames, width)`, what a call gives.
            target: int32 `(batch, labels)`.
            frames: int32 `(batch,)`.
            training: Whether some of what is read is dropped.
        """
        raise NotImplementedError

    def _loss(self, used: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        alone, frames = self.ctc_outputs(y_pred) if used.ctc else None, self.logit_frames(x)
        y = without_padding(y)
        return used(y, self.symbol_logits(y_pred, y, frames, training), sample_weight, frames, alone)
