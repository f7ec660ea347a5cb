"""Recognizers with attention: an encoder that is trained with CTC, and a decoder that attends to its outputs."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.losses import Attention
from speechrnn.tasks.recognition.encoder import EncoderRecognizer
from speechrnn.tasks.recognition.options import DecoderNetwork
from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder
from speechrnn.tasks.sequence_to_sequence.stepping import DecoderSteps, arrays, begin_by_name
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class AttentionRecognizer(DecoderSteps, EncoderRecognizer):
    """A recognizer of whole recordings whose decoder attends to the encoder's outputs for each symbol.

    The encoder is trained for both CTC, which enforces the order of the frames, and the decoder, whose symbols depend
    on previous ones. The search combines both, see `speechrnn.tasks.recognition.attention_search`. It is built, saved,
    trained, exported and used like any other recognizer, but cannot stream.

    Args:
        features: A layer of `speechrnn.features`.
        network: The encoder, from `[features (batch, frames, features), frames (batch,)]` to `(batch, frames', width)`,
            as `recurrent_ctc` builds it with `vocabulary_size=width`.
        vocabulary: The symbols.
        decoder: Predicts one symbol after the other; 0 is the end.
        ctc: Dense layer from the encoder's outputs to CTC logits.
        card: See `SpeechRecognizer`.

    Call arguments:
        inputs: See `SpeechRecognizer`.

    Returns:
        float32 `(batch, ceil(frames / stride), width)`, the encoder's outputs.

    Raises:
        ValueError: The parts do not fit each other.

    Reference:
        Watanabe, Hori, Kim, Hershey and Hayashi, "Hybrid CTC/attention architecture for end-to-end speech recognition",
        IEEE Journal of Selected Topics in Signal Processing 11, 2017.
    """

    kind = noun = "recognizer with attention"
    loss_class = Attention

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        vocabulary: Vocabulary,
        *,
        decoder: AttentionDecoder,
        ctc: keras.layers.Dense,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        width = network.output_shape[-1]
        super().__init__(features, network, vocabulary, card=card, outputs=width, outputs_are="any number", **kwargs)
        for name, size in (("decoder", decoder.vocabulary_size), ("CTC layer", ctc.units)):
            if size != len(vocabulary):
                raise ValueError(
                    f"The {name} must have {len(vocabulary)} outputs, one for each symbol of the vocabulary and one "
                    f"for the blank or the end. Received: {size}."
                )
        self.decoder, self.ctc = decoder, ctc
        for layer, shapes in ((decoder, [(None, None), (None, None, width)]), (ctc, [(None, None, width)])):
            if not layer.built:
                layer.build(*shapes)

    def ctc_outputs(self, encoded: Any) -> Any:
        """See `EncoderRecognizer`."""
        return self.ctc(encoded)

    def symbol_logits(self, encoded: Any, target: Any, frames: Any, training: bool | None = None) -> Any:
        """Logits float32 `(batch, labels + 1, vocabulary)` of each symbol and the end, given the previous symbols."""
        target = tf.cast(target, tf.int32)
        previous = tf.pad(target, [[0, 0], [1, 0]])
        length = tf.math.count_nonzero(target, 1, dtype=tf.int32) + 1
        return self.decoder(previous, encoded, frames, length, training=training)

    def ctc_logits(self, encoded: np.ndarray) -> np.ndarray:
        """CTC logits float32 `(frames, vocabulary)`, from the encoder's outputs `(frames, width)`."""
        forward = self._compiled(self.ctc, [self._encoded_spec(None)], name="ctc_logits")
        return forward(tf.constant(encoded)).numpy()

    def begin(self, encoded: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The constant inputs of steps, and the first states, from the encoder's outputs `(frames, width)`."""
        forward = self._compiled(
            lambda memory: begin_by_name(self.decoder, memory, tf.shape(memory)[1:2]),
            [self._encoded_spec(1, None)],
            name="begin",
        )
        memory, states = forward(tf.constant(encoded[None]))
        return arrays(memory), arrays(states)

    def _encoded_spec(self, *axes: int | None) -> tf.TensorSpec:
        return tf.TensorSpec((*axes, self.network.output_shape[-1]), tf.float32)

    @classmethod
    def from_encoder(
        cls, features: keras.Layer, vocabulary: Vocabulary, encoder: keras.Model, **options: Any
    ) -> "AttentionRecognizer":
        """A recognizer with the given encoder and an untrained decoder.

        Args:
            features: See the class.
            vocabulary: See the class.
            encoder: The network.
            **options: Options of `DecoderNetwork`, and `dropout`.
        """
        dropout = options.pop("dropout", 0.0)
        sizes, size = DecoderNetwork(**options), len(vocabulary)
        decoder = AttentionDecoder(
            size, units=sizes.joint, attention=sizes.attention, embedding=sizes.embedding, location=sizes.location,
            dropout=dropout, name="decoder",
        )  # fmt: skip
        return cls(
            features, encoder, vocabulary, decoder=decoder, ctc=keras.layers.Dense(size, dtype="float32", name="ctc")
        )
