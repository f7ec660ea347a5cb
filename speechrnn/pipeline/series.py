"""`tf.data` datasets of windows of series for forecasts: past values and future values."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, options_as_keywords
from speechrnn.pipeline.graph import passes
from speechrnn.pipeline.windowing import Windowing, plan_windows


@options_as_keywords(Windowing)
def windows(  # noqa: D417 - the decorator adds the options
    examples: Sequence[Example],
    *,
    options: Windowing,
    faults: Faults | None = None,
    initial_epoch: int = 0,
    workers: int | None = None,
) -> tf.data.Dataset:
    """Batches of windows of series: `context` samples, and the `horizon` samples after them.

    The part of a series that an example selects, by offset and duration, is what is forecast. The context of its first
    windows is read from before this part, if the file has it, so that a validation or test set does not lose the
    windows at its beginning. Whole series are kept in memory.

    Each pass over the dataset is one epoch, as for `speechrnn.pipeline.batches`.

    Args:
        examples: Lines of a manifest, each a series or a part of one; `channels` of its `extra` selects columns.
        faults: Collects what was dropped; None logs a summary.
        initial_epoch: Number of the first pass.
        workers: Batches prepared at the same time; None is the number of processors.

    Returns:
        A dataset of `({"signal": float32 (batch, context, channels), "length": int32 (batch,)}, target, weight)` with
        known cardinality; `target` is float32 `(batch, horizon, channels)`, `weight` float32 `(batch,)`, 0 for rows
        that fill the last batch up.

    Raises:
        ValueError: There are no windows, or an argument is out of range.
    """
    plan = plan_windows(examples, faults=faults, initial_epoch=initial_epoch, **vars(options))
    rows, columns = plan.batch_size, plan.series[0].shape[1]
    return passes(
        plan.load, plan, steps=plan.steps, workers=workers,
        shapes=([rows, plan.length, columns], [rows, plan.horizon, plan.channels]), target_type=tf.float32,
        names=("signal", "length"),
    )  # fmt: skip
