"""Connectionist temporal classification (CTC) with a length for every row."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from speechrnn.layers.derivatives import opaque, twice_differentiable
from speechrnn.losses.lattice import CHUNK, NEVER, UNLIKELY, has_path, rounded, shifted, walk_backwards, walk_forwards
from speechrnn.losses.reduction import MeanLoss, mean_of_possible, weighted_mean
from speechrnn.losses.targets import check_shapes, refused_labels


def required_frames(target: Any) -> tf.Tensor:
    """The fewest frames in which CTC can write each target: its length and one blank for each repeat.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0.

    Returns:
        int32 `(batch,)`.

    Example:
    >>> required_frames([[3, 3, 1, 0], [2, 5, 2, 5]]).numpy()
    array([4, 4], dtype=int32)
    """
    target = tf.cast(target, tf.int32)
    written = target != 0
    repeats = (target[:, 1:] == target[:, :-1]) & written[:, 1:]
    return tf.reduce_sum(tf.cast(written, tf.int32), 1) + tf.reduce_sum(tf.cast(repeats, tf.int32), 1)


def ctc(target: Any, logits: Any, frames: Any) -> tf.Tensor:
    """Negative log-likelihood of each target under CTC, over each row's own frames.

    On a GPU it is cuDNN's kernel. On a CPU it is the forward-backward algorithm over the states of all rows side by
    side, compiled by XLA: four times as fast as TensorFlow's own kernel, and exact to float32 at any length.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, which is the blank.
        logits: float `(batch, frames, vocabulary)`, unnormalized; index 0 is the blank. Computed in float32.
        frames: int32 `(batch,)`, the number of valid frames.

    Returns:
        float32 `(batch,)`, in nats. A row whose frames are fewer than `required_frames` is impossible: its loss is
        infinite and its gradient zero.

    Raises:
        TypeError: The target is sparse or ragged.
        ValueError: A label is no symbol of the vocabulary, or stands behind the padding; there are fewer frames than
            `frames` says; or the rows are not those of the logits. In a graph some of it is a
            `tf.errors.InvalidArgumentError`.

    Reference:
        Graves et al., "Connectionist temporal classification", ICML 2006.
    """
    target, frames = tf.cast(target, tf.int32), tf.cast(frames, tf.int32)
    logits = tf.cast(logits, tf.float32)
    check_shapes(target, logits, frames)
    with tf.control_dependencies(refused_labels(target, logits, frames)):
        target = tf.identity(target)
    if tf.config.list_logical_devices("GPU"):
        return _ctc_of_tensorflow(target, logits, frames)
    return _ctc_eager(target, logits, frames) if tf.executing_eagerly() else _ctc_compiled(target, logits, frames)


def _ctc_of_tensorflow(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """`ctc` by the sparse-label kernels: cuDNN's on a GPU, TensorFlow's C++ one on a CPU."""
    possible, empty = required_frames(target) <= frames, tf.reduce_all(target == 0, 1)
    # The kernels refuse a batch with an impossible or an unlabeled row: there a label that always fits stands in.
    usable = possible & ~empty
    width = tf.shape(target)[1]
    labels = tf.pad(target, [[0, 0], [0, tf.cast(width == 0, tf.int32)]])
    ids = tf.where(usable[:, None], labels, tf.one_hot(0, tf.maximum(width, 1), dtype=tf.int32))
    positions = tf.where(ids != 0)
    loss = tf.nn.ctc_loss(
        tf.SparseTensor(positions, tf.gather_nd(ids, positions), tf.shape(ids, tf.int64)),
        logits,
        label_length=None,
        logit_length=tf.where(usable, frames, 1),
        logits_time_major=False,
        blank_index=0,
    )
    loss = tf.where(usable, loss, float("inf"))
    return tf.cond(tf.reduce_any(empty), lambda: tf.where(empty, _all_blank(logits, frames), loss), lambda: loss)


def _all_blank(logits: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """Loss of the empty target: every valid frame is blank. float32 `(batch,)`."""
    valid = tf.sequence_mask(frames, tf.shape(logits)[1])
    blank = tf.nn.log_softmax(tf.where(valid[:, :, None], logits, 0.0))[:, :, 0]
    return -tf.reduce_sum(tf.where(valid, blank, 0.0), 1)


def consistency(logits: Any, frames: Any) -> tf.Tensor:
    """How far two views of the same utterances disagree: a symmetric Kullback-Leibler divergence, frame by frame.

    Each view is drawn towards the other's output, which is held fixed, so neither drags the other to its own errors.

    Args:
        logits: float `(2 * batch, frames, vocabulary)`; row `i + batch` is the other view of row `i`. In float32.
        frames: int32 `(2 * batch,)`, the number of valid frames; the same for both views of a row.

    Returns:
        float32 `(batch,)`, in nats, summed over the valid frames of each utterance.

    Reference:
        Yao et al., "CR-CTC: Consistency regularization on CTC for improved speech recognition", ICLR 2025, equation 6.
    """
    valid = tf.sequence_mask(frames, tf.shape(logits)[1])
    logits = tf.where(valid[:, :, None], tf.cast(logits, tf.float32), 0.0)
    first, second = tf.split(tf.nn.log_softmax(logits), 2)

    def towards(fixed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        fixed = tf.stop_gradient(fixed)
        return tf.reduce_sum(tf.exp(fixed) * (fixed - moved), [1, 2])

    return (towards(first, second) + towards(second, first)) / 2


class _States(NamedTuple):
    """The states that a path goes through, blank, label, blank, ..., of all rows on one axis, padded to few sizes."""

    row: tf.Tensor
    """int32 `(states,)`: the row each belongs to, in order; -1 in the padding."""
    symbol: tf.Tensor
    """int32 `(states,)`."""
    can_step: tf.Tensor
    """bool `(states,)`: reached from the state before it."""
    can_skip: tf.Tensor
    """bool `(states,)`: reached from the one before that: a label that differs from the last."""
    last: tf.Tensor
    """int32 `(batch,)`: the last state of each row."""


def _states(target: tf.Tensor) -> _States:
    counts = 2 * tf.math.count_nonzero(target, 1, dtype=tf.int32) + 1
    total = tf.reduce_sum(counts)
    where = tf.cast(tf.where(tf.sequence_mask(counts)), tf.int32)
    row, position = where[:, 0], where[:, 1]
    labels = tf.pad(target, [[0, 0], [2, 1]])  # with the padding, label k is labels[k + 2]
    is_label = position % 2 == 1
    symbol = tf.where(is_label, tf.gather_nd(labels, tf.stack([row, (position + 3) // 2], 1)), 0)
    before = tf.gather_nd(labels, tf.stack([row, (position + 1) // 2], 1))
    can_skip = is_label & (position > 1) & (symbol != before)
    extra = rounded(total) - total
    row, symbol = tf.pad(row, [[0, extra]], constant_values=-1), tf.pad(symbol, [[0, extra]])
    can_step, can_skip = tf.pad(position > 0, [[0, extra]]), tf.pad(can_skip, [[0, extra]])
    return _States(row, symbol, can_step, can_skip, tf.cumsum(counts) - 1)


def _arrivals(scores: Any, can_step: Any, can_skip: Any) -> tuple[Any, list[Any]]:
    """Log-probability of being in each state one frame on, and the shares of it that stayed, stepped and skipped."""
    stepped = tf.where(can_step, shifted(scores, 1), NEVER)
    skipped = tf.where(can_skip, shifted(scores, 2), NEVER)
    most = tf.maximum(scores, tf.maximum(stepped, skipped))
    parts = [tf.exp(way - most) for way in (scores, stepped, skipped)]
    total = parts[0] + parts[1] + parts[2]
    return most + tf.math.log(total), [part / total for part in parts]


@opaque
@tf.function(jit_compile=True, autograph=False)
def _forwards(emitted: Any, left: Any, can_step: Any, can_skip: Any, scores: Any) -> Any:
    """CHUNK frames of the forward variable; a state with no frames `left` keeps its score. Also that before each."""

    def step(count: Any, scores: Any, before: Any) -> Any:
        arrived, _ = _arrivals(scores, can_step, can_skip)
        after = tf.where(count < left, arrived + emitted[count], scores)
        return count + 1, after, before.write(count, scores)

    written = tf.TensorArray(tf.float32, CHUNK)
    _, scores, before = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, scores, written), maximum_iterations=CHUNK
    )
    return scores, before.stack()


@opaque
@tf.function(jit_compile=True, autograph=False)
def _backwards(before: Any, left: Any, can_step: Any, can_skip: Any, occupied: Any) -> Any:
    """CHUNK frames back: the probability, given the target, of being in each state at each frame."""
    # Outside the loop: inside, XLA would compute them again for each of the three states that a path may come from.
    _, shares = _arrivals(before, can_step, can_skip)

    def step(count: Any, occupied: Any, written: Any) -> Any:
        frame = CHUNK - 1 - count
        stayed, stepped, skipped = (occupied * share[frame] for share in shares)
        stepped, skipped = tf.where(can_step, stepped, 0.0), tf.where(can_skip, skipped, 0.0)  # 0 * NaN is NaN
        came_from = stayed + shifted(stepped, -1) + shifted(skipped, -2)
        valid = frame < left
        written = written.write(frame, tf.where(valid, occupied, 0.0))
        return count + 1, tf.where(valid, came_from, occupied), written

    written = tf.TensorArray(tf.float32, CHUNK)
    _, occupied, written = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, occupied, written), maximum_iterations=CHUNK
    )
    return occupied, written.stack()


@tf.custom_gradient
def _ctc_compiled(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> Any:
    """`ctc` by the forward-backward algorithm in log space."""
    batch, steps, vocabulary = tf.unstack(tf.shape(logits))
    states = _states(target)
    cell = tf.maximum(states.row, 0) * vocabulary + states.symbol
    left = tf.where(states.row < 0, 0, tf.gather(frames, tf.maximum(states.row, 0)))
    ways = states.can_step, states.can_skip
    num_chunks = tf.maximum((steps + CHUNK - 1) // CHUNK, 1)  # a walk has one chunk at least

    # Rows of the transpose are gathered, and transposed back: single numbers would take four times as long.
    log_probabilities = tf.nn.log_softmax(logits)
    by_symbol = tf.reshape(tf.transpose(log_probabilities, (0, 2, 1)), (-1, steps))
    emitted = tf.transpose(tf.gather(tf.maximum(by_symbol, UNLIKELY), cell))
    emitted = tf.pad(emitted, [[0, num_chunks * CHUNK - steps], [0, 0]])

    scores, offset, kept = walk_forwards(
        lambda emitted, left, scores: _forwards(emitted, left, *ways, scores), [emitted], left,
        tf.where(states.can_step, NEVER, 0.0), states.row, batch,
    )  # fmt: skip
    # A path ends in the last blank or, where there is a label, in the last label.
    last = tf.gather(scores, states.last)
    label = tf.where(tf.gather(states.can_step, states.last), tf.gather(scores, tf.maximum(states.last - 1, 0)), NEVER)
    end = tf.math.reduce_logsumexp(tf.stack([last, label]), 0)
    loss = -(offset + end)
    possible = (required_frames(target) <= frames) & has_path(loss)
    loss = tf.where(possible, loss, float("inf"))

    def first_order(upstream: Any) -> Any:
        ends = tf.exp(tf.concat([last, label], 0) - tf.tile(end, [2]))
        at = tf.concat([states.last, tf.maximum(states.last - 1, 0)], 0)
        occupied = tf.math.unsorted_segment_sum(ends, at, tf.size(states.row))

        occupied = walk_backwards(
            lambda _, before, left, occupied: _backwards(before, left, *ways, occupied),
            kept,
            left,
            occupied,
            num_chunks,
        )
        occupied = tf.transpose(tf.reshape(occupied, (-1, tf.size(states.row))))
        by_symbol = tf.math.unsorted_segment_sum(occupied, cell, batch * vocabulary)
        by_symbol = tf.transpose(tf.reshape(by_symbol, (batch, vocabulary, -1)), (0, 2, 1))[:, :steps]
        upstream = upstream[:, None, None]
        seen = (tf.sequence_mask(frames, steps) & possible[:, None])[:, :, None]
        return (tf.where(seen, upstream * (tf.exp(log_probabilities) - by_symbol), 0.0),)

    def gradient(upstream: Any) -> Any:
        fixed = (states, cell, frames, possible)
        (d_logits,) = twice_differentiable(first_order, _plain_ctc, (logits,), (upstream,), fixed)
        return None, d_logits, None

    return loss, gradient


def _plain_ctc(states: _States, cell: tf.Tensor, frames: tf.Tensor, possible: tf.Tensor, logits: tf.Tensor) -> Any:
    """What `_ctc_compiled` computes for the rows that are `possible`, differentiable any number of times."""
    steps = tf.shape(logits)[1]
    by_symbol = tf.transpose(tf.nn.log_softmax(tf.where(possible[:, None, None], logits, 0.0)), (0, 2, 1))
    emitted = tf.transpose(tf.gather(tf.reshape(by_symbol, (-1, steps)), cell))
    left = tf.where(states.row < 0, 0, tf.gather(frames, tf.maximum(states.row, 0)))

    def step(count: Any, scores: Any) -> Any:
        arrived, _ = _arrivals(scores, states.can_step, states.can_skip)
        return count + 1, tf.where(count < left, arrived + emitted[count], scores)

    start = tf.where(states.can_step, NEVER, 0.0)
    _, scores = tf.while_loop(lambda count, _: count < steps, step, (0, start), maximum_iterations=steps)
    last, label = tf.gather(scores, states.last), tf.gather(scores, tf.maximum(states.last - 1, 0))
    label = tf.where(tf.gather(states.can_step, states.last), label, NEVER)
    return tf.where(possible, -tf.math.reduce_logsumexp(tf.stack([last, label]), 0), 0.0)


_ctc_eager = tf.function(_ctc_compiled, autograph=False, reduce_retracing=True)


@keras.saving.register_keras_serializable(package="speechrnn")
class CTC(MeanLoss):
    """Mean CTC loss of a batch.

    Rows that are impossible (see `ctc`) or have weight 0 are left out of the mean.

    Args:
        consistency: Weight of `consistency` between the two halves of a batch, which must then hold two views of the
            same utterances; 0 leaves it out.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: float `(batch, frames, vocabulary)` logits.
        sample_weight: Optional float `(batch,)`.
        frames: int32 `(batch,)` valid frames; all of them where it is not given.

    Returns:
        float32 scalar, nats per utterance.
    """

    def __init__(self, *, consistency: float = 0.0, name: str = "ctc", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not consistency >= 0:
            raise ValueError(f"`consistency` must be zero or positive. Received: consistency={consistency}.")
        self.consistency = consistency

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, frames: Any = None) -> tf.Tensor:
        """See the class."""
        losses = self.call(y_true, y_pred) if frames is None else ctc(y_true, y_pred, frames)
        weight, mean = mean_of_possible(losses, sample_weight)
        if self.consistency:
            frames = tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]) if frames is None else frames
            mean += self.consistency * weighted_mean(tf.split(weight, 2)[0], consistency(y_pred, frames))
        return mean

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each row over all frames: float32 `(batch,)`."""
        return ctc(y_true, y_pred, tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]))


