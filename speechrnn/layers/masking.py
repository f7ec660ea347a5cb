"""Masks from lengths, and padding set to exact zeros."""

from typing import Any

import keras
from keras import ops

from speechrnn.layers.steps import Stateless


def zero_padding(values: Any, mask: Any) -> Any:
    """Set `values` `(batch, frames, ...)` to zero where `mask`, bool `(batch, frames)`, is False.

    It selects instead of multiplying, so NaN in the padding reaches neither the values nor any gradient.
    """
    for _ in range(len(values.shape) - 2):
        mask = mask[..., None]
    return ops.where(mask, values, ops.zeros_like(values))


@keras.saving.register_keras_serializable(package="speechrnn")
class LengthMask(Stateless, keras.layers.Layer):
    """Right-padded mask of a batch.

    Call arguments:
        frames: int32 `(batch,)`, the valid frames of each row.
        like: A tensor `(batch, frames, ...)`; only its second dimension is used.

    Returns:
        bool `(batch, frames)`, True at the first `frames[i]` frames of row `i`.

    Example:
    >>> LengthMask()(np.array([1, 3]), np.zeros((2, 3, 8))).numpy().tolist()
    [[True, False, False], [True, True, True]]
    """

    delay = None  # its mask is of the current frames, whatever the delay of `like`

    def call(self, frames: Any, like: Any) -> Any:
        """See the class."""
        return ops.arange(ops.shape(like)[1], dtype="int32")[None, :] < ops.cast(frames, "int32")[:, None]

    def compute_output_spec(self, frames: Any, like: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor(like.shape[:2], "bool")


@keras.saving.register_keras_serializable(package="speechrnn")
class ZeroPadding(Stateless, keras.layers.Layer):
    """The same tensor with exact zeros in its padding, whatever was there: NaN too, in values and gradients.

    Call arguments:
        values: float `(batch, frames, ...)`.
        mask: bool `(batch, frames)`, True at valid frames; without one the values are returned as they are.

    Returns:
        Like `values`.

    Example:
    >>> ZeroPadding()(np.full((1, 2, 1), np.nan, "float32"), np.array([[False, False]])).numpy().ravel().tolist()
    [0.0, 0.0]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, values: Any, mask: Any = None) -> Any:
        """See the class."""
        return values if mask is None else zero_padding(values, mask)

    def compute_mask(self, values: Any, previous_mask: Any = None) -> None:
        """None: the padding is zero now, and a convolution would only warn that it drops the mask."""

    def compute_output_spec(self, values: Any, mask: Any = None) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor(values.shape, self.compute_dtype)
