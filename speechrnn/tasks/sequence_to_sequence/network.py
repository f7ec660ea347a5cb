"""The network of attention encoder-decoders."""

import keras

from speechrnn.faults import options_as_keywords
from speechrnn.layers import LengthMask, blocks
from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder
from speechrnn.tasks.sequence_to_sequence.options import AttentionNetwork


@options_as_keywords(AttentionNetwork, "cell")
def attention_network(  # noqa: D417 - the decorator adds the options
    options: AttentionNetwork,
    *,
    source_size: int,
    target_size: int,
    name: str = "attention_network",
) -> keras.Model:
    """Build a bidirectional encoder of symbols, and a recurrent decoder with additive attention to its outputs.

    Args:
        source_size: Number of source symbols plus one: `len(vocabulary)`.
        target_size: Number of target symbols plus one, for the symbol that begins and ends a target.
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
    blocks.check(options.cell, source_size=source_size, target_size=target_size)
    dtype = options.dtype
    ids = keras.Input((None,), dtype="int32", name="ids")
    length = keras.Input((), dtype="int32", name="length")
    mask = LengthMask()(length, ids)
    x = keras.layers.Embedding(source_size, options.embedding, dtype=dtype, name="embedding")(ids)
    x = blocks.bidirectional_stack(
        x, mask, cell=options.cell, units=options.units, layers=options.layers, dropout=options.dropout, dtype=dtype
    )
    encoder = keras.Model([ids, length], x, name="encoder")
    source = keras.Input((None,), dtype="int32", name="source")
    source_length = keras.Input((), dtype="int32", name="source_length")
    previous = keras.Input((None,), dtype="int32", name="previous")
    target_length = keras.Input((), dtype="int32", name="target_length")
    shared = {
        name: getattr(options, name) for name in ("cell", "units", "attention", "embedding", "location", "dropout")
    }
    decoder = AttentionDecoder(target_size, **shared, name="decoder")
    logits = decoder(previous, encoder([source, source_length]), source_length, target_length)
    return keras.Model([source, source_length, previous, target_length], logits, name=name)