class BesideCTC(MeanLoss):
    """Mean loss of a batch of texts, and beside it CTC of the encoder alone; a subclass gives the loss of each row.

    Rows that are impossible or have weight 0 are left out of the mean.

    Args:
        ctc: Weight of CTC, for which the call needs `alone`; 0 leaves it out.
        consistency: Of `CTC`.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: What the subclass takes.
        sample_weight: Optional float `(batch,)`.
        frames: int32 `(batch,)` valid frames.
        alone: float `(batch, frames, vocabulary)` logits of the encoder alone.

    Returns:
        float32 scalar, nats per utterance.
    """

    def __init__(self, *, ctc: float = 0.0, consistency: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ctc >= 0:
            raise ValueError(f"`ctc` must be zero or positive. Received: ctc={ctc}.")
        if consistency and not ctc:
            raise ValueError(f"`consistency` is of CTC, whose weight `ctc` is 0. Received: consistency={consistency}.")
        self.ctc, self.consistency = ctc, consistency
        self._beside = CTC(consistency=consistency)

    def rows(self, y_true: Any, y_pred: Any, frames: Any) -> tf.Tensor:
        """Loss of each row: float32 `(batch,)`."""
        raise NotImplementedError

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, frames: Any = None, alone: Any = None
    ) -> tf.Tensor:
        """See the class."""
        frames = tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]) if frames is None else frames
        _, mean = mean_of_possible(self.rows(y_true, y_pred, frames), sample_weight)
        return mean + self.ctc * self._beside(y_true, alone, sample_weight, frames) if self.ctc else mean

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each row over all frames: float32 `(batch,)`."""
        return self.rows(y_true, y_pred, tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]))
