"""SequenceToSequence: an encoder-decoder with both vocabularies in one `.keras` file."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.losses import ClassLoss
from speechrnn.models import bundle
from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder
from speechrnn.tasks.sequence_to_sequence.methods import SequenceMethods
from speechrnn.tasks.sequence_to_sequence.pairs import padded
from speechrnn.tasks.sequence_to_sequence.stepping import DecoderSteps, arrays, begin_by_name
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class SequenceToSequence(SequenceMethods, DecoderSteps, bundle.TwoPartBundle):
    """An attention encoder-decoder, which converts texts to other texts, such as letters to phones.

    Save it with `model.save("name.keras")`, and read it with `speechrnn.load` or `keras.saving.load_model`;
    `speechrnn.train` trains it on pairs of texts.

    Args:
        network: A network as `attention_network` builds it.
        source: Symbols of the sources, such as characters; the encoder's embedding has one more row.
        target: Symbols of the targets, such as phones; the network has one more output.
        max_length: Largest number of symbols of a target.
        card: Information about the model, as JSON values.

    Call arguments:
        inputs: `{"source": int32 (batch, source symbols), "source_length": int32 (batch,), "previous": int32 (batch,
            steps), "target_length": int32 (batch,)}`, and optionally `"guessed": bool (batch, steps)`, see
            `AttentionDecoder`.

    Returns:
        float32 `(batch, steps, target symbols + 1)`, unnormalized; zeros in the padding.

    Raises:
        ValueError: Network and vocabularies do not fit each other.
    """

    kind = "sequence to sequence"
    vocabularies = ("source", "target")
    decoder_class = AttentionDecoder
    made_by = "attention_network"

    def __init__(
        self,
        network: keras.Model,
        source: Vocabulary,
        target: Vocabulary,
        *,
        max_length: int,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            network,
            card,
            symbols=len(source),
            outputs=len(target),
            outputs_are="one for each target symbol and one for the end",
            **kwargs,
        )
        if max_length < 1:
            raise ValueError(f"`max_length` must be at least 1. Received: {max_length}.")
        self.source, self.target, self.max_length = source, target, max_length
        self._default_loss = ClassLoss()

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        memory = self.encoder([inputs["source"], inputs["source_length"]], training=training)
        arguments = [inputs["previous"], memory, inputs["source_length"], inputs["target_length"]]
        return self.decoder(*arguments, guessed=inputs.get("guessed"), training=training)

    def begin(self, sources: Sequence[Sequence[int]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The constant inputs of steps, and the states before the first symbol, by name, a row for each source.

        Args:
            sources: Indices of each source's symbols.
        """
        forward = self._compiled(
            self._begin, [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)], name="begin"
        )
        ids, lengths = padded(sources)
        memory, states = forward(tf.constant(ids), tf.constant(lengths))
        return arrays(memory), arrays(states)

    def _begin(self, ids: Any, lengths: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return begin_by_name(self.decoder, self.encoder([ids, lengths], training=False), lengths)
