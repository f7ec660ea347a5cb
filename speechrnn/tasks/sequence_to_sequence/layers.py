"""The attention decoder: a recurrent layer that attends to the encoder's outputs for each symbol."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from speechrnn.layers import LengthMask, ZeroPadding, blocks
from speechrnn.layers.config import Configured
from speechrnn.layers.masking import zero_padding
from speechrnn.tasks.sequence_to_sequence.search import ATTENTION_STATE


class Memory(NamedTuple):
    """The encoded sources, which are constant from step to step."""

    values: Any
    """float32 `(batch, source symbols, features)`, zeros in the padding."""
    keys: Any
    """float32 `(batch, source symbols, attention)`."""
    mask: Any
    """bool `(batch, source symbols)`, False in the padding."""


@keras.saving.register_keras_serializable(package="speechrnn")
class AttentionDecoder(Configured, keras.Layer):
    """Recurrent decoder with additive attention, optionally location-aware, and input feeding.

    A step reads the previous symbol and the previous step's vector, runs the recurrent cell, and scores each source
    symbol `i` by `v . tanh(W s + U h_i)` from the state `s` and the encoder's output `h_i`. The outputs are averaged
    with the softmax of the scores as weights, and the next symbol is predicted from the vector `tanh(C [s; context])`.
    With `location` filters `F` of the previous step's attention `a` the score is `v . tanh(W s + U h_i + L (F * a)_i)`,
    which distinguishes similar parts of the source by their position. It is computed in float32.

    Args:
        vocabulary_size: Number of symbols, including the one that begins and ends a sequence.
        cell: Recurrent cell.
        units: Size of its state, and of the vector.
        attention: Size of the compared vectors.
        embedding: Size of a symbol's vector.
        location: Number of filters of the previous step's attention; 0 for none.
        window: Length of these filters in source symbols, an odd number.
        dropout: Share of the inputs and of the vector dropped in training, the same ones at every step of a row.

    Call arguments:
        previous: int32 `(batch, steps)`: the previous symbol at each step, 0 at the first.
        memory: float `(batch, source symbols, features)`: outputs of the encoder, with any padding.
        source_length: int32 `(batch,)`.
        target_length: int32 `(batch,)`: number of valid steps.
        guessed: Optional bool `(batch, steps)`: where the decoder's own likeliest symbol replaces `previous`.

    Returns:
        float32 `(batch, steps, vocabulary_size)` logits, zeros in the padding.

    Reference:
        Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and translate", ICLR 2015,
        appendix A.1.2; location as in Chorowski et al., "Attention-based models for speech recognition", NeurIPS 2015,
        equations 8 and 9; input feeding as in Luong, Pham and Manning, "Effective approaches to attention-based neural
        machine translation", EMNLP 2015, section 3.3; guesses as in Bengio et al., "Scheduled sampling for sequence
        prediction with recurrent neural networks", NeurIPS 2015; one mask of dropout for all steps as in Gal and
        Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS 2016.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        cell: Literal["lstm", "gru", "rnn"] = "lstm",
        units: int = 256,
        attention: int = 128,
        embedding: int = 64,
        location: int = 0,
        window: int = 31,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        blocks.check(cell, vocabulary_size=vocabulary_size, units=units, attention=attention, embedding=embedding)
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}.")
        if location < 0 or window < 1 or not window % 2:
            raise ValueError(
                "`location` must be zero or positive, and `window` positive and odd. Received: "
                f"location={location}, window={window}."
            )
        self.vocabulary_size, self.cell, self.units, self.attention = vocabulary_size, cell, units, attention
        self.embedding, self.location, self.window, self.dropout = embedding, location, window, dropout
        dense = keras.layers.Dense
        self.embed = keras.layers.Embedding(vocabulary_size, embedding, dtype="float32", name="embed")
        self.recurrent = blocks.CELLS[cell](units, dtype="float32", name="recurrent")
        self.recurrent.stepped_by = type(self).__name__
        self.bridge = dense(units, activation="tanh", dtype="float32", name="bridge")
        self.query = dense(attention, use_bias=False, dtype="float32", name="query")
        self.key = dense(attention, dtype="float32", name="key")
        self.energy = dense(1, use_bias=False, dtype="float32", name="energy")
        if location:
            self.filters = keras.layers.Conv1D(
                location, window, padding="same", use_bias=False, dtype="float32", name="filters"
            )
            self.place = dense(attention, use_bias=False, dtype="float32", name="place")
        self.combine = dense(units, activation="tanh", dtype="float32", name="combine")
        self.logits = dense(vocabulary_size, dtype="float32", name="logits")
        self.drop = keras.layers.Dropout(dropout, dtype="float32", name="drop")
        self.shown, self.padding = LengthMask(name="shown"), ZeroPadding(dtype="float32", name="padding")

    def build(
        self,
        previous_shape: Any,
        memory_shape: Any,
        source_length_shape: Any = None,
        target_length_shape: Any = None,
        guessed_shape: Any = None,
    ) -> None:
        """Create the weights."""
        features = memory_shape[-1]
        self.embed.build((None, None))
        self.recurrent.build((None, None, self.embedding + self.units))
        self.bridge.build((None, features))
        self.query.build((None, self.units))
        self.key.build((None, None, features))
        self.energy.build((None, None, self.attention))
        if self.location:
            self.filters.build((None, None, 1))
            self.place.build((None, None, self.location))
        self.combine.build((None, self.units + features))
        self.logits.build((None, None, self.units))

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states: the cell's states, the vector that is fed back, and the previous attention."""
        names = ("output", "cell", "fed") if self.cell == "lstm" else ("output", "fed")
        return (*names, ATTENTION_STATE) if self.location else names

    def state_shape(self, name: str) -> tuple[int | None]:
        """Shape of a state without its rows; None is the number of source symbols."""
        return (None if name == ATTENTION_STATE else self.units,)

    def begin(self, memory: Any, source_length: Any) -> tuple[Memory, tuple[Any, ...]]:
        """The encoded sources for `step`, and the states before the first symbol; see `state_shape`."""
        mask = self.shown(source_length, memory)
        values = self.padding(memory, mask)
        count = ops.expand_dims(ops.cast(ops.maximum(source_length, 1), "float32"), 1)
        first = self.bridge(ops.sum(values, 1) / count)
        no_attention = ops.zeros_like(ops.cast(mask, "float32"))
        others = (no_attention if name == ATTENTION_STATE else ops.zeros_like(first) for name in self.state_names[1:])
        return Memory(values, self.key(values), mask), (first, *others)

    def step(
        self, previous: Any, memory: Memory, states: tuple[Any, ...], masks: tuple[Any, Any] | None = None
    ) -> tuple[Any, Any, tuple[Any, ...]]:
        """Run one step; it can also be traced into a network, see `networks`.

        Args:
            previous: int32 `(batch,)`.
            memory: From `begin`.
            states: From `begin`, or from the step before.
            masks: Dropout masks of the cell's inputs and of the vector.

        Returns:
            The vector `(batch, units)`, whose `logits` are those of the next symbol; attention `(batch, source
            symbols)`, zeros in the padding; and the states after the step.
        """
        looked = states[-1]
        *inner, fed = states[:-1] if self.location else states
        inputs = ops.concatenate([self.embed(previous), fed], 1)
        if masks is not None:
            inputs *= masks[0]
        _, inner = self.recurrent.cell(inputs, inner)
        inner = keras.tree.flatten(inner)
        compared = memory.keys + ops.expand_dims(self.query(inner[0]), 1)
        if self.location:
            compared += self.place(self.filters(ops.expand_dims(looked, 2)))
        compared = ops.tanh(compared)
        energies = ops.where(memory.mask, ops.squeeze(self.energy(compared), 2), -1e9)
        # Not `ops.softmax`, which warns where there is one source symbol. The largest term is 1, unless none is shown.
        terms = ops.exp(energies - ops.max(energies, axis=1, keepdims=True)) * ops.cast(memory.mask, "float32")
        attention = terms / ops.maximum(ops.sum(terms, axis=1, keepdims=True), 1.0)
        context = ops.squeeze(ops.matmul(ops.expand_dims(attention, 1), memory.values), 1)
        vector = self.combine(ops.concatenate([inner[0], context], 1))
        if masks is not None:
            vector *= masks[1]
        return vector, attention, (*inner, vector, *([attention] if self.location else []))

    def networks(self, features: int) -> tuple[keras.Model, keras.Model]:
        """`begin` and `step` as networks, for encoder outputs of that width.

        Returns:
            One from the encoder's outputs and `source_length` to values, keys and the first state; and one from
            `previous`, values, keys, `source_length` and the states to logits, attention and the next states.
        """
        encoded, length = keras.Input((None, features)), keras.Input((), dtype="int32")
        memory, states = self.begin(encoded, length)
        begin = keras.Model([encoded, length], [memory.values, memory.keys, states[0]], name="decoder")
        previous, keys = keras.Input((), dtype="int32"), keras.Input((None, self.attention))
        states_in = [keras.Input(self.state_shape(name), name=name) for name in self.state_names]
        memory_in = Memory(encoded, keys, self.shown(length, encoded))
        vector, attention, states_out = self.step(previous, memory_in, tuple(states_in))
        outputs = [self.logits(vector), attention, *states_out]
        return begin, keras.Model([previous, encoded, keys, length, *states_in], outputs, name="step")

    def call(
        self,
        previous: Any,
        memory: Any,
        source_length: Any,
        target_length: Any,
        guessed: Any = None,
        training: bool | None = None,
    ) -> Any:
        """See the class."""
        known, states = self.begin(memory, source_length)
        masks = None
        if training and self.dropout:
            ones = tf.ones((tf.shape(previous)[0], self.embedding + 2 * self.units))
            masks = tf.split(self.drop(ones, training=True), [self.embedding + self.units, self.units], 1)
        symbols, steps = tf.transpose(previous), tf.shape(previous)[1]
        use_guess = None if guessed is None else tf.transpose(guessed)

        def body(count: Any, guess: Any, states: Any, vectors: Any) -> Any:
            symbol = symbols[count] if use_guess is None else tf.where(use_guess[count], guess, symbols[count])
            vector, _, states = self.step(symbol, known, states, masks)
            if use_guess is not None:
                guess = tf.argmax(self.logits(vector), 1, tf.int32)
            return count + 1, guess, states, vectors.write(count, vector)

        start = (tf.constant(0), tf.zeros_like(previous[:, 0]), states, tf.TensorArray(tf.float32, steps))
        vectors = tf.while_loop(lambda count, *_: count < steps, body, start, maximum_iterations=steps)[-1].stack()
        vectors.set_shape((None, previous.shape[0], self.units))
        logits = self.logits(tf.transpose(vectors, (1, 0, 2)))
        return zero_padding(logits, tf.sequence_mask(target_length, steps))

    def compute_output_spec(self, previous: Any, *others: Any, **more: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((*previous.shape, self.vocabulary_size), "float32")
