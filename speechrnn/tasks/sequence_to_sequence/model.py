"""SequenceToSequence: encoder, decoder and both vocabularies in one `.keras` file."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.models import bundle
from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder
from speechrnn.tasks.sequence_to_sequence.methods import SequenceMethods
from speechrnn.tasks.sequence_to_sequence.pairs import padded
from speechrnn.tasks.sequence_to_sequence.stepping import DecoderSteps, arrays, begin_by_name
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class SequenceToSequence(SequenceMethods, DecoderSteps, bundle.TwoPartBundle):
    """An encoder-decoder and its symbols: a text goes in, another text comes out.

    Written by plain `model.save("name.keras")`, read by `speechrnn.load` or `keras.saving.load_model`; trained by
    `speechrnn.train` on pairs of texts.

    Args:
        network: As `attention_network` makes it.
        source: Symbols of the sources, such as characters; the encoder's embedding has one row more.
        target: Symbols of the targets, such as phones; the network's outputs are one more.
        max_length: Most symbols of a target.
        card: Anything to know about the model, as JSON can hold it.

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

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        memory = self.encoder([inputs["source"], inputs["source_length"]], training=training)
        given = [inputs["previous"], memory, inputs["source_length"], inputs["target_length"]]
        return self.decoder(*given, guessed=inputs.get("guessed"), training=training)

    def begin(self, sources: Sequence[Sequence[int]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What steps need of sources: what does not change, and the states before the first symbol; rows by name.

        Args:
            sources: Indices of the symbols of each.
        """
        forward = self._compiled(
            self._begin, [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)], name="begin"
        )
        ids, lengths = padded(sources)
        memory, states = forward(tf.constant(ids), tf.constant(lengths))
        return arrays(memory), arrays(states)

    def _begin(self, ids: Any, lengths: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return begin_by_name(self.decoder, self.encoder([ids, lengths], training=False), lengths)
