"""Checks of targets: an invalid one raises an error instead of giving a plausible loss."""

from typing import Any

import tensorflow as tf


def refuse(wrong: Any, values: Any, requirement: str) -> list[tf.Operation]:
    """Refuse values of a target.

    Args:
        wrong: bool, which of the values are wrong.
        values: A tensor of the same shape.
        requirement: The requirement, a sentence.

    Returns:
        Operations that must run before the target is used (`tf.control_dependencies`): within a graph they raise
        `tf.errors.InvalidArgumentError` with the same message.

    Raises:
        ValueError: Outside a graph, a value is wrong.
    """
    if not tf.executing_eagerly():
        index, value = tf.where(wrong)[:1], tf.boolean_mask(values, wrong)[:1]
        return [tf.debugging.Assert(~tf.reduce_any(wrong), [requirement, "Received:", value, "at", index])]
    if tf.reduce_any(wrong):
        index, value = tf.where(wrong)[0].numpy().tolist(), tf.boolean_mask(values, wrong)[0].numpy()
        raise ValueError(f"{requirement} Received: {value} at {index}.")
    return []


def whole(values: Any, noun: str) -> tf.Tensor:
    """Whole numbers as int32.

    Args:
        values: Of any type of numbers.
        noun: What they are, for the error.

    Raises:
        TypeError: They are no numbers.
        ValueError: One is not whole, or beyond int32; see `refuse`.
    """
    values = values if isinstance(values, tf.SparseTensor | tf.RaggedTensor) else tf.convert_to_tensor(values)
    if not (values.dtype.is_floating or values.dtype.is_integer):
        raise TypeError(f"{noun} must be whole numbers. Received: {values.dtype.name}.")
    found = tf.cast(values, tf.int32)
    if values.dtype == tf.int32 or not isinstance(values, tf.Tensor):
        return found
    with tf.control_dependencies(
        refuse(tf.cast(found, values.dtype) != values, values, f"{noun} must be whole numbers, of 32 bits.")
    ):
        return tf.identity(found)


def rows_like(target: Any, outputs: tf.Tensor) -> tf.Tensor:
    """A target with one value for each row of outputs `(..., last)`.

    It may have an axis of size 1 behind, as Keras's losses take it, and an unknown rank, as arrays get in `fit`.
    """
    target = tf.convert_to_tensor(target)
    if target.shape.rank is None:
        return tf.reshape(target, tf.shape(outputs)[:-1])
    return tf.squeeze(target, -1) if target.shape.rank == outputs.shape.rank and target.shape[-1] == 1 else target


def shares_like(target: Any, logits: tf.Tensor) -> tf.Tensor:
    """A target with a share for each logit, as float32.

    Raises:
        ValueError: It is of another shape.
    """
    target = tf.cast(target, tf.float32)
    if not target.shape.is_compatible_with(logits.shape):
        raise ValueError(
            "Targets of classes that do not exclude each other must be like the logits, 0 or 1 for each class. "
            f"Received: targets of shape {target.shape} and logits of shape {logits.shape}."
        )
    return tf.reshape(target, tf.shape(logits)) if target.shape.rank is None else target


def classes_like(target: Any, logits: tf.Tensor) -> tf.Tensor:
    """Targets of exclusive classes as the logits need them.

    Args:
        target: Indices of the classes, see `rows_like`; or like `logits`: a share of each class.
        logits: float `(..., classes)`.

    Returns:
        int32 indices, or float32 shares.

    Raises:
        ValueError: They are of another shape, or an index is not whole; see `refuse`.
    """
    target = tf.convert_to_tensor(target)
    if target.shape.rank is None and target.dtype.is_floating:
        return tf.cond(
            tf.size(target) != tf.size(logits),  # there are two classes or more
            lambda: tf.one_hot(whole(rows_like(target, logits), "Classes"), logits.shape[-1]),
            lambda: tf.cast(tf.reshape(target, tf.shape(logits)), tf.float32),
        )
    target = rows_like(target, logits)
    if target.shape.rank == logits.shape.rank and target.shape.is_compatible_with(logits.shape):
        return tf.cast(target, tf.float32)
    if not target.shape.is_compatible_with(logits.shape[:-1]):
        raise ValueError(
            "Targets must be the index of a class for each row of logits, or a share for each class. Received: targets "
            f"of shape {target.shape} and logits of shape {logits.shape}."
        )
    return whole(target, "Classes")


def check_shapes(target: Any, logits: tf.Tensor, frames: tf.Tensor) -> None:
    """Refuse targets and frames whose batch size is not that of the logits.

    Raises:
        TypeError: The target is sparse or ragged.
        ValueError: There is not one row of labels and one number of frames for each row of logits.
    """
    if not isinstance(target, tf.Tensor):
        raise TypeError(
            f"Targets must be dense, padded with 0 on the right. Received: a {type(target).__name__}. Convert it with "
            "`tf.sparse.to_dense`, or with `to_tensor()` where it is ragged."
        )
    rows = logits.shape[:1]
    if not (target.shape.is_compatible_with([*rows, None]) and frames.shape.is_compatible_with(rows)):
        raise ValueError(
            "Targets must be `(batch, labels)` and `frames` `(batch,)`, with the rows of the logits. Received: targets "
            f"of shape {target.shape}, frames of shape {frames.shape} and logits of shape {logits.shape}."
        )


def refused_labels(target: tf.Tensor, logits: tf.Tensor, frames: tf.Tensor) -> list[tf.Operation]:
    """Refuse labels out of range or after the padding, and more frames than the logits have; see `refuse`.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, the blank.
        logits: float `(batch, frames, ..., vocabulary)`.
        frames: int32 `(batch,)`.
    """
    steps, vocabulary = tf.shape(logits)[1], tf.shape(logits)[-1]
    after_padding = tf.pad((target[:, :-1] == 0) & (target[:, 1:] != 0), [[0, 0], [1, 0]])[:, : tf.shape(target)[1]]
    return [
        *refuse(
            (target < 0) | (target >= vocabulary),
            target,
            f"Labels must lie from 1 to {logits.shape[-1] - 1 if logits.shape[-1] else 'the last symbol'}; 0, the "
            "blank, pads them on the right.",
        ),
        *refuse(after_padding, target, "Labels must stand before their padding of 0, the blank."),
        *refuse((frames < 0) | (frames > steps), frames, "`frames` must lie from 0 to the frames of the logits."),
    ]
