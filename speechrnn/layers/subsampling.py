"""Reduces the number of frames before the recurrent layers."""

from typing import Any

import keras
from keras import ops

from speechrnn.layers.config import Configured
from speechrnn.layers.steps import Stateless


@keras.saving.register_keras_serializable(package="speechrnn")
class StackFrames(Configured, Stateless, keras.Layer):
    """Joins every `stack` consecutive frames into one; an incomplete last one is filled with zeros.

    Args:
        stack: Number of frames joined.

    Call arguments:
        values: float `(batch, frames, features)`.

    Returns:
        float `(batch, ceil(frames / stack), stack * features)`.
    """

    def __init__(self, stack: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if stack < 1:
            raise ValueError(f"`stack` must be at least 1. Received: stack={stack}.")
        self.stack = stack

    @property
    def frame_window(self) -> tuple[int, int]:
        """1, since an output needs no frames but those it joins, and the number of frames between outputs."""
        return 1, self.stack

    def call(self, values: Any) -> Any:
        """See the class."""
        batch, frames, features = ops.shape(values)
        values = ops.pad(values, [[0, 0], [0, -frames % self.stack], [0, 0]])
        # The number of rows instead of -1, which would lose a static batch size.
        return ops.reshape(values, (batch, (frames + self.stack - 1) // self.stack, self.stack * features))

    def compute_output_spec(self, values: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        batch, frames, features = values.shape
        frames = None if frames is None else -(-frames // self.stack)
        return keras.KerasTensor((batch, frames, self.stack * features), self.compute_dtype)
