"""The loss of transducers (RNN-T), with a length for every row."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from speechrnn.layers.derivatives import twice_differentiable, without_gradient
from speechrnn.losses.connectionist import LossWithCTC
from speechrnn.losses.lattice import (
    CHUNK,
    LOG_MIN,
    LOG_ZERO,
    has_path,
    of_rows,
    rounded,
    shifted,
    walk_backwards,
    walk_forwards,
)
from speechrnn.losses.targets import check_shapes, refused_labels, whole


def transducer(target: Any, logits: Any, frames: Any) -> tf.Tensor:
    """Negative log-likelihood of each target under a transducer, over the valid frames and labels of each row.

    At frame `t`, after `u` labels, a path emits either label `u` of the target or a blank, which ends the frame. So a
    target may have more labels than frames. The forward-backward algorithm runs along the anti-diagonals `t + u` of the
    lattices of all rows at once, compiled by XLA; the gradient is in closed form, and exact to float32 at any length.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, which is the blank.
        logits: float `(batch, frames, labels + 1, vocabulary)`, unnormalized; index 0 is the blank. Computed in
            float32. The padding, of frames or of labels, has no influence.
        frames: int32 `(batch,)`, the number of valid frames.

    Returns:
        float32 `(batch,)`, in nats. A row is impossible if its logits rule out its target, or if it has a target but no
        frames: its loss is infinite and its gradient zero.

    Raises:
        TypeError: The target is sparse or ragged, or not numeric.
        ValueError: A label is outside the vocabulary, not whole or after the padding; `frames` exceeds the frames of
            the logits; the numbers of rows differ; or the logits do not have `labels + 1` positions. Within a graph
            some of these are `tf.errors.InvalidArgumentError`.

    Reference:
        Graves, "Sequence transduction with recurrent neural networks", arXiv:1211.3711, 2012, section 2.4.

    Example:
    >>> frames, positions, vocabulary = 2, 2, 3
    >>> loss = transducer([[1]], tf.zeros((1, frames, positions, vocabulary)), [2])
    >>> bool(abs(loss - 3 * tf.math.log(3.0) + tf.math.log(2.0)) < 1e-5)  # one label and two blanks, on two paths
    True
    """
    target, frames = whole(target, "Labels"), whole(frames, "`frames`")
    logits = tf.cast(logits, tf.float32)
    check_shapes(target, logits, frames)
    num_labels = target.shape[-1]
    if logits.shape.rank != 4 or (num_labels is not None and logits.shape[2] not in (None, num_labels + 1)):
        raise ValueError(
            "Logits of a transducer must be `(batch, frames, labels + 1, vocabulary)`. Received: logits of shape "
            f"{logits.shape} with a target of shape {target.shape}."
        )
    with tf.control_dependencies(refused_labels(target, logits, frames)):
        target = tf.identity(target)
    labels = tf.math.count_nonzero(target, 1, dtype=tf.int32)
    valid = (
        tf.sequence_mask(frames, tf.shape(logits)[1])[:, :, None]
        & tf.sequence_mask(labels + 1, tf.shape(logits)[2])[:, None]
    )
    logits = tf.where(valid[..., None], logits, 0.0)  # the padding may be anything, NaN too
    return of_rows(_eager if tf.executing_eagerly() else _transducer, target, logits, frames)


class _Lattice(NamedTuple):
    """The states (numbers of emissions labels) of all rows on one axis, padded to one of few sizes."""

    row: tf.Tensor
    """int32 `(states,)`: the row each belongs to, in order; -1 in the padding."""
    remaining: tf.Tensor
    """int32 `(states,)`: number of diagonals of each state's row."""
    first: tf.Tensor
    """int32 `(batch,)`: the state of each row with no label."""
    last: tf.Tensor
    """int32 `(batch,)`: the state of each row with all labels."""
    blank: tf.Tensor
    """int64 `(diagonals, states)`: index, in the flat logits, of the blank that ends the frame; -1 for no frame."""
    label: tf.Tensor
    """int64 `(diagonals, states)`: the same for the label that leads into the state."""


