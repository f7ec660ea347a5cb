"""The attention encoder-decoder."""

from typing import Literal

import keras

from speechrnn.layers import LengthMask, blocks
from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder

__all__ = ["attention_network"]


def attention_network(
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    *,
    source_size: int,
    target_size: int,
    units: int = 256,
    layers: int = 1,
    attention: int = 128,
    embedding: int = 64,
    dropout: float = 0.2,
    dtype: str | None = None,
    name: str = "attention_network",
) -> keras.Model:
    """Bidirectional encoder of symbols, and a recurrent decoder with additive attention over its outputs.

    Args:
        cell: Recurrent cell of both.
        source_size: Number of source symbols, and one more: `len(vocabulary)`.
        target_size: The same of the target; the symbol that begins and ends it is the one more.
        units: Size of a recurrent state, of each direction in the encoder.
        layers: Bidirectional layers of the encoder.
        attention: Size of what the attention compares.
        embedding: Size of a symbol's vector.
        dropout: Share of activations dropped while training.
        dtype: Policy of the encoder, such as "mixed_bfloat16"; Keras's global policy where it is not given.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[source int32 (batch, source symbols), source_length int32 (batch,), previous int32
        (batch, steps), target_length int32 (batch,)]` and output float32 `(batch, steps, target_size)` logits, zeros in
        the padding. It holds a model `encoder` and a layer `decoder`, see `AttentionDecoder`. Right padding, whatever
        it holds, never changes a valid output.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015.
    """
    blocks.check(
        cell, source_size=source_size, target_size=target_size, units=units, layers=layers, attention=attention,
        embedding=embedding,
    )  # fmt: skip
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
    ids = keras.Input((None,), dtype="int32", name="ids")
    length = keras.Input((), dtype="int32", name="length")
    mask = LengthMask()(length, ids)
    x = keras.layers.Embedding(source_size, embedding, dtype=dtype, name="embedding")(ids)
    for i in range(layers):
        if dropout:
            x = keras.layers.Dropout(dropout, dtype=dtype, name=f"dropout_{i}")(x)
        layer = blocks.CELLS[cell](units, return_sequences=True, zero_output_for_mask=True, dtype=dtype)
        x = keras.layers.Bidirectional(layer, dtype=dtype, name=f"bidirectional_{i}")(x, mask=mask)
    encoder = keras.Model([ids, length], x, name="encoder")
    source = keras.Input((None,), dtype="int32", name="source")
    source_length = keras.Input((), dtype="int32", name="source_length")
    previous = keras.Input((None,), dtype="int32", name="previous")
    target_length = keras.Input((), dtype="int32", name="target_length")
    decoder = AttentionDecoder(
        target_size, cell=cell, units=units, attention=attention, embedding=embedding, dropout=dropout, name="decoder"
    )
    logits = decoder(previous, encoder([source, source_length]), source_length, target_length)
    return keras.Model([source, source_length, previous, target_length], logits, name=name)
