"""What losses over all paths of a lattice share: the states of all rows on one axis, walked in chunks of equal size.

XLA compiles a kernel once for each shape, so that shapes are few: a chunk has `CHUNK` steps, and states are filled up
to one of the sizes that `rounded` gives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

CHUNK = 64
"""Steps in one call of a compiled kernel; the last chunk is filled with steps that change nothing."""

NEVER = -1e30
"""Logarithm of the probability of what cannot be; finite, since the difference of two infinities is no number."""

UNLIKELY = NEVER / 1e6
"""The least logarithm of a probability that logits can give; a path of a single one has no probability."""


def rounded(count: tf.Tensor) -> tf.Tensor:
    """The least of 64, 96, 128, 192, ... that is no less than `count`: few sizes, so that few are compiled."""
    sizes = tf.constant([k << n for n in range(5, 26) for k in (2, 3)])
    return tf.maximum(count, sizes[tf.minimum(tf.searchsorted(sizes, [count])[0], 41)])


def shifted(values: Any, count: int) -> Any:
    """`values[..., i - count]` at `i`; what comes in at the ends is never looked at."""
    return tf.roll(values, count, -1)


def has_path(loss: tf.Tensor) -> tf.Tensor:
    """Whether losses are those of rows with a path of a probability above zero; NaN counts, since it is no answer."""
    # Not `~(loss >= ...)`: TensorFlow would rewrite it to `<`, and a logit that is no number would pass for impossible.
    return (loss < -UNLIKELY / 10) | tf.math.is_nan(loss)


def walk_forwards(
    kernel: Callable[..., Any],
    weights: Sequence[tf.Tensor],
    left: tf.Tensor,
    start: tf.Tensor,
    row: tf.Tensor,
    batch: Any,
) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
    """The forward variable of all states after the last step, chunk by chunk.

    Args:
        kernel: `kernel(*weights, left, scores) -> (scores, before)` of one chunk: scores after it, and float32
            `(CHUNK, states)` before each of its steps.
        weights: float32 `(steps, states)` each, a multiple of `CHUNK` steps.
        left: int32 `(states,)`: steps that a state takes.
        start: float32 `(states,)`: scores before the first step.
        row: int32 `(states,)`: the row each state belongs to; -1 in the padding.
        batch: Number of rows.

    Returns:
        float32 `(states,)` scores; float32 `(batch,)` what was taken off each row's, so that they stay near zero, where
        float32 is fine-grained; and what each chunk's kernel gave as `before`.
    """
    num_chunks, states = tf.shape(weights[0])[0] // CHUNK, tf.maximum(row, 0)

    def body(count: Any, scores: Any, offset: Any, kept: Any) -> Any:
        first = count * CHUNK
        scores, before = kernel(*(values[first : first + CHUNK] for values in weights), left - first, scores)
        best = tf.ensure_shape(tf.math.unsorted_segment_max(scores, row, batch), offset.shape)
        return count + 1, scores - tf.gather(best, states), offset + best, kept.write(count, before)

    kept = tf.TensorArray(tf.float32, num_chunks, infer_shape=False, clear_after_read=False)
    offset = tf.zeros([batch], tf.float32)
    _, scores, offset, kept = tf.while_loop(lambda count, *_: count < num_chunks, body, (0, start, offset, kept))
    return scores, offset, kept


def walk_backwards(
    kernel: Callable[..., Any], kept: tf.TensorArray, left: tf.Tensor, occupied: tf.Tensor, num_chunks: Any
) -> tf.Tensor:
    """How probable each state, or way out of one, is at each step, given that its row ends as it does.

    Args:
        kernel: `kernel(first, before, left, occupied) -> (occupied, found)` of the chunk whose first step is `first`:
            the probabilities before it, and float32 `(CHUNK, width)`.
        kept: Of `walk_forwards`.
        left: See `walk_forwards`.
        occupied: float32 `(states,)`: the probability of ending in each.
        num_chunks: How many chunks there are.

    Returns:
        float32 `(steps, width)`: what the kernel found, in order.
    """

    def body(count: Any, occupied: Any, written: Any) -> Any:
        index = num_chunks - 1 - count
        first, before = index * CHUNK, tf.reshape(kept.read(index), (CHUNK, -1))
        earlier, found = kernel(first, before, left - first, occupied)
        return count + 1, tf.ensure_shape(earlier, occupied.shape), written.write(index, found)

    written = tf.TensorArray(tf.float32, num_chunks, infer_shape=False)
    *_, written = tf.while_loop(lambda count, *_: count < num_chunks, body, (0, occupied, written))
    return written.concat()