def _lattice(target: tf.Tensor, shape: tf.Tensor, frames: tf.Tensor) -> _Lattice:
    labels = tf.math.count_nonzero(target, 1, dtype=tf.int32)
    counts = labels + 1
    where = tf.cast(tf.where(tf.sequence_mask(counts)), tf.int32)
    total = tf.shape(where)[0]
    extra = rounded(total) - total
    row = tf.pad(where[:, 0], [[0, extra]], constant_values=-1)
    position, owner = tf.pad(where[:, 1], [[0, extra]]), tf.maximum(row, 0)
    remaining = tf.where(row < 0, 0, tf.gather(frames + labels, owner))
    num_chunks = (tf.reduce_max(tf.concat([[1], remaining], 0)) + CHUNK - 1) // CHUNK
    diagonals, steps = tf.range(num_chunks * CHUNK)[:, None], tf.gather(frames, owner)
    _, num_frames, positions, vocabulary = tf.unstack(tf.cast(shape, tf.int64))

    def cells(position: tf.Tensor, symbol: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        time = diagonals - position
        index = [tf.cast(value, tf.int64) for value in (owner, time, position, symbol)]
        cell = ((index[0] * num_frames + index[1]) * positions + index[2]) * vocabulary + index[3]
        return tf.where(valid & (time >= 0) & (time < steps), cell, -1)

    label = tf.gather_nd(tf.pad(target, [[0, 0], [1, 0]]), tf.stack([owner, position], 1))
    last = tf.cumsum(counts) - 1
    return _Lattice(
        row, remaining, last - labels, last,
        cells(position, tf.zeros_like(position), row >= 0), cells(position - 1, label, position > 0),
    )  # fmt: skip


def _weights(lattice: _Lattice, log_probabilities: tf.Tensor) -> list[tf.Tensor]:
    """Log-probabilities of staying in a state, by the blank, and of entering it, by its label."""
    flat = tf.reshape(log_probabilities, [-1])
    return [
        tf.where(cell < 0, LOG_ZERO, tf.maximum(tf.gather(flat, tf.maximum(cell, 0)), LOG_MIN))
        for cell in (lattice.blank, lattice.label)
    ]


def _arrivals(scores: Any, blank: Any, label: Any) -> tuple[Any, Any, Any]:
    """Log-probability of each state at the next diagonal, and the shares of it that stayed and stepped."""
    # `where`, not the sum alone: NaN in one row would reach the next one.
    stayed, stepped = scores + blank, tf.where(label <= LOG_ZERO, LOG_ZERO, shifted(scores, 1) + label)
    highest = tf.maximum(stayed, stepped)
    shares = tf.exp(stayed - highest), tf.exp(stepped - highest)
    total = shares[0] + shares[1]
    return tf.maximum(highest + tf.math.log(total), LOG_ZERO), shares[0] / total, shares[1] / total


@without_gradient
@tf.function(jit_compile=True, autograph=False)
def _forwards(blank: Any, label: Any, remaining: Any, scores: Any) -> Any:
    """CHUNK diagonals of the forward variable, and its values before each; see `walk_forwards`."""

    def step(count: Any, scores: Any, before: Any) -> Any:
        arrived, *_ = _arrivals(scores, blank[count], label[count])
        return count + 1, tf.where(count < remaining, arrived, scores), before.write(count, scores)

    written = tf.TensorArray(tf.float32, CHUNK)
    _, scores, before = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, scores, written), maximum_iterations=CHUNK
    )
    return scores, before.stack()


@without_gradient
@tf.function(jit_compile=True, autograph=False)
def _backwards(before: Any, blank: Any, label: Any, remaining: Any, occupancy: Any) -> Any:
    """CHUNK diagonals of the backward pass: posteriors of staying in each state and of entering it."""
    _, stays, steps = _arrivals(before, blank, label)

    def step(count: Any, occupancy: Any, written: Any) -> Any:
        diagonal = CHUNK - 1 - count
        valid = diagonal < remaining
        stayed = tf.where(valid, occupancy * stays[diagonal], 0.0)
        stepped = tf.where(valid & ~(label[diagonal] <= LOG_ZERO), occupancy * steps[diagonal], 0.0)
        previous = stayed + shifted(stepped, -1)
        return (
            count + 1,
            tf.where(valid, previous, occupancy),
            written.write(diagonal, tf.concat([stayed, stepped], 0)),
        )

    written = tf.TensorArray(tf.float32, CHUNK)
    _, occupancy, written = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, occupancy, written), maximum_iterations=CHUNK
    )
    return occupancy, written.stack()


