"""SpeechRecognizer: a CTC recognizer of features, network and vocabulary in one `.keras` file."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from speechrnn.losses import CTC, required_frames
from speechrnn.losses.connectionist import measured
from speechrnn.losses.reduction import weights_like
from speechrnn.models import bundle
from speechrnn.tasks.recognition.methods import RecognizerMethods
from speechrnn.tasks.recognition.model_types import has_encoder
from speechrnn.tasks.recognition.network import with_outputs
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class SpeechRecognizer(RecognizerMethods, bundle.SignalBundle):
    """A speech recognizer with CTC: computes logits over a vocabulary from signals.

    Save it with `model.save("name.keras")`, and read it with `speechrnn.load` or `keras.saving.load_model`. It can be
    compiled and fitted like any Keras model on batches of `speechrnn.pipeline.batches`; the loss is CTC over each row's
    own frames.

    Args:
        features: A layer of `speechrnn.features`.
        network: Model from `[features (batch, frames, features), frames (batch,)]` to logits, as
            `speechrnn.recurrent_ctc` makes it.
        vocabulary: The symbols; the network must have one output for each of them and one for the blank.
        card: Information about the model (training data, license, scores), as JSON values.

    Call arguments:
        inputs: `{"signal": float32 (batch, samples), "length": int32 (batch,)}`, or features computed by the same
            layer beforehand: `{"features": float32 (batch, frames, features), "frames": int32 (batch,)}`.

    Returns:
        float32 `(batch, ceil(frames / stride), vocabulary)`, unnormalized.

    Raises:
        ValueError: Features, network and vocabulary do not fit each other.
    """

    kind = "recognizer"
    loss_class: ClassVar[type[keras.losses.Loss]] = CTC
    """Class of its loss."""

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        vocabulary: Vocabulary,
        *,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        outputs = {"outputs": len(vocabulary), "outputs_are": "one for each symbol of the vocabulary and the blank"}
        super().__init__(features, network, card, **{**outputs, **kwargs})
        if len(network.output_shape) != 3:
            raise ValueError(
                "The network must have outputs for each frame, (batch, frames, outputs). Received: outputs "
                f"{network.output_shape}. Build its last recurrent layer with return_sequences=True."
            )
        self.vocabulary, self._default_loss = vocabulary, self.loss_class()
        self._token_errors = None if has_encoder(self) else TokenErrorRate(name="token_error_rate")

    def with_vocabulary(self, vocabulary: Vocabulary) -> "SpeechRecognizer":
        """A copy with another vocabulary, for further training.

        Features and network are copied with their weights. So are the outputs of the blank and of symbols that both
        vocabularies have; those of new symbols are initialized.

        Args:
            vocabulary: The vocabulary of the copy, such as the characters of another corpus or language.

        Raises:
            ValueError: The network does not end in a dense layer named "logits", as `recurrent_ctc` makes it.
        """
        features = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(self.features))
        features.build((None, None))
        features.set_weights(self.features.get_weights())
        old = {symbol: i + 1 for i, symbol in enumerate(self.vocabulary.symbols)}
        sources = [0, *(old.get(symbol, -1) for symbol in vocabulary.symbols)]
        return SpeechRecognizer(features, with_outputs(self.network, sources), vocabulary, card=self.card)

    def _loss(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        return measured(loss, training)(y, y_pred, sample_weight, self.logit_frames(x))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The loss, and the token error rate by the best path unless the model needs a search."""
        if self._token_errors is not None:
            self._token_errors.update_state(y, y_pred, sample_weight, self.logit_frames(x))
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits of a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each.

        Returns:
            For each signal float32 `(ceil(frame_count / stride), vocabulary)`, without padding; for a transducer the
            encoder's outputs.
        """
        frames = [int(self.features.frame_count(len(signal))) for signal in signals]
        if not any(frames):
            return [np.zeros((0, self.network.output_shape[-1]), "float32") for _ in signals]
        outputs, frames = self._outputs(signals)
        stride = self.stride
        return [row[: -(-n // stride)] for row, n in zip(outputs, frames, strict=True)]


@keras.saving.register_keras_serializable(package="speechrnn")
class TokenErrorRate(keras.metrics.Metric):
    """Summed edit distance between best-path tokens and targets, divided by the number of target tokens."""

    def __init__(self, name: str = "token_error_rate", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.errors = self.add_weight(name="errors", initializer="zeros")
        self.tokens = self.add_weight(name="tokens", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, frames: Any = None) -> None:
        """Add a batch: targets `(batch, labels)`, logits `(batch, frames, vocabulary)`."""
        y_true = tf.ensure_shape(tf.cast(y_true, tf.int32), [None, None])
        best = tf.argmax(y_pred, -1, tf.int32)
        if frames is not None:
            best = tf.where(tf.sequence_mask(frames, tf.shape(best)[1]), best, 0)
        repeated = tf.pad(best[:, 1:] == best[:, :-1], [[0, 0], [1, 0]])
        hypothesis = tf.sparse.from_dense(_left_packed(tf.where(repeated, 0, best)))
        errors = tf.edit_distance(hypothesis, tf.sparse.from_dense(y_true), normalize=False)
        tokens = tf.cast(tf.math.count_nonzero(y_true, 1), tf.float32)
        weight = weights_like(tokens, sample_weight)
        if frames is not None:
            weight = tf.where(required_frames(y_true) <= frames, weight, 0.0)
        self.errors.assign_add(tf.reduce_sum(weight * errors))
        self.tokens.assign_add(tf.reduce_sum(weight * tokens))

    def result(self) -> Any:
        """The rate, float32 scalar; 0 if there are no tokens."""
        return tf.math.divide_no_nan(tf.convert_to_tensor(self.errors), tf.convert_to_tensor(self.tokens))


def _left_packed(ids: tf.Tensor) -> tf.Tensor:
    """Move each row's non-zero entries to its front."""
    order = tf.argsort(tf.cast(ids == 0, tf.int32), axis=1, stable=True)
    return tf.gather(ids, order, batch_dims=1)
