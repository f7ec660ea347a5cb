"""Run a decoder step by step with NumPy arrays by name, for the beam search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from speechrnn.tasks.sequence_to_sequence.layers import AttentionDecoder, Memory
from speechrnn.tasks.sequence_to_sequence.search import Arrays


class DecoderSteps:
    """The method `step` of bundles that have an `AttentionDecoder`."""

    decoder: AttentionDecoder
    """The decoder, which predicts one symbol after the other."""

    def step(self: Any, previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """One step of the decoder; see `speechrnn.tasks.sequence_to_sequence.search.Step`."""
        spec = {name: tf.TensorSpec((None,) * value.ndim, value.dtype) for name, value in memory.items()}
        state_specs = {name: tf.TensorSpec((None, *self.decoder.state_shape(name)), tf.float32) for name in states}
        forward = self._compiled(self._step, [tf.TensorSpec((None,), tf.int32), spec, state_specs], name="step")
        arguments = tf.nest.map_structure(tf.constant, (np.asarray(previous, np.int32), dict(memory), dict(states)))
        logits, attention, after = forward(*arguments)
        return logits.numpy(), attention.numpy(), arrays(after)

    def _step(self, previous: Any, memory: dict[str, Any], states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        decoder = self.decoder
        values = tf.ensure_shape(memory["values"], (None, None, decoder.key.kernel.shape[0]))
        keys = tf.ensure_shape(memory["keys"], (None, None, decoder.attention))
        known = Memory(values, keys, memory["mask"])
        vector, attention, after = decoder.step(previous, known, tuple(states[name] for name in decoder.state_names))
        return decoder.logits(vector), attention, dict(zip(decoder.state_names, after, strict=True))


def begin_by_name(decoder: AttentionDecoder, memory: Any, length: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The results of `AttentionDecoder.begin`, by name."""
    known, states = decoder.begin(memory, length)
    return known._asdict(), dict(zip(decoder.state_names, states, strict=True))


def arrays(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Tensors as arrays."""
    return {name: tensor.numpy() for name, tensor in tensors.items()}