@tf.custom_gradient
def _transducer(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> Any:
    """`transducer` by the forward-backward algorithm in log space."""
    shape, batch = tf.shape(logits), tf.shape(logits)[0]
    lattice = _lattice(target, shape, frames)
    states, num_chunks = tf.size(lattice.row), tf.shape(lattice.blank)[0] // CHUNK
    log_probabilities = tf.nn.log_softmax(logits)
    blank, label = weights = _weights(lattice, log_probabilities)
    start = tf.tensor_scatter_nd_update(tf.fill([states], LOG_ZERO), lattice.first[:, None], tf.zeros([batch]))
    scores, offset, history = walk_forwards(_forwards, weights, lattice.remaining, start, lattice.row, batch)
    loss = -(offset + tf.gather(scores, lattice.last))
    possible = has_path(loss)
    loss = tf.where(possible, loss, float("inf"))

    def first_order(upstream: Any) -> Any:
        ends = tf.tensor_scatter_nd_update(tf.zeros([states]), lattice.last[:, None], tf.where(possible, upstream, 0.0))
        posteriors = walk_backwards(
            lambda first, before, remaining, occupancy: _backwards(
                before, blank[first : first + CHUNK], label[first : first + CHUNK], remaining, occupancy
            ),
            history, lattice.remaining, ends, num_chunks,
        )  # fmt: skip
        posteriors = tf.reshape(posteriors, [num_chunks * CHUNK, 2, states])
        cells = tf.stack([lattice.blank, lattice.label], 1)
        valid = tf.where(cells >= 0)
        cells, posteriors = tf.gather_nd(cells, valid), tf.gather_nd(posteriors, valid)
        vocabulary = tf.cast(shape[3], tf.int64)
        nodes = tf.math.unsorted_segment_sum(posteriors, cells // vocabulary, tf.reduce_prod(shape[:3]))
        nodes = tf.reshape(nodes, [-1, 1])
        # Nodes that no path visits get a zero gradient, even if their logits are NaN.
        flat = tf.where(nodes != 0, nodes * tf.exp(tf.reshape(log_probabilities, [-1, shape[3]])), 0.0)
        flat = tf.tensor_scatter_nd_sub(tf.reshape(flat, [-1]), cells[:, None], posteriors)
        return (tf.reshape(flat, shape),)

    def gradient(upstream: Any) -> Any:
        (d_logits,) = twice_differentiable(first_order, _plain, (logits,), (upstream,), (lattice, possible))
        return None, d_logits, None

    return loss, gradient


def _plain(lattice: _Lattice, possible: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The loss of `_transducer` for the `possible` rows, differentiable any number of times."""
    logits = tf.where(possible[:, None, None, None], logits, 0.0)
    blank, label = _weights(lattice, tf.nn.log_softmax(logits))
    states, diagonals = tf.size(lattice.row), tf.shape(lattice.blank)[0]

    def step(count: Any, scores: Any) -> Any:
        arrived, *_ = _arrivals(scores, blank[count], label[count])
        return count + 1, tf.where(count < lattice.remaining, arrived, scores)

    zeros = tf.zeros_like(lattice.first, tf.float32)
    start = tf.tensor_scatter_nd_update(tf.fill([states], LOG_ZERO), lattice.first[:, None], zeros)
    _, scores = tf.while_loop(lambda count, _: count < diagonals, step, (0, start), maximum_iterations=diagonals)
    return tf.where(possible, -tf.gather(scores, lattice.last), 0.0)


_eager = tf.function(_transducer, autograph=False, reduce_retracing=True)


@keras.saving.register_keras_serializable(package="speechrnn")
class Transducer(LossWithCTC):
    """Mean transducer loss of a batch, plus CTC of the encoder.

    Impossible rows (see `transducer`) and rows with weight 0 are left out of the mean.

    Args:
        name: Name of the loss.
        **kwargs: `ctc` and `consistency`, see `LossWithCTC`.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: float `(batch, frames, labels + 1, vocabulary)` logits.
        sample_weight: Optional float `(batch,)`.
        frames: Optional int32 `(batch,)` valid frames; by default all frames are valid.
        encoder_logits: float `(batch, frames, vocabulary)`, the encoder's logits for CTC.

    Returns:
        float32 scalar, nats per utterance.
    """

    def __init__(self, *, name: str = "transducer", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def rows(self, y_true: Any, y_pred: Any, frames: Any) -> tf.Tensor:
        """See `LossWithCTC`."""
        return transducer(y_true, y_pred, frames)
