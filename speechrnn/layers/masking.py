"""Lengths made explicit: masks, zeroed padding, and stacked frames."""

from typing import Any

import keras
from keras import ops

__all__ = ["LengthMask", "StackFrames", "ZeroPadded"]


def length_mask(frames: Any, num_frames: Any) -> Any:
    """Which frames are valid: bool `(batch, num_frames)` from int32 `(batch,)` counts."""
    return ops.arange(num_frames, dtype="int32")[None, :] < ops.cast(frames, "int32")[:, None]


@keras.saving.register_keras_serializable(package="speechrnn")
class LengthMask(keras.Layer):
    """Right-padded mask of a batch.

    Args:
        inner_axes: Axes after time that the mask spans too; 1 gives batch normalisation of images its
            `(batch, frames, features)`.

    Call arguments:
        frames: int32 `(batch,)`, the valid frames of each row.
        like: A tensor `(batch, frames, ...)` whose shape the mask takes.

    Returns:
        bool `(batch, frames)`, or with `inner_axes` more of `like`'s axes.
    """

    def __init__(self, inner_axes: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner_axes = inner_axes

    def call(self, frames: Any, like: Any) -> Any:
        """See the class."""
        shape = ops.shape(like)
        mask = length_mask(frames, shape[1])
        for axis in range(self.inner_axes):
            mask = ops.repeat(mask[..., None], shape[2 + axis], axis=-1)
        return mask

    def compute_output_spec(self, frames: Any, like: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor(like.shape[: 2 + self.inner_axes], "bool")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "inner_axes": self.inner_axes}


@keras.saving.register_keras_serializable(package="speechrnn")
class ZeroPadded(keras.Layer):
    """The same tensor with exact zeros in its padding, whatever was there: NaN too, in values and gradients.

    Call arguments:
        values: float `(batch, frames, ...)`.
        frames: int32 `(batch,)`, the valid frames of each row.

    Returns:
        Like `values`.
    """

    def call(self, values: Any, frames: Any) -> Any:
        """See the class."""
        mask = length_mask(frames, ops.shape(values)[1])
        for _ in range(len(values.shape) - 2):
            mask = mask[..., None]
        return ops.where(mask, values, ops.zeros_like(values))

    def compute_output_spec(self, values: Any, frames: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor(values.shape, self.compute_dtype)


@keras.saving.register_keras_serializable(package="speechrnn")
class StackFrames(keras.Layer):
    """Joins each `stack` neighbouring frames into one; the last one is filled with zeros.

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

    def call(self, values: Any) -> Any:
        """See the class."""
        frames, features = ops.shape(values)[1], values.shape[2]
        values = ops.pad(values, [[0, 0], [0, -frames % self.stack], [0, 0]])
        return ops.reshape(values, (-1, (frames + self.stack - 1) // self.stack, self.stack * features))

    def compute_output_spec(self, values: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        batch, frames, features = values.shape
        frames = None if frames is None else -(-frames // self.stack)
        return keras.KerasTensor((batch, frames, self.stack * features), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stack": self.stack}
