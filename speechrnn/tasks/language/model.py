"""LanguageModel: a recurrent network over characters and its vocabulary in one `.keras` file."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.models import bundle, kinds
from speechrnn.tasks.language.methods import LanguageMethods
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class LanguageModel(LanguageMethods, bundle.Bundle):
    """A network and its characters: a sentence goes in, logits of each next character come out.

    Index 0, which no character has, begins and ends a sentence. Written by plain `model.save("lm.keras")`, read by
    `speechrnn.load`; `speechrnn.train` trains it.

    Args:
        network: As `speechrnn.networks.recurrent_lm` makes it.
        vocabulary: The characters; the network's outputs must be as many, and one more.
        card: Anything to know about the model, as JSON can hold it.

    Call arguments:
        inputs: `{"ids": int32 (batch, steps), "length": int32 (batch,)}`.

    Returns:
        float32 `(batch, steps, vocabulary)`, unnormalized; zeros in the padding.

    Raises:
        ValueError: Network and vocabulary do not fit each other.
    """

    kind = "language model"

    def __init__(
        self, network: keras.Model, vocabulary: Vocabulary, *, card: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(
            network,
            card,
            outputs=len(vocabulary),
            outputs_are="one for each character and one for the ends of sentences",
            **kwargs,
        )
        self.vocabulary = vocabulary

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

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `LanguageMethods`."""
        forward = self._compiled(
            lambda ids, n: self({"ids": ids, "length": n}, training=False),
            [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)],
        )
        return forward(tf.constant(ids), tf.constant(lengths)).numpy()

    def stepping(self) -> Any:
        """What writes text step by step: a session of this model as it is now."""
        session, content = map(
            kinds.resolve,
            ("speechrnn.tasks.language.session:LanguageSession", "speechrnn.export.writing:onnx_bytes"),
        )
        return session(content(self))
