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
