"""The recurrent language model."""

from typing import Literal

import keras

from speechrnn.layers import LengthMask, ZeroPadding
from speechrnn.layers import blocks as parts

__all__ = ["recurrent_lm"]


def recurrent_lm(
    cell: Literal["lstm", "gru"] = "lstm",
    *,
    vocabulary_size: int,
    units: int = 384,
    layers: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
    name: str = "recurrent_lm",
) -> keras.Model:
    """Recurrent language model over characters (Graves 2013, section 2).

    Args:
        cell: Recurrent cell.
        vocabulary_size: Number of symbols, the one that begins and ends a sentence counted: `len(vocabulary)`.
        units: State size of a recurrent layer.
        layers: Number of recurrent layers; each but the first is behind layer normalization and within a residual
            connection.
        embedding: Size of a symbol's vector.
        dropout: Share of activations dropped after each recurrent layer while training.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[ids int32 (batch, steps), length int32 (batch,)]` and output float32 `(batch,
        steps, vocabulary_size)` logits: of what follows each symbol. Right padding never changes a valid step.

    Raises:
        ValueError: An argument is out of its range.
    """
    parts.check(cell, units=units, layers=layers, embedding=embedding, vocabulary_size=vocabulary_size)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
    ids = keras.Input((None,), dtype="int32", name="ids")
    length = keras.Input((), dtype="int32", name="length")
    mask = LengthMask()(length, ids)
    x = keras.layers.Embedding(vocabulary_size, embedding, name="embedding")(ids)
    for i in range(layers):
        y = keras.layers.LayerNormalization(name=f"norm_{i}")(x) if i else x
        y = parts.CELLS[cell](units, return_sequences=True, zero_output_for_mask=True, name=f"{cell}_{i}")(y, mask=mask)
        if dropout:
            y = keras.layers.Dropout(dropout, name=f"dropout_{i}")(y)
        x = x + y if i else y
    logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([ids, length], ZeroPadding(dtype="float32", name="output")(logits, mask), name=name)
