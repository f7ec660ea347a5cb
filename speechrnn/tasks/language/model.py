"""LanguageModel: a recurrent network over characters and its vocabulary in one `.keras` file."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.decoding import rescoring
from speechrnn.tasks.recognition.model import load_any
from speechrnn.text import Vocabulary

__all__ = ["FORMAT_VERSION", "LanguageModel", "load"]

FORMAT_VERSION = 1
"""Layout of the saved file; a reader refuses one that is newer than itself."""


@keras.saving.register_keras_serializable(package="speechrnn")
class LanguageModel(keras.Model):
    """A network and its characters: a sentence goes in, logits of each next character come out.

    Index 0, which no character has, begins and ends a sentence. Written by plain `model.save("lm.keras")`, read by
    `speechrnn.tasks.language.model.load`; `speechrnn.tasks.language.training.fit` trains it.

    Args:
        network: As `speechrnn.networks.recurrent_lm` makes it.
        vocabulary: The characters; the network's outputs must be as many, and one more.
        card: Anything to know about the model, as JSON can hold it.

    Call arguments:
        inputs: `{"ids": int32 (batch, steps), "length": int32 (batch,)}`.

    Returns:
        float32 `(batch, steps, vocabulary)`, unnormalised; zeros in the padding.

    Raises:
        ValueError: Network and vocabulary do not fit each other.
    """

    def __init__(
        self, network: keras.Model, vocabulary: Vocabulary, *, card: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        outputs = network.output_shape[-1]
        if outputs != len(vocabulary):
            raise ValueError(
                f"The network must have {len(vocabulary)} outputs, one for each character and one for the ends of "
                f"sentences. Received: {outputs} outputs."
            )
        self.network, self.vocabulary, self.card = network, vocabulary, card or {}
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        return self.network([inputs["ids"], inputs["length"]], training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Nats a character, over the valid steps of the batch; `y` int32 `(batch, steps)` is what follows each."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(y, tf.int32), tf.cast(y_pred, tf.float32))
        valid = tf.sequence_mask(x["length"], tf.shape(losses)[1], tf.float32)
        return tf.reduce_sum(losses * valid) / tf.reduce_sum(valid)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Natural logarithm of the probability of each sentence, its end counted: float64 `(texts,)`.

        Raises:
            ValueError: A text has characters that the model lacks.
        """
        found = np.zeros(len(texts))
        for places, ids, lengths in rescoring.batches(self.vocabulary, texts):
            logits = self._forward(tf.constant(ids), tf.constant(lengths)).numpy()
            found[places] = rescoring.log_probabilities(logits, ids, lengths)
        return found

    @property
    def _forward(self) -> Any:
        if "_compiled_forward" not in self.__dict__:
            signature = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)]
            function = tf.function(lambda ids, n: self({"ids": ids, "length": n}, training=False), signature)
            # Past Keras's attribute tracking: a function is no part of the model's state.
            object.__setattr__(self, "_compiled_forward", function)
        return self._compiled_forward

    def bare(self) -> "LanguageModel":
        """A fresh model of the same parts, as it was before it was compiled: Keras saves no optimiser with it."""
        return LanguageModel(self.network, self.vocabulary, card=self.card, name=self.name)

    def get_config(self) -> dict[str, Any]:
        """The parts, and the version of this layout."""
        return {
            "format_version": FORMAT_VERSION,
            "network": keras.saving.serialize_keras_object(self.network),
            "vocabulary": self.vocabulary.get_config(),
            "card": self.card,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LanguageModel":
        """The model that `get_config` described.

        Raises:
            ValueError: The file was written in a newer layout.
        """
        config = dict(config)
        version = config.pop("format_version", None)
        if version is None or version > FORMAT_VERSION:
            raise ValueError(
                f"The model's format version must be at most {FORMAT_VERSION}. Received: {version}. "
                "Install a newer speechrnn to read it."
            )
        network = keras.saving.deserialize_keras_object(config.pop("network"), custom_objects=custom_objects)
        return cls(network, Vocabulary.from_config(config.pop("vocabulary")), **config)


def load(path: str | os.PathLike[str]) -> LanguageModel:
    """Read a language model from its `.keras` file, in Keras's safe mode: no code in the file is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not whole, or holds another kind of model.
    """
    model = load_any(path)
    if not isinstance(model, LanguageModel):
        raise ValueError(f"{os.fspath(path)}: must hold a LanguageModel. Received: a {type(model).__name__}.")
    return model
