"""The loss of transducers (RNN-T), with a length for every row."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from speechrnn.layers.derivatives import opaque, twice_differentiable
from speechrnn.losses.connectionist import BesideCTC
from speechrnn.losses.lattice import CHUNK, NEVER, UNLIKELY, has_path, rounded, shifted, walk_backwards, walk_forwards
from speechrnn.losses.targets import check_shapes, refused_labels


def transducer(target: Any, logits: Any, frames: Any) -> tf.Tensor:
    """Negative log-likelihood of each target under a transducer, over each row's own frames and labels.

    At frame `t`, when `u` labels have been written, the next is written by label `u` of the target, or the frame ends
    by the blank. So a target may be longer than its frames. The forward-backward algorithm walks the anti-diagonals
    `t + u` of the lattices of all rows side by side, compiled by XLA; its gradient is in closed form, and exact to
    float32 at any length.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, which is the blank.
        logits: float `(batch, frames, labels + 1, vocabulary)`, unnormalized; index 0 is the blank. Computed in
            float32. What stands in the padding, of frames or of labels, has no influence.
        frames: int32 `(batch,)`, the number of valid frames.

    Returns:
        float32 `(batch,)`, in nats. A row is impossible where its logits rule its target out, or where it has a target
        and no frame: its loss is infinite and its gradient zero.

    Raises:
        TypeError: The target is sparse or ragged.
        ValueError: A label is no symbol of the vocabulary, or stands behind the padding; there are fewer frames than
            `frames` says; the rows are not those of the logits; or the logits are not of `labels + 1` places. In a
            graph some of it is a `tf.errors.InvalidArgumentError`.

    Reference:
        Graves, "Sequence transduction with recurrent neural networks", arXiv:1211.3711, 2012, section 2.4.

    Example:
    >>> frames, places, vocabulary = 2, 2, 3
    >>> loss = transducer([[1]], tf.zeros((1, frames, places, vocabulary)), [2])
    >>> bool(abs(loss - 3 * tf.math.log(3.0) + tf.math.log(2.0)) < 1e-5)  # one label and two blanks, on two paths
    True
    """
    target, frames = tf.cast(target, tf.int32), tf.cast(frames, tf.int32)
    logits = tf.cast(logits, tf.float32)
    check_shapes(target, logits, frames)
    places = target.shape[-1]
    if logits.shape.rank != 4 or (places is not None and logits.shape[2] not in (None, places + 1)):
        raise ValueError(
            "Logits of a transducer must be `(batch, frames, labels + 1, vocabulary)`. Received: logits of shape "
            f"{logits.shape} with a target of shape {target.shape}."
        )
    with tf.control_dependencies(refused_labels(target, logits, frames)):
        target = tf.identity(target)
    labels = tf.math.count_nonzero(target, 1, dtype=tf.int32)
    real = (
        tf.sequence_mask(frames, tf.shape(logits)[1])[:, :, None]
        & tf.sequence_mask(labels + 1, tf.shape(logits)[2])[:, None]
    )
    logits = tf.where(real[..., None], logits, 0.0)  # the padding may hold anything, NaN too
    return _eager(target, logits, frames) if tf.executing_eagerly() else _transducer(target, logits, frames)


class _Lattice(NamedTuple):
    """The states of all rows, how many labels have been written, on one axis, padded to few sizes."""

    row: tf.Tensor
    """int32 `(states,)`: the row each belongs to, in order; -1 in the padding."""
    left: tf.Tensor
    """int32 `(states,)`: diagonals that it is walked."""
    first: tf.Tensor
    """int32 `(batch,)`: the state of each row without a label."""
    last: tf.Tensor
    """int32 `(batch,)`: the state of each row with all of them."""
    blank: tf.Tensor
    """int64 `(diagonals, states)`: place in the flat logits of what ends the frame; -1 where there is no such frame."""
    label: tf.Tensor
    """int64 `(diagonals, states)`: the same of the label that leads into the state."""


def _lattice(target: tf.Tensor, shape: tf.Tensor, frames: tf.Tensor) -> _Lattice:
    labels = tf.math.count_nonzero(target, 1, dtype=tf.int32)
    counts = labels + 1
    where = tf.cast(tf.where(tf.sequence_mask(counts)), tf.int32)
    total = tf.shape(where)[0]
    extra = rounded(total) - total
    row = tf.pad(where[:, 0], [[0, extra]], constant_values=-1)
    place, owner = tf.pad(where[:, 1], [[0, extra]]), tf.maximum(row, 0)
    left = tf.where(row < 0, 0, tf.gather(frames + labels, owner))
    num_chunks = (tf.reduce_max(tf.concat([[1], left], 0)) + CHUNK - 1) // CHUNK
    diagonals, steps = tf.range(num_chunks * CHUNK)[:, None], tf.gather(frames, owner)
    _, most, places, vocabulary = tf.unstack(tf.cast(shape, tf.int64))

    def cells(place: tf.Tensor, symbol: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        time = diagonals - place
        in_row = [tf.cast(value, tf.int64) for value in (owner, time, place, symbol)]
        cell = ((in_row[0] * most + in_row[1]) * places + in_row[2]) * vocabulary + in_row[3]
        return tf.where(real & (time >= 0) & (time < steps), cell, -1)

    written = tf.gather_nd(tf.pad(target, [[0, 0], [1, 0]]), tf.stack([owner, place], 1))
    last = tf.cumsum(counts) - 1
    return _Lattice(
        row, left, last - labels, last,
        cells(place, tf.zeros_like(place), row >= 0), cells(place - 1, written, place > 0),
    )  # fmt: skip


def _weights(lattice: _Lattice, log_probabilities: tf.Tensor) -> list[tf.Tensor]:
    """Logarithms of the probabilities of staying in a state, by the blank, and of coming into it, by its label."""
    flat = tf.reshape(log_probabilities, [-1])
    return [
        tf.where(cell < 0, NEVER, tf.maximum(tf.gather(flat, tf.maximum(cell, 0)), UNLIKELY))
        for cell in (lattice.blank, lattice.label)
    ]


def _arrivals(scores: Any, blank: Any, label: Any) -> tuple[Any, Any, Any]:
    """Log-probability of being in each state one diagonal on, and the shares of it that stayed and stepped."""
    # Not the sum alone: what is no number in one row would reach the next one.
    stayed, stepped = scores + blank, tf.where(label <= NEVER, NEVER, shifted(scores, 1) + label)
    most = tf.maximum(stayed, stepped)
    shares = tf.exp(stayed - most), tf.exp(stepped - most)
    total = shares[0] + shares[1]
    return tf.maximum(most + tf.math.log(total), NEVER), shares[0] / total, shares[1] / total


@opaque
@tf.function(jit_compile=True, autograph=False)
def _forwards(blank: Any, label: Any, left: Any, scores: Any) -> Any:
    """CHUNK diagonals of the forward variable, and that before each; see `walk_forwards`."""

    def step(count: Any, scores: Any, before: Any) -> Any:
        arrived, *_ = _arrivals(scores, blank[count], label[count])
        return count + 1, tf.where(count < left, arrived, scores), before.write(count, scores)

    written = tf.TensorArray(tf.float32, CHUNK)
    _, scores, before = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, scores, written), maximum_iterations=CHUNK
    )
    return scores, before.stack()


@opaque
@tf.function(jit_compile=True, autograph=False)
def _backwards(before: Any, blank: Any, label: Any, left: Any, occupied: Any) -> Any:
    """CHUNK diagonals back: the probabilities of staying in each state and of coming into it; see `walk_backwards`."""
    _, stays, steps = _arrivals(before, blank, label)

    def step(count: Any, occupied: Any, written: Any) -> Any:
        diagonal = CHUNK - 1 - count
        valid = diagonal < left
        stayed = tf.where(valid, occupied * stays[diagonal], 0.0)
        stepped = tf.where(valid & ~(label[diagonal] <= NEVER), occupied * steps[diagonal], 0.0)
        came_from = stayed + shifted(stepped, -1)
        return (
            count + 1,
            tf.where(valid, came_from, occupied),
            written.write(diagonal, tf.concat([stayed, stepped], 0)),
        )

    written = tf.TensorArray(tf.float32, CHUNK)
    _, occupied, written = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, occupied, written), maximum_iterations=CHUNK
    )
    return occupied, written.stack()


@tf.custom_gradient
def _transducer(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> Any:
    """`transducer` by the forward-backward algorithm in log space."""
    shape, batch = tf.shape(logits), tf.shape(logits)[0]
    lattice = _lattice(target, shape, frames)
    states, num_chunks = tf.size(lattice.row), tf.shape(lattice.blank)[0] // CHUNK
    log_probabilities = tf.nn.log_softmax(logits)
    blank, label = weights = _weights(lattice, log_probabilities)
    start = tf.tensor_scatter_nd_update(tf.fill([states], NEVER), lattice.first[:, None], tf.zeros([batch]))
    scores, offset, kept = walk_forwards(_forwards, weights, lattice.left, start, lattice.row, batch)
    loss = -(offset + tf.gather(scores, lattice.last))
    possible = has_path(loss)
    loss = tf.where(possible, loss, float("inf"))

    def first_order(upstream: Any) -> Any:
        ends = tf.tensor_scatter_nd_update(tf.zeros([states]), lattice.last[:, None], tf.where(possible, upstream, 0.0))
        ways = walk_backwards(
            lambda first, before, left, occupied: _backwards(
                before, blank[first : first + CHUNK], label[first : first + CHUNK], left, occupied
            ),
            kept, lattice.left, ends, num_chunks,
        )  # fmt: skip
        ways = tf.reshape(ways, [num_chunks * CHUNK, 2, states])
        cells = tf.stack([lattice.blank, lattice.label], 1)
        taken = tf.where(cells >= 0)
        cells, ways = tf.gather_nd(cells, taken), tf.gather_nd(ways, taken)
        vocabulary = tf.cast(shape[3], tf.int64)
        passed = tf.math.unsorted_segment_sum(ways, cells // vocabulary, tf.reduce_prod(shape[:3]))
        passed = tf.reshape(passed, [-1, 1])
        # No path passes where the logits rule the target out; what is no number there stays there.
        flat = tf.where(passed != 0, passed * tf.exp(tf.reshape(log_probabilities, [-1, shape[3]])), 0.0)
        flat = tf.tensor_scatter_nd_sub(tf.reshape(flat, [-1]), cells[:, None], ways)
        return (tf.reshape(flat, shape),)

    def gradient(upstream: Any) -> Any:
        (d_logits,) = twice_differentiable(first_order, _plain, (logits,), (upstream,), (lattice, possible))
        return None, d_logits, None

    return loss, gradient


def _plain(lattice: _Lattice, possible: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """What `_transducer` computes for the rows that are `possible`, differentiable any number of times."""
    logits = tf.where(possible[:, None, None, None], logits, 0.0)
    blank, label = _weights(lattice, tf.nn.log_softmax(logits))
    states, most = tf.size(lattice.row), tf.shape(lattice.blank)[0]

    def step(count: Any, scores: Any) -> Any:
        arrived, *_ = _arrivals(scores, blank[count], label[count])
        return count + 1, tf.where(count < lattice.left, arrived, scores)

    zeros = tf.zeros_like(lattice.first, tf.float32)
    start = tf.tensor_scatter_nd_update(tf.fill([states], NEVER), lattice.first[:, None], zeros)
    _, scores = tf.while_loop(lambda count, _: count < most, step, (0, start), maximum_iterations=most)
    return tf.where(possible, -tf.gather(scores, lattice.last), 0.0)


_eager = tf.function(_transducer, autograph=False, reduce_retracing=True)


@keras.saving.register_keras_serializable(package="speechrnn")
class Transducer(BesideCTC):
    """Mean transducer loss of a batch, and beside it CTC of the encoder alone.

    Rows that are impossible (see `transducer`) or have weight 0 are left out of the mean.

    Args:
        name: Name of the loss.
        **kwargs: `ctc` and `consistency`, see `BesideCTC`.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: float `(batch, frames, labels + 1, vocabulary)` logits.
        sample_weight: Optional float `(batch,)`.
        frames: int32 `(batch,)` valid frames; all of them where it is not given.
        alone: float `(batch, frames, vocabulary)` logits of the encoder alone.

    Returns:
        float32 scalar, nats per utterance.
    """

    def __init__(self, *, name: str = "transducer", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def rows(self, y_true: Any, y_pred: Any, frames: Any) -> tf.Tensor:
        """See `BesideCTC`."""
        return transducer(y_true, y_pred, frames)
