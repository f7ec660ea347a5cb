"""Recognizers whose network is an encoder: symbols come of its outputs and of the symbols before them."""

from typing import Any, ClassVar, Self

import keras
import tensorflow as tf

from speechrnn.losses.connectionist import BesideCTC
from speechrnn.models import bundle
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.text import Vocabulary

__all__ = ["EncoderRecognizer", "without_padding"]


def without_padding(target: Any) -> Any:
    """The columns of targets int32 `(batch, labels)` that are not padding in every row.

    Each would be joined with every frame.
    """
    return target[:, : tf.reduce_max(tf.math.count_nonzero(target, 1))]


class EncoderRecognizer(SpeechRecognizer):
    """What transducers and recognizers with attention share.

    Args:
        features: A layer of `speechrnn.features`.
        network: The encoder.
        vocabulary: The symbols.
        card: See `SpeechRecognizer`.
        outputs: See `Bundle`.
        outputs_are: See `Bundle`.
    """

    noun: ClassVar[str]
    """What messages call it."""
    loss_class: ClassVar[type[BesideCTC]]
    """Of its loss."""
    parts: ClassVar[tuple[str, ...]]
    """Attributes that hold the layers beside the encoder; the constructor takes them by these names."""

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        vocabulary: Vocabulary,
        *,
        card: dict[str, Any] | None = None,
        outputs: int,
        outputs_are: str,
        **kwargs: Any,
    ) -> None:
        bundle.SignalBundle.__init__(self, features, network, card, outputs=outputs, outputs_are=outputs_are, **kwargs)
        self.vocabulary, self._own_loss = vocabulary, self.loss_class()

    def get_config(self) -> dict[str, Any]:
        """The parts, and the version of this layout."""
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self.parts}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model that `get_config` described; see `Bundle.from_config`."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in cls.parts
        }
        return super().from_config({**config, **parts}, custom_objects)

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

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss over each row's own frames, and what layers add; `compile(loss=...)` gives it options."""
        used = self.loss if isinstance(self.loss, self.loss_class) else self._own_loss
        alone, frames = self.ctc_outputs(y_pred) if used.ctc else None, self.logit_frames(x)
        y = without_padding(y)
        loss = used(y, self.symbol_logits(y_pred, y, frames, training), sample_weight, frames, alone)
        for extra in self.losses:
            loss += extra
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The loss alone: what such a model writes takes a search."""
        return self.get_metrics_result()
