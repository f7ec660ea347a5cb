"""Where the windows of series are, for forecasts, and what is in them; NumPy only."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass

import numpy as np

from speechrnn.data.examples import read_series
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, data_error
from speechrnn.pipeline.loading import Loaded
from speechrnn.pipeline.planning import EpochCounter

_SAME_RATE = 1e-3
MAX_GAP = 6
"""Longest run of missing samples of a series that is filled by a straight line, unless told otherwise."""
_log = logging.getLogger(__name__)


@dataclass
class WindowPlan(EpochCounter):
    """What a dataset made by `windows` will do; `plan_of(dataset)` gives it.

    Attributes:
        series: The samples of each example that was kept, float32 `(samples, channels)`, from the first that a window
            reads; what is known ahead stands in columns behind the channels.
        examples: These examples.
        origins: int64 `(windows, 2)`: which series, and the place in it of the first sample to forecast.
        context: Samples before it.
        horizon: Samples to forecast.
        batch_size: Windows in every batch.
        channels: Columns to forecast, which come first.
        faults: What was dropped.
        shuffle: Whether each epoch has an order of its own.
        seed: Of that order.
    """

    series: list[np.ndarray]
    examples: list[Example]
    origins: np.ndarray
    context: int
    horizon: int
    batch_size: int
    channels: int
    faults: Faults
    shuffle: bool = False
    seed: int = 0
    initial_epoch: InitVar[int] = 0

    def __post_init__(self, initial_epoch: int) -> None:
        super().__init__(initial_epoch)
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def length(self) -> int:
        """Samples of the input of a window: the context, and the horizon where something is known of it."""
        return self.context + (self.horizon if self.series[0].shape[1] > self.channels else 0)

    @property
    def steps(self) -> int:
        """Batches in every epoch."""
        return math.ceil(len(self.origins) / self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the windows as they come in an epoch."""
        with self._lock:
            if self._order is None or self._order[0] != epoch:
                count = len(self.origins)
                generator = np.random.default_rng([self.seed, epoch])
                self._order = epoch, generator.permutation(count) if self.shuffle else np.arange(count)
            return self._order[1]

    def load(self, epoch: int, step: int) -> Loaded:
        """Batch `step` of an epoch; what fills the last one up are copies of its first row at weight 0."""
        chosen = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        weight = np.zeros(self.batch_size, np.float32)
        weight[: len(chosen)] = 1.0
        chosen = np.concatenate([chosen, np.repeat(chosen[:1], self.batch_size - len(chosen))])
        past, future = [], []
        for which, origin in self.origins[chosen]:
            values = self.series[which]
            past.append(values[origin - self.context : origin - self.context + self.length])
            future.append(values[origin : origin + self.horizon, : self.channels])
        read = np.stack(past)
        read[:, self.context :, : self.channels] = 0.0  # no network ever sees what it is to forecast
        return Loaded.of(read, np.full(self.batch_size, self.length, np.int32), np.stack(future), weight)


def plan_windows(
    examples: Sequence[Example],
    *,
    rate: float,
    channels: int,
    context: int,
    horizon: int,
    every: int = 1,
    batch_size: int = 16,
    shuffle: bool = False,
    seed: int = 0,
    max_gap: int = MAX_GAP,
    known: Sequence[str] = (),
    calendar: Sequence[str] = (),
    faults: Faults | None = None,
    initial_epoch: int = 0,
) -> WindowPlan:
    """Reads the series, and says where their windows are; see `windows` for the arguments and what is raised."""
    sizes = {"context": context, "horizon": horizon, "every": every, "batch_size": batch_size, "channels": channels}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}.")
    collected = Faults() if faults is None else faults
    series: list[np.ndarray] = []
    kept: list[Example] = []
    origins: list[np.ndarray] = []
    for example in examples:
        try:
            values, first, last = _read(example, rate, channels, context, horizon, max_gap, known, calendar)
        except (OSError, ValueError) as error:
            collected.add_error(example.id, error)
            continue
        starts = np.arange(first, last + 1, every)
        origins.append(np.stack([np.full_like(starts, len(series)), starts], axis=1))
        series.append(values)
        kept.append(example)
    if not kept:
        raise ValueError(f"No series is left to make windows of. {collected.summary(len(examples), noun='series')}")
    if faults is None and len(collected):
        _log.warning("%s", collected.summary(len(examples), noun="series"))
    return WindowPlan(
        series, kept, np.concatenate(origins), context, horizon, batch_size, channels, collected, shuffle, seed,
        initial_epoch,
    )  # fmt: skip


def _read(
    example: Example,
    rate: float,
    channels: int,
    context: int,
    horizon: int,
    max_gap: int,
    known: Sequence[str],
    calendar: Sequence[str],
) -> tuple[np.ndarray, int, int]:
    """A series from the first sample that a window reads, and the places of the first and the last origin in it."""
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
    values, found = read_series(segment, channels=channels, known=known, calendar=calendar, max_gap=max_gap / rate)
    check_rate(example.path, found, rate)
    last = len(values) - horizon
    if last < context:
        raise data_error(
            example.path,
            "too short",
            f"needs {context + horizon:,} samples to forecast {horizon} from {context}. Received: {len(values):,}, "
            f"{before:,} of which lie before what is to be forecast.",
        )
    return values, max(before, context), last


def check_rate(path: str, found: float, wanted: float) -> None:
    """Refuse a series of another rate: what a model has learned of the days of a week is in samples.

    Raises:
        ValueError: The two differ by more than a thousandth.
    """
    if not math.isclose(found, wanted, rel_tol=_SAME_RATE):
        raise data_error(
            path,
            "of another rate",
            f"must have {_told(wanted)}. Received: {_told(found)}. Resample it first, or make a model for its rate.",
        )


def _told(rate: float) -> str:
    """A rate in words that fit slow series, too."""
    return f"{rate:g} samples per second" if rate >= 1 else f"a sample every {1 / rate:g} s"
