"""One vector for a whole sequence: pooling over the valid frames of each row."""

from typing import Any, Literal

import keras
from keras import ops

from speechrnn.faults import check_choice
from speechrnn.layers.config import Configured


@keras.saving.register_keras_serializable(package="speechrnn")
class MaskedPooling(Configured, keras.layers.Layer):
    """Mean, maximum or last of the valid frames of each row; what the padding holds never matters.

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
        shown = mask[..., None]
        if self.kind == "max":
            lowest = ops.where(shown, values, ops.full_like(values, -3e4))  # float16 holds it
            return ops.where(ops.any(shown, axis=1), ops.max(lowest, axis=1), ops.zeros_like(values[:, 0]))
        count = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        if self.kind == "last":
            shown = (ops.arange(ops.shape(values)[1], dtype="int32")[None, :] == count - 1)[..., None]
            count = ops.ones_like(count)
        total = ops.sum(ops.where(shown, values, ops.zeros_like(values)), axis=1)
        return total / ops.cast(ops.maximum(count, 1), total.dtype)

    def initial_state(self, batch: int | None, shape: tuple) -> dict[str, tuple]:
        """What the frames so far amount to, and how many they are."""
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
        """None: there are no frames any more."""

    def compute_output_spec(self, values: Any, mask: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((values.shape[0], values.shape[-1]), self.compute_dtype)


@keras.saving.register_keras_serializable(package="speechrnn")
class AttentionPooling(Configured, keras.layers.Layer):
    """Weighted means of the valid frames of each row, with weights that a frame's own values decide.

    Each head has one score per frame, linear in its values; a softmax over the valid frames makes them weights.

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
        """Make the weights of the scores, which start at zero: the pooling starts as the mean."""
        self.kernel = self.add_weight(shape=(values_shape[-1], self.heads), initializer="zeros", name="kernel")
        self.built = True

    def call(self, values: Any, mask: Any) -> Any:
        """See the class."""
        shown = mask[..., None]
        values, scores = self._scores(values, shown)
        raised = ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        raised = ops.where(shown, raised, ops.zeros_like(raised))
        weights = ops.cast(raised / ops.maximum(ops.sum(raised, axis=1, keepdims=True), 1e-9), values.dtype)
        means = ops.matmul(ops.transpose(weights, (0, 2, 1)), values)
        return ops.reshape(means, (-1, self.heads * values.shape[-1]))

    def _scores(self, values: Any, shown: Any) -> tuple[Any, Any]:
        """The values with zeros in their padding, and scores that are very low there."""
        values = ops.where(shown, values, ops.zeros_like(values))
        scores = ops.cast(ops.matmul(values, ops.cast(self.kernel, values.dtype)), "float32")
        return values, ops.where(shown, scores, ops.full_like(scores, -1e30))

    def initial_state(self, batch: int | None, shape: tuple) -> dict[str, tuple]:
        """Of each head the highest score so far; and, relative to it, the sums of weights and of weighted values."""
        heads = (batch, 1, self.heads)
        return {"score": heads, "weight": heads, "sums": (batch, self.heads, shape[-1])}

    def step(self, states: dict[str, Any], values: Any, mask: Any) -> tuple[Any, dict[str, Any]]:
        """The pooling of all frames so far (a softmax in one pass: Milakov and Gimelshein, 2018, algorithm 3)."""
        shown, before, weight = mask[..., None], states["score"], states["weight"]
        values, scores = self._scores(values, shown)
        highest = ops.max(scores, axis=1, keepdims=True)
        highest = ops.where(weight > 0, ops.maximum(before, highest), highest)
        raised = ops.where(shown, ops.exp(scores - highest), ops.zeros_like(scores))
        kept = ops.where(weight > 0, ops.exp(ops.minimum(before - highest, 0.0)), ops.zeros_like(weight))
        weight = kept * weight + ops.sum(raised, axis=1, keepdims=True)
        turned = ops.transpose(ops.cast(raised, values.dtype), (0, 2, 1))
        sums = ops.transpose(kept, (0, 2, 1)) * states["sums"] + ops.matmul(turned, values)
        means = sums / ops.transpose(ops.maximum(weight, 1e-9), (0, 2, 1))
        shown = ops.reshape(means, (-1, self.heads * values.shape[-1]))
        return shown, {"score": highest, "weight": weight, "sums": sums}

    def compute_mask(self, values: Any, previous_mask: Any = None) -> None:
        """None: there are no frames any more."""

    def compute_output_spec(self, values: Any, mask: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((values.shape[0], self.heads * values.shape[-1]), self.compute_dtype)
