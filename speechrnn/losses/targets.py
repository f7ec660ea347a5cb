"""Targets that a loss cannot mean are refused by name, and give no plausible number."""

from typing import Any

import tensorflow as tf


def refuse(wrong: Any, values: Any, requirement: str) -> list[tf.Operation]:
    """Refuse values of a target.

    Args:
        wrong: bool, which of the values are wrong.
        values: Of the same shape.
        requirement: A sentence that says how they must be.

    Returns:
        What must run before the target is used (`tf.control_dependencies`): in a graph it raises
        `tf.errors.InvalidArgumentError`, which says the same.

    Raises:
        ValueError: Outside a graph, a value is wrong.
    """
    if not tf.executing_eagerly():
        row, found = tf.where(wrong)[:1], tf.boolean_mask(values, wrong)[:1]
        return [tf.debugging.Assert(~tf.reduce_any(wrong), [requirement, "Received:", found, "at", row])]
    if tf.reduce_any(wrong):
        at, found = tf.where(wrong)[0].numpy().tolist(), tf.boolean_mask(values, wrong)[0].numpy()
        raise ValueError(f"{requirement} Received: {found} at {at}.")
    return []


def check_shapes(target: Any, logits: tf.Tensor, frames: tf.Tensor) -> None:
    """Refuse targets and frames of other rows than the logits.

    Raises:
        TypeError: The target is sparse or ragged.
        ValueError: There is not one row of labels, and one number of frames, for each row of logits.
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
    """Refuse labels that no row of symbols can have, and more frames than there are; see `refuse`.

    Args:
        target: int32 `(batch, labels)`, right-padded with 0, the blank.
        logits: float `(batch, frames, ..., vocabulary)`.
        frames: int32 `(batch,)`.
    """
    steps, vocabulary = tf.shape(logits)[1], tf.shape(logits)[-1]
    behind = tf.pad((target[:, :-1] == 0) & (target[:, 1:] != 0), [[0, 0], [1, 0]])[:, : tf.shape(target)[1]]
    return [
        *refuse(
            (target < 0) | (target >= vocabulary),
            target,
            f"Labels must lie from 1 to {logits.shape[-1] - 1 if logits.shape[-1] else 'the last symbol'}; 0, the "
            "blank, pads them on the right.",
        ),
        *refuse(behind, target, "Labels must stand before their padding of 0, the blank."),
        *refuse((frames < 0) | (frames > steps), frames, "`frames` must lie from 0 to the frames of the logits."),
    ]
