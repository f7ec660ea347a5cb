"""Windows of series for forecasts: past values and those that followed, as a `tf.data` dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from speechrnn.data.manifest import Example
from speechrnn.pipeline.graph import passes
from speechrnn.pipeline.windowing import plan_windows


def windows(examples: Sequence[Example], *, workers: int | None = None, **how: Any) -> tf.data.Dataset:
    """Batches of windows of series: `context` samples, and the `horizon` samples that came after them.

    What an example means, from its offset on and for its duration, is what there is to forecast. The context of its
    first windows is read from before it, where the file has it, so that neither a validation nor a test set loses the
    windows at its beginning. A series is read whole and kept in memory.

    Each pass over the dataset is one epoch, as for `speechrnn.pipeline.batches`.

    Args:
        examples: Lines of a manifest, a series or a part of one each; `channels` of its `extra` chooses columns.
        workers: Batches in the making at a time; None is the number of processors.
        **how:
            - rate: Samples per second that every series must have: `1 / 3600` for hourly ones.
            - channels: Channels of a series.
            - context: Samples that are read.
            - horizon: Samples to forecast.
            - every: Samples from one window's start to the next one's, 1 by default.
            - batch_size: Windows in every batch, 16 by default.
            - shuffle: Another order every epoch; otherwise in the order of time.
            - seed: Seed of the order.
            - max_gap: Longest run of missing samples that is filled by a straight line, 6 by default; a series with a
              longer one is dropped.
            - known: Columns whose values are known ahead; `calendar`: cycles of `speechrnn.signals.calendar`. With
              either, `signal` is `(batch, context + horizon, columns)`: channels, known columns, sine and cosine of
              each cycle; the channels are zeros in the horizon.
            - faults: Collects what was dropped; None logs a summary.
            - initial_epoch: Number of the first pass.

    Returns:
        A dataset of `({"signal": float32 (batch, context, channels), "length": int32 (batch,)}, target, weight)` with
        known cardinality; `target` is float32 `(batch, horizon, channels)`, `weight` float32 `(batch,)`, 0 for the rows
        that fill the last batch up.

    Raises:
        ValueError: No window can be made, or an argument is out of its range.
    """
    plan = plan_windows(examples, **how)
    rows, columns = plan.batch_size, plan.series[0].shape[1]
    return passes(
        plan.load, plan, steps=plan.steps, workers=workers,
        shapes=([rows, plan.length, columns], [rows, plan.horizon, plan.channels]), target_type=tf.float32,
        names=("signal", "length"),
    )  # fmt: skip
