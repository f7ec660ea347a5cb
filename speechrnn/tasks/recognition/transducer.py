"""Transducers: recognizers whose encoder is joined with a predictor of symbols."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from speechrnn.faults import options_as_keywords
from speechrnn.layers import blocks
from speechrnn.layers.config import Configured
from speechrnn.layers.steps import StepNetwork, step_network
from speechrnn.losses import Transducer
from speechrnn.tasks.recognition.encoder import EncoderRecognizer
from speechrnn.tasks.recognition.model_types import TransducerMethods
from speechrnn.tasks.recognition.options import TransducerNetwork
from speechrnn.text import Vocabulary


@keras.saving.register_keras_serializable(package="speechrnn")
class Joiner(Configured, keras.Layer):
    """Logits of the next symbol from outputs of the encoder and the predictor: `W tanh(encoded + predicted) + b`.

    Args:
        vocabulary_size: Number of outputs, the blank counted.

    Call arguments:
        encoded: float `(..., joint)`.
        predicted: float of a shape that can be added to it.

    Returns:
        float32 `(..., vocabulary_size)` logits.

    Reference:
        Graves, Mohamed and Hinton, "Speech recognition with deep recurrent neural networks", ICASSP 2013, equations
        15 to 18.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if vocabulary_size < 1:
            raise ValueError(f"`vocabulary_size` must be at least 1. Received: {vocabulary_size}.")
        self.vocabulary_size = vocabulary_size
        self.dense = keras.layers.Dense(vocabulary_size, dtype="float32", name="dense")

    def build(self, encoded_shape: Any, predicted_shape: Any = None) -> None:
        """Create the weights."""
        self.dense.build((None, encoded_shape[-1]))

    def call(self, encoded: Any, predicted: Any) -> Any:
        """See the class."""
        return self.dense(ops.tanh(encoded + predicted))


@options_as_keywords(TransducerNetwork)
def symbol_predictor(  # noqa: D417 - the decorator adds the options
    options: TransducerNetwork, *, vocabulary_size: int, dropout: float = 0.0
) -> keras.Model:
    """The predictor of a transducer.

    Args:
        vocabulary_size: Number of symbols, the blank counted: `len(vocabulary)`.
        dropout: Share of a symbol's vector dropped in training.

    Returns:
        A `keras.Model` from `previous` int32 `(batch, symbols)`, the previous symbol at each position and 0 at the
        first, to float32 `(batch, symbols, joint)`. Each position depends on the symbols before it only.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Without a state: Ghodsi et al., "RNN-transducer with stateless prediction network", ICASSP 2020.
    """
    blocks.check("lstm", vocabulary_size=vocabulary_size)
    previous = keras.Input((None,), dtype="int32", name="previous")
    x = keras.layers.Embedding(vocabulary_size, options.embedding, name="predictor_embedding")(previous)
    if dropout:
        x = keras.layers.Dropout(dropout, name="predictor_dropout")(x)
    if options.predictor == "lstm":
        x = blocks.CELLS["lstm"](options.embedding, return_sequences=True, name="predictor_lstm")(x)
        x = keras.layers.Dense(options.joint, dtype="float32", name="predictor_dense")(x)
    else:
        x = keras.layers.Conv1D(
            options.joint, options.predictor_context, padding="causal", dtype="float32", name="predictor_context"
        )(x)
    return keras.Model(previous, x, name="predictor")


