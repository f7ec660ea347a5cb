"""Connectionist temporal classification (CTC) with a length for every row."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from speechrnn.layers.derivatives import twice_differentiable, without_gradient
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
from speechrnn.losses.reduction import MeanLoss, mean_of_possible, weighted_mean
from speechrnn.losses.targets import check_shapes, refuse, refused_labels, whole


def required_frames(target: Any) -> tf.Tensor:
    """The smallest number of frames in which CTC can write each target: its length plus a blank for each repeat.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0.

    Returns:
        int32 `(batch,)`.

    Example:
    >>> required_frames([[3, 3, 1, 0], [2, 5, 2, 5]]).numpy()
    array([4, 4], dtype=int32)
    """
    target = tf.cast(target, tf.int32)
    is_label = target != 0
    repeats = (target[:, 1:] == target[:, :-1]) & is_label[:, 1:]
    return tf.reduce_sum(tf.cast(is_label, tf.int32), 1) + tf.reduce_sum(tf.cast(repeats, tf.int32), 1)


def ctc(target: Any, logits: Any, frames: Any) -> tf.Tensor:
    """Negative log-likelihood of each target under CTC, over the valid frames of each row.

    On a GPU this is cuDNN's kernel. On a CPU it is the forward-backward algorithm over the states of all rows at once,
    compiled by XLA: four times as fast as TensorFlow's own kernel, and exact to float32 at any length.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, which is the blank.
        logits: float `(batch, frames, vocabulary)`, unnormalized; index 0 is the blank. Computed in float32.
        frames: int32 `(batch,)`, the number of valid frames.

    Returns:
        float32 `(batch,)`, in nats. A row with fewer frames than `required_frames` is impossible: its loss is infinite
        and its gradient zero.

    Raises:
        TypeError: The target is sparse or ragged, or not numeric.
        ValueError: A label is outside the vocabulary, not whole or after the padding; `frames` exceeds the frames of
            the logits; or the numbers of rows differ. Within a graph some of these are
            `tf.errors.InvalidArgumentError`.

    Reference:
        Graves et al., "Connectionist temporal classification", ICML 2006.
    """
    target, frames = whole(target, "Labels"), whole(frames, "`frames`")
    logits = tf.cast(logits, tf.float32)
    check_shapes(target, logits, frames)
    with tf.control_dependencies(refused_labels(target, logits, frames)):
        target = tf.identity(target)
    return of_rows(_ctc, target, logits, frames)


def _ctc(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    if tf.config.list_logical_devices("GPU"):
        return _ctc_of_tensorflow(target, logits, frames)
    return _ctc_eager(target, logits, frames) if tf.executing_eagerly() else _ctc_compiled(target, logits, frames)


def _ctc_of_tensorflow(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """`ctc` by the sparse-label kernels: cuDNN's on a GPU, TensorFlow's C++ one on a CPU."""
    possible, empty = required_frames(target) <= frames, tf.reduce_all(target == 0, 1)
    # The kernels refuse a batch with an impossible or unlabeled row: such a row gets one label and one frame instead.
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
    """Loss of an empty target, float32 `(batch,)`: every valid frame is blank."""
    valid = tf.sequence_mask(frames, tf.shape(logits)[1])
    blank = tf.nn.log_softmax(tf.where(valid[:, :, None], logits, 0.0))[:, :, 0]
    return -tf.reduce_sum(tf.where(valid, blank, 0.0), 1)


def consistency(logits: Any, frames: Any) -> tf.Tensor:
    """Symmetric Kullback-Leibler divergence, frame by frame, between two views of the same utterances.

    Each view is trained towards the output of the other, which gets no gradient.

    Args:
        logits: float `(2 * batch, frames, vocabulary)`; row `i + batch` is the other view of row `i`. Computed in
            float32.
        frames: int32 `(2 * batch,)`, the number of valid frames; the same for both views of a row.

    Returns:
        float32 `(batch,)`, in nats, summed over the valid frames of each utterance.

    Reference:
        Yao et al., "CR-CTC: Consistency regularization on CTC for improved speech recognition", ICLR 2025, equation 6.
    """
    valid = tf.sequence_mask(frames, tf.shape(logits)[1])
    logits = tf.where(valid[:, :, None], tf.cast(logits, tf.float32), 0.0)
    first, second = tf.split(tf.nn.log_softmax(logits), 2)

    def divergence(fixed: tf.Tensor, trained: tf.Tensor) -> tf.Tensor:
        fixed = tf.stop_gradient(fixed)
        return tf.reduce_sum(tf.exp(fixed) * (fixed - trained), [1, 2])

    return (divergence(first, second) + divergence(second, first)) / 2


class _States(NamedTuple):
    """The states of CTC (blank, label, blank, ...) of all rows on one axis, padded to one of few sizes."""

    row: tf.Tensor
    """int32 `(states,)`: the row each belongs to, in order; -1 in the padding."""
    symbol: tf.Tensor
    """int32 `(states,)`."""
    can_step: tf.Tensor
    """bool `(states,)`: reachable from the previous state."""
    can_skip: tf.Tensor
    """bool `(states,)`: reachable from the state before that, as is a label that differs from the previous label."""
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
    previous = tf.gather_nd(labels, tf.stack([row, (position + 1) // 2], 1))
    can_skip = is_label & (position > 1) & (symbol != previous)
    extra = rounded(total) - total
    row, symbol = tf.pad(row, [[0, extra]], constant_values=-1), tf.pad(symbol, [[0, extra]])
    can_step, can_skip = tf.pad(position > 0, [[0, extra]]), tf.pad(can_skip, [[0, extra]])
    return _States(row, symbol, can_step, can_skip, tf.cumsum(counts) - 1)


def _arrivals(scores: Any, can_step: Any, can_skip: Any) -> tuple[Any, list[Any]]:
    """Log-probability of each state at the next frame, and the shares of it that stayed, stepped and skipped."""
    stepped = tf.where(can_step, shifted(scores, 1), LOG_ZERO)
    skipped = tf.where(can_skip, shifted(scores, 2), LOG_ZERO)
    highest = tf.maximum(scores, tf.maximum(stepped, skipped))
    parts = [tf.exp(score - highest) for score in (scores, stepped, skipped)]
    total = parts[0] + parts[1] + parts[2]
    return highest + tf.math.log(total), [part / total for part in parts]


@without_gradient
@tf.function(jit_compile=True, autograph=False)
def _forwards(emissions: Any, remaining: Any, can_step: Any, can_skip: Any, scores: Any) -> Any:
    """CHUNK frames of the forward variable, and its values before each; without `remaining` frames scores are kept."""

    def step(count: Any, scores: Any, before: Any) -> Any:
        arrived, _ = _arrivals(scores, can_step, can_skip)
        after = tf.where(count < remaining, arrived + emissions[count], scores)
        return count + 1, after, before.write(count, scores)

    written = tf.TensorArray(tf.float32, CHUNK)
    _, scores, before = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, scores, written), maximum_iterations=CHUNK
    )
    return scores, before.stack()


@without_gradient
@tf.function(jit_compile=True, autograph=False)
def _backwards(before: Any, remaining: Any, can_step: Any, can_skip: Any, occupancy: Any) -> Any:
    """CHUNK frames of the backward pass: the posterior probability of each state at each frame."""
    # Outside the loop: within it, XLA would compute them for each of the three possible previous states.
    _, shares = _arrivals(before, can_step, can_skip)

    def step(count: Any, occupancy: Any, written: Any) -> Any:
        frame = CHUNK - 1 - count
        stayed, stepped, skipped = (occupancy * share[frame] for share in shares)
        stepped, skipped = tf.where(can_step, stepped, 0.0), tf.where(can_skip, skipped, 0.0)  # 0 * NaN is NaN
        previous = stayed + shifted(stepped, -1) + shifted(skipped, -2)
        valid = frame < remaining
        written = written.write(frame, tf.where(valid, occupancy, 0.0))
        return count + 1, tf.where(valid, previous, occupancy), written

    written = tf.TensorArray(tf.float32, CHUNK)
    _, occupancy, written = tf.while_loop(
        lambda count, *_: count < CHUNK, step, (0, occupancy, written), maximum_iterations=CHUNK
    )
    return occupancy, written.stack()


@tf.custom_gradient
def _ctc_compiled(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> Any:
    """`ctc` by the forward-backward algorithm in log space."""
    batch, steps, vocabulary = tf.unstack(tf.shape(logits))
    states = _states(target)
    cell = tf.maximum(states.row, 0) * vocabulary + states.symbol
    remaining = tf.where(states.row < 0, 0, tf.gather(frames, tf.maximum(states.row, 0)))
    transitions = states.can_step, states.can_skip
    num_chunks = tf.maximum((steps + CHUNK - 1) // CHUNK, 1)

    # Gathers rows of the transpose and transposes back: to gather single numbers would take four times as long.
    log_probabilities = tf.nn.log_softmax(logits)
    by_symbol = tf.reshape(tf.transpose(log_probabilities, (0, 2, 1)), (-1, steps))
    emissions = tf.transpose(tf.gather(tf.maximum(by_symbol, LOG_MIN), cell))
    emissions = tf.pad(emissions, [[0, num_chunks * CHUNK - steps], [0, 0]])

    scores, offset, history = walk_forwards(
        lambda emissions, remaining, scores: _forwards(emissions, remaining, *transitions, scores), [emissions],
        remaining, tf.where(states.can_step, LOG_ZERO, 0.0), states.row, batch,
    )  # fmt: skip
    # A path ends in the last blank or, if there is a label, in the last label.
    last = tf.gather(scores, states.last)
    label = tf.where(
        tf.gather(states.can_step, states.last), tf.gather(scores, tf.maximum(states.last - 1, 0)), LOG_ZERO
    )
    end = tf.math.reduce_logsumexp(tf.stack([last, label]), 0)
    loss = -(offset + end)
    possible = (required_frames(target) <= frames) & has_path(loss)
    loss = tf.where(possible, loss, float("inf"))

    def first_order(upstream: Any) -> Any:
        ends = tf.exp(tf.concat([last, label], 0) - tf.tile(end, [2]))
        indices = tf.concat([states.last, tf.maximum(states.last - 1, 0)], 0)
        occupancy = tf.math.unsorted_segment_sum(ends, indices, tf.size(states.row))

        occupancy = walk_backwards(
            lambda _, before, remaining, occupancy: _backwards(before, remaining, *transitions, occupancy),
            history,
            remaining,
            occupancy,
            num_chunks,
        )
        occupancy = tf.transpose(tf.reshape(occupancy, (-1, tf.size(states.row))))
        by_symbol = tf.math.unsorted_segment_sum(occupancy, cell, batch * vocabulary)
        by_symbol = tf.transpose(tf.reshape(by_symbol, (batch, vocabulary, -1)), (0, 2, 1))[:, :steps]
        upstream = upstream[:, None, None]
        valid = (tf.sequence_mask(frames, steps) & possible[:, None])[:, :, None]
        return (tf.where(valid, upstream * (tf.exp(log_probabilities) - by_symbol), 0.0),)

    def gradient(upstream: Any) -> Any:
        fixed = (states, cell, frames, possible)
        (d_logits,) = twice_differentiable(first_order, _plain_ctc, (logits,), (upstream,), fixed)
        return None, d_logits, None

    return loss, gradient


def _plain_ctc(states: _States, cell: tf.Tensor, frames: tf.Tensor, possible: tf.Tensor, logits: tf.Tensor) -> Any:
    """The loss of `_ctc_compiled` for the `possible` rows, differentiable any number of times."""
    steps = tf.shape(logits)[1]
    by_symbol = tf.transpose(tf.nn.log_softmax(tf.where(possible[:, None, None], logits, 0.0)), (0, 2, 1))
    emissions = tf.transpose(tf.gather(tf.reshape(by_symbol, (-1, steps)), cell))
    remaining = tf.where(states.row < 0, 0, tf.gather(frames, tf.maximum(states.row, 0)))

    def step(count: Any, scores: Any) -> Any:
        arrived, _ = _arrivals(scores, states.can_step, states.can_skip)
        return count + 1, tf.where(count < remaining, arrived + emissions[count], scores)

    start = tf.where(states.can_step, LOG_ZERO, 0.0)
    _, scores = tf.while_loop(lambda count, _: count < steps, step, (0, start), maximum_iterations=steps)
    last, label = tf.gather(scores, states.last), tf.gather(scores, tf.maximum(states.last - 1, 0))
    label = tf.where(tf.gather(states.can_step, states.last), label, LOG_ZERO)
    return tf.where(possible, -tf.math.reduce_logsumexp(tf.stack([last, label]), 0), 0.0)


_ctc_eager = tf.function(_ctc_compiled, autograph=False, reduce_retracing=True)


@keras.saving.register_keras_serializable(package="speechrnn")
class CTC(MeanLoss):
    """Mean CTC loss of a batch.

    Impossible rows (see `ctc`) and rows with weight 0 are left out of the mean.

    Args:
        consistency: Weight of `consistency` between the two halves of a batch, which must then be two views of the same
            utterances; 0 leaves it out.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: float `(batch, frames, vocabulary)` logits.
        sample_weight: Optional float `(batch,)`.
        frames: Optional int32 `(batch,)` valid frames; by default all frames are valid.

    Returns:
        float32 scalar, nats per utterance.

    Raises:
        ValueError: The two halves are no views of the same utterances; in a graph it is a
            `tf.errors.InvalidArgumentError`.
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
            with tf.control_dependencies(_refused_views(tf.convert_to_tensor(y_true))):
                y_pred = tf.identity(y_pred)
            frames = tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]) if frames is None else frames
            mean += self.consistency * weighted_mean(tf.split(weight, 2)[0], consistency(y_pred, frames))
        return mean

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each row over all frames: float32 `(batch,)`."""
        return ctc(y_true, y_pred, tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]))


def _refused_views(target: tf.Tensor) -> list[tf.Operation]:
    """Refuse a batch whose halves are not two views of the same utterances; see `refuse`."""
    requirement = (
        "With `consistency` the second half of a batch must be the utterances of the first half again, in their order, "
        "as `pipeline.batches` makes them with views=2."
    )
    if target.shape[0] is not None and target.shape[0] % 2:
        raise ValueError(f"{requirement} Received: {target.shape[0]} rows.")
    first, second = tf.split(target, 2)
    return refuse(first != second, second, requirement)


class LossWithCTC(MeanLoss):
    """Mean loss of a batch of texts, plus CTC of the encoder; a subclass computes the loss of each row.

    Impossible rows and rows with weight 0 are left out of the mean.

    Args:
        ctc: Weight of CTC, for which the call needs `encoder_logits`; 0 leaves it out.
        consistency: Weight of `consistency` in CTC.

    Call arguments:
        y_true: int32 `(batch, labels)`, right-padded with 0.
        y_pred: The predictions that the subclass takes.
        sample_weight: Optional float `(batch,)`.
        frames: int32 `(batch,)` valid frames.
        encoder_logits: float `(batch, frames, vocabulary)`, the encoder's logits for CTC.

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
        self._ctc_loss = CTC(consistency=consistency)

    def rows(self, y_true: Any, y_pred: Any, frames: Any) -> tf.Tensor:
        """Loss of each row: float32 `(batch,)`."""
        raise NotImplementedError

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, frames: Any = None, encoder_logits: Any = None
    ) -> tf.Tensor:
        """See the class."""
        frames = tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]) if frames is None else frames
        _, mean = mean_of_possible(self.rows(y_true, y_pred, frames), sample_weight)
        return mean + self.ctc * self._ctc_loss(y_true, encoder_logits, sample_weight, frames) if self.ctc else mean

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """Loss of each row over all frames: float32 `(batch,)`."""
        return self.rows(y_true, y_pred, tf.fill(tf.shape(y_pred)[:1], tf.shape(y_pred)[1]))


def measured(loss: Any, training: bool) -> Any:
    """A loss without what only training has: two views of an utterance, whose `consistency` is counted."""
    return loss if training or not loss.consistency else loss.from_config({**loss.get_config(), "consistency": 0.0})
