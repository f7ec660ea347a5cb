"""Truncated back-propagation through time: long sequences in segments, with the state passed on and the gradient cut.

A layer with `stateful=True` starts each batch from the last states of the one before. They are variables, so that
values pass from segment to segment and gradients do not: the network sees the whole sequence, and learns within a
segment with the memory of one segment. All layers must read forwards only.

Reference:
    Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
        Neural Computation 2(4), 1990.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.training.diagnostics.paths import recurrent_layers

__all__ = ["Segments", "reset_states"]


class Segments:
    """Batches of segments of long sequences; each row continues the same row of the batch before.

    The sequences are taken `batch_size` at a time, in their order. Each such group gives as many batches as its longest
    sequence has segments; rows whose sequence has ended are empty, with weight 0, and so are filler rows in the last
    group.

    Args:
        sequences: float `(steps, features)` each.
        targets: `(steps, ...)` each, one for every step.
        length: Steps in a segment, through which the gradient is propagated.
        batch_size: Sequences per batch; the model's fixed batch size.

    Raises:
        ValueError: Sequences and targets do not fit each other, or a size is below 1.

    Example:
    >>> sequences = [np.zeros((5, 3)), np.zeros((4, 3))]
    >>> parts = Segments(sequences, [np.zeros((5, 1)), np.zeros((4, 1))], length=3, batch_size=2)
    >>> [x["frames"].tolist() for x, _, _ in parts]
    [[3, 3], [2, 1]]
    """

    def __init__(
        self, sequences: Sequence[np.ndarray], targets: Sequence[np.ndarray], *, length: int, batch_size: int
    ) -> None:
        if length < 1 or batch_size < 1:
            raise ValueError(f"`length` and `batch_size` must be at least 1. Received: {length=}, {batch_size=}.")
        sizes = [(len(x), len(y)) for x, y in zip(sequences, targets, strict=True)]
        wrong = [(row, size) for row, size in enumerate(sizes) if size[0] != size[1] or not size[0]]
        if not sizes or wrong:
            received = f"sequence {wrong[0][0]} with (steps, targets) = {wrong[0][1]}" if wrong else "no sequence"
            raise ValueError(f"Every sequence must have steps, and a target for each of them. Received: {received}.")
        self.sequences, self.targets, self.length, self.batch_size = sequences, targets, length, batch_size
        groups = [range(first, min(first + batch_size, len(sizes))) for first in range(0, len(sizes), batch_size)]
        self._plan = [
            (group, start) for group in groups for start in range(0, max(sizes[row][0] for row in group), length)
        ]

    def __len__(self) -> int:
        return len(self._plan)

    @property
    def starts(self) -> list[int]:
        """Indices of the batches in which new sequences begin."""
        return [index for index, (_, start) in enumerate(self._plan) if start == 0]

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]]:
        for group, start in self._plan:
            x = self._cut(self.sequences, group, start)
            left = [len(self.sequences[row]) - start for row in group]
            frames = np.zeros(self.batch_size, "int32")
            frames[: len(group)] = np.clip(left, 0, self.length)
            weight = (np.arange(self.length) < frames[:, None]).astype("float32")
            yield {"features": x.astype("float32"), "frames": frames}, self._cut(self.targets, group, start), weight

    def dataset(self) -> tf.data.Dataset:
        """A dataset for `fit(..., shuffle=False, callbacks=[segments.resets()])`.

        Inputs are `{"features": float32 (batch, length, features), "frames": int32 (batch,)}`, targets `(batch, length,
        ...)`, the weight float32 `(batch, length)`.
        """
        first = next(iter(self))
        signature = tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), first)
        dataset = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(len(self)))

    def resets(self) -> keras.callbacks.Callback:
        """A callback that resets the states where new sequences begin."""
        return _Resets(self.starts)

    def _cut(self, arrays: Sequence[np.ndarray], group: range, start: int) -> np.ndarray:
        batch = np.zeros((self.batch_size, self.length, *arrays[0].shape[1:]), arrays[0].dtype)
        for index, row in enumerate(group):
            piece = arrays[row][start : start + self.length]
            batch[index, : len(piece)] = piece
        return batch


class _Resets(keras.callbacks.Callback):
    def __init__(self, starts: Sequence[int]) -> None:
        super().__init__()
        self._starts = frozenset(starts)

    def on_train_begin(self, logs: Any = None) -> None:
        check_stateful(self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch in self._starts:
            reset_states(self.model)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_begin(batch)


def reset_states(model: keras.Model) -> None:
    """Reset the states of a model's stateful recurrent layers to zeros."""
    for layer in recurrent_layers(model).values():
        if layer.stateful:
            layer.reset_state()


def check_stateful(model: keras.Model) -> None:
    """Refuse a model that would not pass its states on.

    Raises:
        ValueError: It has no recurrent layer, or one that is not stateful or reads backwards; the message names it.
    """
    layers = recurrent_layers(model)
    for name, layer in layers.items():
        if isinstance(layer, keras.layers.Bidirectional) or layer.go_backwards:
            raise ValueError(f"Segments need layers that read forwards only. Received: {name}, which does not.")
        if not layer.stateful:
            raise ValueError(f"Segments need `stateful=True` on every recurrent layer. Received: {name} without it.")
    if not layers:
        raise ValueError("Segments need a model with recurrent layers. Received: none.")
