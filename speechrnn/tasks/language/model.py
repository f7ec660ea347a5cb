"""LanguageModel: a recurrent language model with its vocabulary in one `.keras` file."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.losses import softmax_cross_entropy
from speechrnn.losses.reduction import weighted_mean, weights_like
from speechrnn.models import bundle, kinds
from speechrnn.tasks.language.methods import LanguageMethods
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class LanguageModel(LanguageMethods, bundle.Bundle):
    """A recurrent language model: computes logits of each next symbol of a sentence.

    Index 0, which is no symbol, begins and ends a sentence. Save it with `model.save("lm.keras")`, and read it with
    `speechrnn.load`; `speechrnn.train` trains it.

    Args:
        network: A network as `speechrnn.networks.recurrent_lm` builds it.
        vocabulary: The symbols; the network must have one more output.
        card: Information about the model, as JSON values.

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

    def _loss(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        """Nats per symbol, over the valid steps of the batch; `y` int32 `(batch, steps)` is each next symbol."""
        losses = softmax_cross_entropy(y, y_pred)
        valid = tf.sequence_mask(x["length"], tf.shape(losses)[1])
        return weighted_mean(tf.where(valid, weights_like(losses, sample_weight), 0.0), losses)

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `LanguageMethods`."""
        forward = self._compiled(
            lambda ids, n: self({"ids": ids, "length": n}, training=False),
            [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)],
        )
        return forward(tf.constant(ids), tf.constant(lengths)).numpy()

    def stepping(self) -> Any:
        """A session of the model with its present weights, which generates text step by step."""
        session, content = map(
            kinds.resolve,
            ("speechrnn.tasks.language.session:LanguageSession", "speechrnn.export.writing:onnx_bytes"),
        )
        return session(content(self))
