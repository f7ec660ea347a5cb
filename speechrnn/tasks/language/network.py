"""The network of recurrent language models."""

import keras

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask, ZeroPadding, blocks
from speechrnn.tasks.language.options import PredictingNetwork


@options_as_keywords(PredictingNetwork, "cell")
def recurrent_lm(  # noqa: D417 - the decorator adds the options
    options: PredictingNetwork,
    *,
    vocabulary_size: int,
    name: str = "recurrent_lm",
) -> keras.Model:
    """Build a recurrent language model of symbols (Graves 2013, section 2).

    Args:
        vocabulary_size: Number of symbols plus one, for the boundary of sentences: `len(vocabulary)`.
        name: Name of the model.

    Returns:
        A `keras.Model` with inputs `[ids int32 (batch, steps), length int32 (batch,)]` and output float32 `(batch,
        steps, vocabulary_size)` logits: of what follows each symbol. Right padding never changes a valid step.

    Raises:
        ValueError: An argument is out of its range.
    """
    cell, dropout = options.cell, options.dropout
    blocks.check(cell, vocabulary_size=vocabulary_size)
    ids = keras.Input((None,), dtype="int32", name="ids")
    length = keras.Input((), dtype="int32", name="length")
    mask = LengthMask()(length, ids)
    x = keras.layers.Embedding(vocabulary_size, options.embedding, name="embedding")(ids)
    for i in range(options.layers):
        y = keras.layers.LayerNormalization(name=f"norm_{i}")(x) if i else x
        layer = blocks.CELLS[cell](options.units, return_sequences=True, zero_output_for_mask=True, name=f"{cell}_{i}")
        y = layer(y, mask=mask)
        if dropout:
            y = keras.layers.Dropout(dropout, name=f"dropout_{i}")(y)
        x = x + y if i else y
    logits = keras.layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([ids, length], ZeroPadding(dtype="float32", name="output")(logits, mask), name=name)
