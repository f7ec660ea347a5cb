"""Forward-backward algorithm over lattices, for CTC and transducers: the states of all rows on one axis, in chunks.

XLA compiles a kernel once per shape. To have few shapes, a chunk has `CHUNK` steps, and states are padded to one of the
sizes that `rounded` gives.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

CHUNK = 64
"""Steps in one call of a compiled kernel; the last chunk is padded with steps that change nothing."""

LOG_ZERO = -1e30
"""Logarithm of probability 0; finite, since the difference of two infinities is NaN."""

LOG_MIN = LOG_ZERO / 1e6
"""Lower limit for log-probabilities of symbols; a path with one of these is impossible."""


def of_rows(
    loss: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    target: tf.Tensor,
    logits: tf.Tensor,
    frames: tf.Tensor,
) -> tf.Tensor:
    """The losses of a batch that may be empty, as one of several devices may get it, or be without a frame."""
    batch, steps = logits.shape[:2]
    if batch and steps:
        return loss(target, logits, frames)
    rows, more = tf.shape(logits)[0], tf.maximum(1 - tf.shape(logits)[:2], 0)  # padding by nothing copies nothing
    padded = tf.pad(logits, tf.pad(more[:, None], [[0, logits.shape.rank - 2], [1, 0]]))
    padded.set_shape([batch or None, steps or None, *logits.shape[2:]])
    return loss(tf.pad(target, [[0, more[0]], [0, 0]]), padded, tf.pad(frames, [[0, more[0]]]))[:rows]


def rounded(count: tf.Tensor) -> tf.Tensor:
    """The smallest of 64, 96, 128, 192, ... that is at least `count`, so that few sizes are compiled."""
    sizes = tf.constant([k << n for n in range(5, 26) for k in (2, 3)])
    return tf.maximum(count, sizes[tf.minimum(tf.searchsorted(sizes, [count])[0], 41)])


def shifted(values: Any, count: int) -> Any:
    """`values[..., i - count]` at `i`; the values that wrap around are never used."""
    return tf.roll(values, count, -1)


def has_path(loss: tf.Tensor) -> tf.Tensor:
    """Whether each row has a path with a probability above zero; True for a loss of NaN, which must not be hidden."""
    # Not `~(loss >= ...)`: TensorFlow would rewrite it to `<`, and a row with NaN logits would count as impossible.
    return (loss < -LOG_MIN / 10) | tf.math.is_nan(loss)


def walk_forwards(
    kernel: Callable[..., Any],
    weights: Sequence[tf.Tensor],
    remaining: tf.Tensor,
    start: tf.Tensor,
    row: tf.Tensor,
    batch: Any,
) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
    """Compute the forward variable of all states after the last step, chunk by chunk.

    Args:
        kernel: `kernel(*weights, remaining, scores) -> (scores, before)` for one chunk: the scores after it, and those
            before each of its steps, float32 `(CHUNK, states)`.
        weights: float32 `(steps, states)` each, a multiple of `CHUNK` steps.
        remaining: int32 `(states,)`: number of steps of each state's row.
        start: float32 `(states,)`: scores before the first step.
        row: int32 `(states,)`: the row each state belongs to; -1 in the padding.
        batch: Number of rows.

    Returns:
        float32 `(states,)` scores; float32 `(batch,)` offsets that were subtracted from them, so that they stay near
        zero, where float32 is precise; and each chunk's `before`.
    """
    num_chunks, rows = tf.shape(weights[0])[0] // CHUNK, tf.maximum(row, 0)

    def body(count: Any, scores: Any, offset: Any, history: Any) -> Any:
        first = count * CHUNK
        scores, before = kernel(*(values[first : first + CHUNK] for values in weights), remaining - first, scores)
        best = tf.ensure_shape(tf.math.unsorted_segment_max(scores, row, batch), offset.shape)
        return count + 1, scores - tf.gather(best, rows), offset + best, history.write(count, before)

    history = tf.TensorArray(tf.float32, num_chunks, infer_shape=False, clear_after_read=False)
    offset = tf.zeros([batch], tf.float32)
    _, scores, offset, history = tf.while_loop(lambda count, *_: count < num_chunks, body, (0, start, offset, history))
    return scores, offset, history


def walk_backwards(
    kernel: Callable[..., Any], history: tf.TensorArray, remaining: tf.Tensor, occupancy: tf.Tensor, num_chunks: Any
) -> tf.Tensor:
    """Compute the posterior probability of each state, or of each transition, at each step.

    Args:
        kernel: `kernel(first, before, remaining, occupancy) -> (occupancy, posteriors)` for the chunk whose first step
            is `first`: the probabilities of the states before it, and float32 `(CHUNK, width)`.
        history: From `walk_forwards`.
        remaining: See `walk_forwards`.
        occupancy: float32 `(states,)`: the probability of ending in each.
        num_chunks: Number of chunks.

    Returns:
        float32 `(steps, width)`: the posteriors of all chunks.
    """

    def body(count: Any, occupancy: Any, posteriors: Any) -> Any:
        index = num_chunks - 1 - count
        first, before = index * CHUNK, tf.reshape(history.read(index), (CHUNK, -1))
        earlier, chunk = kernel(first, before, remaining - first, occupancy)
        return count + 1, tf.ensure_shape(earlier, occupancy.shape), posteriors.write(index, chunk)

    posteriors = tf.TensorArray(tf.float32, num_chunks, infer_shape=False)
    *_, posteriors = tf.while_loop(lambda count, *_: count < num_chunks, body, (0, occupancy, posteriors))
    return posteriors.concat()
