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