@keras.saving.register_keras_serializable(package="speechrnn")
class TransducerRecognizer(TransducerMethods, EncoderRecognizer):
    """A recurrent transducer (RNN-T), which predicts symbols one by one, each from the sound and the symbols before it.

    At each frame the joiner predicts the next symbol from the outputs of the encoder and of the predictor; the blank
    means to proceed to the next frame. It is built, saved, trained, exported and used like any other recognizer.

    Args:
        features: A layer of `speechrnn.features`.
        network: The encoder, from `[features (batch, frames, features), frames (batch,)]` to `(batch, frames', joint)`,
            as `recurrent_ctc` builds it with `vocabulary_size=joint`.
        vocabulary: The symbols.
        predictor: A model as `symbol_predictor` builds it.
        joiner: A `Joiner`.
        with_ctc: Whether the encoder is also trained with CTC, without which nothing can be aligned.
        card: See `SpeechRecognizer`.

    Call arguments:
        inputs: See `SpeechRecognizer`.

    Returns:
        float32 `(batch, ceil(frames / stride), joint)`, the encoder's outputs; `compute_loss` joins them.

    Raises:
        ValueError: The parts do not fit each other.

    Reference:
        Graves, "Sequence transduction with recurrent neural networks", arXiv:1211.3711, 2012.
    """

    kind = noun = "transducer"
    loss_class = Transducer

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        vocabulary: Vocabulary,
        *,
        predictor: keras.Model,
        joiner: Joiner,
        with_ctc: bool = True,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            features, network, vocabulary, card=card,
            outputs=predictor.output_shape[-1], outputs_are="as many as the predictor has", **kwargs,
        )  # fmt: skip
        if joiner.vocabulary_size != len(vocabulary):
            raise ValueError(
                f"The joiner must have {len(vocabulary)} outputs, one for each symbol of the vocabulary and the blank. "
                f"Received: {joiner.vocabulary_size}."
            )
        self.predictor, self.joiner, self.with_ctc = predictor, joiner, with_ctc
        if not joiner.built:
            joiner.build((None, None, predictor.output_shape[-1]))

    def joint_logits(self, encoded: Any, target: Any, training: bool | None = None) -> Any:
        """Logits of every frame with every prefix of the target.

        Args:
            encoded: float32 `(batch, frames, joint)`, outputs of the encoder.
            target: int32 `(batch, labels)`.
            training: Whether the predictor's dropout is active.

        Returns:
            float32 `(batch, frames, labels + 1, vocabulary)`, the input of `speechrnn.losses.transducer`.
        """
        previous = tf.pad(tf.cast(target, tf.int32), [[0, 0], [1, 0]])
        predicted = self.predictor(previous, training=training)
        return self.joiner(encoded[:, :, None], predicted[:, None])

    def ctc_outputs(self, encoded: Any) -> Any:
        """See `EncoderRecognizer`."""
        return self.joiner(encoded, tf.zeros_like(encoded))

    def symbol_logits(self, encoded: Any, target: Any, frames: Any, training: bool | None = None) -> Any:
        """See `EncoderRecognizer` and `joint_logits`."""
        return self.joint_logits(encoded, target, training)

    def first_states(self) -> dict[str, np.ndarray]:
        """See `speechrnn.decoding.transducer.Joint`."""
        states = self.predictor_steps.states
        return {name: np.zeros([1, *map(int, shape[1:])], np.float32) for name, shape in states.items()}  # type: ignore[arg-type]

    def predicted(
        self, previous: np.ndarray, states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `speechrnn.decoding.transducer.Joint`."""
        steps = self.predictor_steps
        spec = [tf.TensorSpec(shape, tf.float32) for shape in steps.states.values()]
        forward = self._compiled(
            lambda ids, *states: steps.model([ids[:, None], *states], training=False),
            [tf.TensorSpec((None,), tf.int32), *spec],
            name="predicted",
        )
        outputs = forward(tf.constant(previous, tf.int32), *(tf.constant(states[name]) for name in steps.states))
        predicted, *states_out = (value.numpy() for value in tf.nest.flatten(outputs))
        return predicted[:, 0], dict(zip(steps.states, states_out, strict=True))

    def joined(self, encoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """See `speechrnn.decoding.transducer.Joint`."""
        spec = tf.TensorSpec((None, self.network.output_shape[-1]), tf.float32)
        forward = self._compiled(self.joiner, [spec, spec], name="joined")
        return forward(tf.constant(encoded), tf.constant(predicted)).numpy()

    @property
    def predictor_steps(self) -> StepNetwork:
        """The predictor as a network of one step, for one symbol at a time."""
        if "_predictor_steps" not in self.__dict__:
            # Bypasses Keras's attribute tracking: its layers are those of the predictor.
            object.__setattr__(self, "_predictor_steps", step_network(self.predictor, frames=1))
        return self.__dict__["_predictor_steps"]

    @classmethod
    def from_encoder(
        cls, features: keras.Layer, vocabulary: Vocabulary, encoder: keras.Model, **options: Any
    ) -> "TransducerRecognizer":
        """A transducer with the given encoder, and an untrained predictor and joiner.

        Args:
            features: See the class.
            vocabulary: See the class.
            encoder: The network.
            **options: Options of `symbol_predictor`.
        """
        size, options = len(vocabulary), {**options, "joint": encoder.output_shape[-1]}
        predictor = symbol_predictor(vocabulary_size=size, **options)
        return cls(features, encoder, vocabulary, predictor=predictor, joiner=Joiner(size, name="joiner"))
