"""Plans the windows of series for forecasts, and loads them; NumPy only."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.data.examples import read_series
from speechrnn.data.manifest import Example
from speechrnn.faults import CheckedOptions, Count, Faults, NonNegativeInt, data_error, options_as_keywords
from speechrnn.pipeline.loading import Loaded

_SAME_RATE = 1e-3
MAX_GAP = 6
"""Default for the longest run of missing samples of a series that is filled by linear interpolation."""
_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Windowing(CheckedOptions):
    """How series are cut into windows."""

    rate: float
    """Samples per second that every series must have: `1 / 3600` for hourly ones."""
    channels: Count
    """Channels of a series."""
    context: Count
    """Samples that are read."""
    horizon: Count
    """Samples to forecast."""
    every: Count = 1
    """Samples from one window's start to the next one's."""
    batch_size: Count = 16
    """Windows in every batch."""
    shuffle: bool = False
    """Another order every epoch; otherwise in the order of time."""
    seed: NonNegativeInt = 0
    """Seed of the order."""
    max_gap: int = MAX_GAP
    """Longest run of missing samples that is filled by a straight line; a series with a longer one is dropped."""
    known: Sequence[str] = ()
    """Columns whose values are known ahead. With these or a calendar, `signal` is `(batch, context + horizon,
    columns)`: channels, known columns, sine and cosine of each cycle; the channels are zeros in the horizon."""
    calendar: Sequence[str] = ()
    """Cycles of `speechrnn.signals.calendar`."""


@dataclass(kw_only=True)
class WindowPlan(Windowing):
    """The plan of a dataset of `windows`; `plan_of(dataset)` returns it."""

    series: list[np.ndarray]
    """The samples of each usable example, float32 `(samples, columns)`, from the first that a window reads: channels,
    then columns that are known ahead."""
    examples: list[Example]
    """The usable examples."""
    origins: np.ndarray
    """int64 `(windows, 2)`: index of the series, and index in it of the first sample to forecast."""
    faults: Faults
    """Examples that were dropped."""
    epoch: int = 0
    """Number of the epoch of the next pass over the dataset."""
    _order: tuple[int, np.ndarray] | None = None

    @property
    def length(self) -> int:
        """Input samples of a window: the context, and the horizon too if columns are known ahead."""
        return self.context + (self.horizon if self.series[0].shape[1] > self.channels else 0)

    @property
    def steps(self) -> int:
        """Batches in every epoch."""
        return math.ceil(len(self.origins) / self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the windows in the order of an epoch."""
        planned = self._order  # which another thread may replace
        if planned is None or planned[0] != epoch:
            count = len(self.origins)
            generator = np.random.default_rng([self.seed, epoch])
            planned = self._order = epoch, generator.permutation(count) if self.shuffle else np.arange(count)
        return planned[1]

    def load(self, epoch: int, step: int) -> Loaded:
        """Load batch `step` of an epoch; the last one is filled up with copies of its first row at weight 0."""
        chosen = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        weight = np.zeros(self.batch_size, np.float32)
        weight[: len(chosen)] = 1.0
        chosen = np.concatenate([chosen, np.repeat(chosen[:1], self.batch_size - len(chosen))])
        past, future = [], []
        for index, origin in self.origins[chosen]:
            values = self.series[index]
            past.append(values[origin - self.context : origin - self.context + self.length])
            future.append(values[origin : origin + self.horizon, : self.channels])
        inputs = np.stack(past)
        inputs[:, self.context :, : self.channels] = 0.0  # hides the values to forecast
        return Loaded.of(inputs, np.full(self.batch_size, self.length, np.int32), np.stack(future), weight)


@options_as_keywords(Windowing)
def plan_windows(  # noqa: D417 - the decorator adds the options
    examples: Sequence[Example], *, options: Windowing, faults: Faults | None = None, initial_epoch: int = 0
) -> WindowPlan:
    """Read series and plan their windows.

    Args:
        examples: See `windows`.
        faults: Collects what was dropped; None logs a summary.
        initial_epoch: Number of the first pass.

    Raises:
        ValueError: There are no windows, or an option is out of range.
    """
    collected = Faults() if faults is None else faults
    series: list[np.ndarray] = []
    usable: list[Example] = []
    origins: list[np.ndarray] = []
    for example in examples:
        try:
            values, first, last = _read(example, options)
        except (OSError, ValueError) as error:
            collected.add_error(example.id, error)
            continue
        starts = np.arange(first, last + 1, options.every)
        origins.append(np.stack([np.full_like(starts, len(series)), starts], axis=1))
        series.append(values)
        usable.append(example)
    if not usable:
        raise ValueError(f"No series is left to make windows of. {collected.summary(len(examples), noun='series')}")
    if faults is None and len(collected):
        _log.warning("%s", collected.summary(len(examples), noun="series"))
    planned: Any = {"series": series, "examples": usable, "origins": np.concatenate(origins), "faults": collected}
    return WindowPlan(**vars(options), **planned, epoch=initial_epoch)


def _read(example: Example, options: Windowing) -> tuple[np.ndarray, int, int]:
    """A series from the first sample that a window reads, and the indices of the first and the last origin in it."""
    rate, context, horizon = options.rate, options.context, options.horizon
    first = round(example.offset * rate)
    before = min(context, first)
    offset = (first - before) / rate
    segment = Example(
        example.path,
        example.duration + example.offset - offset,
        offset=offset,
        channel=example.channel,
        extra=example.extra,
    )
    columns: Any = {"channels": options.channels, "known": options.known, "calendar": options.calendar}
    values, file_rate = read_series(segment, max_gap=options.max_gap / rate, **columns)
    check_rate(example.path, file_rate, rate)
    last = len(values) - horizon
    if last < context:
        raise data_error(
            example.path,
            "too short",
            f"needs {context + horizon:,} samples to forecast {horizon} from {context}. Received: {len(values):,}, "
            f"{before:,} of which lie before the part to forecast.",
        )
    return values, max(before, context), last


def check_rate(path: str, rate: float, required: float) -> None:
    """Refuse a series of another rate than the model's.

    Raises:
        ValueError: The rates differ by more than a thousandth.
    """
    if not math.isclose(rate, required, rel_tol=_SAME_RATE):
        requirement = f"must have {_describe(required)}. Received: {_describe(rate)}."
        raise data_error(path, "of another rate", f"{requirement} Resample it first, or make a model for its rate.")


def _describe(rate: float) -> str:
    """A rate in words that suit slow series too."""
    return f"{rate:g} samples per second" if rate >= 1 else f"a sample every {1 / rate:g} s"
