"""One vector for a whole sequence: pooling over the valid frames of each row."""

from typing import Any, Literal

import keras
from keras import ops

from speechrnn.faults import check_choice
from speechrnn.layers.config import Configured


@keras.saving.register_keras_serializable(package="speechrnn")
class MaskedPooling(Configured, keras.layers.Layer):
    """Mean, maximum or last of the valid frames of each row; padding never matters, NaN included.

    Args:
        kind: "mean", "max" or "last".

    Call arguments:
        values: float `(batch, frames, features)`.
        mask: bool `(batch, frames)`, True at the first frames of each row.

    Returns:
        float `(batch, features)`; zeros for a row without a valid frame.

    Example:
    >>> MaskedPooling("mean")(np.array([[[1.0], [3.0], [9.0]]]), np.array([[True, True, False]])).numpy().tolist()
    [[2.0]]
    """

    def __init__(self, kind: Literal["mean", "max", "last"], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("kind", kind, ("mean", "max", "last"))
        self.kind = kind
        self.supports_masking = True

    def call(self, values: Any, mask: Any) -> Any:
        """See the class."""
        valid = mask[..., None]
        if self.kind == "max":
            masked = ops.where(valid, values, ops.full_like(values, -3e4))  # representable in float16
            return ops.where(ops.any(valid, axis=1), ops.max(masked, axis=1), ops.zeros_like(values[:, 0]))
        count = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        if self.kind == "last":
            valid = (ops.arange(ops.shape(values)[1], dtype="int32")[None, :] == count - 1)[..., None]
            count = ops.ones_like(count)
        total = ops.sum(ops.where(valid, values, ops.zeros_like(values)), axis=1)
        return total / ops.cast(ops.maximum(count, 1), total.dtype)

    def initial_state(self, batch: int | None, shape: tuple) -> dict[str, tuple]:
        """The pooling of the frames so far, and their number."""
        return {"value": (batch, shape[-1]), "frames": (batch, 1)}

    def step(self, states: dict[str, Any], values: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        """The pooling of all frames so far."""
        before, seen = states["value"], states["frames"]
        block, count = self(values, mask), ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
        frames = seen + count
        if self.kind == "mean":
            value = (before * seen + block * count) / ops.maximum(frames, 1.0)
        else:
            joined = ops.maximum(before, block) if self.kind == "max" else block
            value = ops.where(count > 0, ops.where(seen > 0, joined, block), before)
        return value, {"value": value, "frames": frames}

    def compute_mask(self, values: Any, previous_mask: Any = None) -> None:
        """None: the output has no frames."""

    def compute_output_spec(self, values: Any, mask: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((values.shape[0], values.shape[-1]), self.compute_dtype)


@keras.saving.register_keras_serializable(package="speechrnn")
class AttentionPooling(Configured, keras.layers.Layer):
    """Weighted means of the valid frames of each row, with weights computed from each frame's values.

    Each head gives every frame a score, linear in its values; the weights are a softmax of the scores over the valid
    frames.

    Args:
        heads: Number of weighted means.

    Call arguments:
        values: float `(batch, frames, features)`.
        mask: bool `(batch, frames)`, True at the first frames of each row.

    Returns:
        float `(batch, heads * features)`; zeros for a row without a valid frame.

    Reference:
        Lin et al., "A structured self-attentive sentence embedding", ICLR 2017, with linear scores.
    """

    def __init__(self, heads: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if heads < 1:
            raise ValueError(f"`heads` must be at least 1. Received: heads={heads}.")
        self.heads = heads
        self.supports_masking = True

    def build(self, values_shape: Any, mask_shape: Any = None) -> None:
        """Make the weights of the scores, which start at zero, so that the initial pooling is the mean."""
        self.kernel = self.add_weight(shape=(values_shape[-1], self.heads), initializer="zeros", name="kernel")
        self.built = True

    def call(self, values: Any, mask: Any) -> Any:
        """See the class."""
        valid = mask[..., None]
        values, scores = self._scores(values, valid)
        powers = ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        powers = ops.where(valid, powers, ops.zeros_like(powers))
        weights = ops.cast(powers / ops.maximum(ops.sum(powers, axis=1, keepdims=True), 1e-9), values.dtype)
        means = ops.matmul(ops.transpose(weights, (0, 2, 1)), values)
        return ops.reshape(means, (-1, self.heads * values.shape[-1]))

    def _scores(self, values: Any, valid: Any) -> tuple[Any, Any]:
        """The values with zeros in their padding, and scores that are very low there."""
        values = ops.where(valid, values, ops.zeros_like(values))
        scores = ops.cast(ops.matmul(values, ops.cast(self.kernel, values.dtype)), "float32")
        return values, ops.where(valid, scores, ops.full_like(scores, -1e30))

    def initial_state(self, batch: int | None, shape: tuple) -> dict[str, tuple]:
        """For each head, the highest score so far, and the sums of weights and of weighted values relative to it."""
        heads = (batch, 1, self.heads)
        return {"score": heads, "weight": heads, "sums": (batch, self.heads, shape[-1])}

    def step(self, states: dict[str, Any], values: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        """The pooling of all frames so far (a softmax in one pass: Milakov and Gimelshein, 2018, algorithm 3)."""
        valid, before, weight = mask[..., None], states["score"], states["weight"]
        values, scores = self._scores(values, valid)
        highest = ops.max(scores, axis=1, keepdims=True)
        highest = ops.where(weight > 0, ops.maximum(before, highest), highest)
        powers = ops.where(valid, ops.exp(scores - highest), ops.zeros_like(scores))
        rescale = ops.where(weight > 0, ops.exp(ops.minimum(before - highest, 0.0)), ops.zeros_like(weight))
        weight = rescale * weight + ops.sum(powers, axis=1, keepdims=True)
        transposed = ops.transpose(ops.cast(powers, values.dtype), (0, 2, 1))
        sums = ops.transpose(rescale, (0, 2, 1)) * states["sums"] + ops.matmul(transposed, values)
        means = sums / ops.transpose(ops.maximum(weight, 1e-9), (0, 2, 1))
        pooled = ops.reshape(means, (-1, self.heads * values.shape[-1]))
        return pooled, {"score": highest, "weight": weight, "sums": sums}

    def compute_mask(self, values: Any, previous_mask: Any = None) -> None:
        """None: the output has no frames."""

    def compute_output_spec(self, values: Any, mask: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((values.shape[0], self.heads * values.shape[-1]), self.compute_dtype)
