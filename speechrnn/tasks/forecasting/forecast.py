"""What comes after a record, `forecasts`; and how far a forecaster is off, `evaluate_forecaster`."""

from __future__ import annotations

import datetime as dt
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from speechrnn import metrics, pipeline, signals
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, Faults, data_error, kind_of
from speechrnn.metrics.intervals import Interval, finite
from speechrnn.models.protocols import ForecastModel, what_is
from speechrnn.pipeline.windowing import MAX_GAP, check_rate
from speechrnn.signals import TableOptions

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Forecast",
    "ForecastReport",
    "SeriesRecord",
    "evaluate_forecaster",
    "forecasts",
    "is_forecaster",
    "loaded",
    "outcomes",
    "print_report",
    "read_record",
]

Found = TypeVar("Found")

_FEWEST_BLOCKS = 8
_SUMS = ("squares", "errors", "last", "season", "within", "values")


@dataclass(frozen=True, eq=False)
class Forecast:
    """What comes after a record, or after a moment of it."""

    path: str
    channels: tuple[str, ...]
    """Their names; `0`, `1` and so on where the file gives none."""
    times: np.ndarray
    """Seconds from the record's first sample, float64 `(horizon,)`."""
    quantiles: tuple[float, ...]
    values: np.ndarray
    """float32 `(horizon, channels, quantiles)`, in the record's units."""
    dates: tuple[dt.datetime, ...] = ()
    """These times as dates, where the record says when it begins; in its time zone if it says that too."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "path": self.path,
            "times": self.times.tolist(),
            **({"dates": [date.isoformat() for date in self.dates]} if self.dates else {}),
            "quantiles": list(self.quantiles),
            "channels": {
                name: [[float(f"{value:.7g}") for value in row] for row in self.values[:, index]]
                for index, name in enumerate(self.channels)
            },
        }


def forecasts(
    model: ForecastModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    at: float | None = None,
    rate: float | None = None,
    row: int | None = None,
    table: TableOptions | Mapping[str, Any] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Iterator[Forecast | Fault]:
    """Forecast what comes after each record, lazily and in the order given; or say why there is no forecast.

    Args:
        model: The model.
        paths: Records of signals.
        at: Second of the record at which the forecast begins; what comes later is not read. By default its end.
        rate: Samples per second of files that do not say their own.
        row: Which record of files that hold many.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        progress: Called with the path of each record once it is done.
    """
    yield from outcomes(paths, lambda path: _forecast(model, path, at=at, rate=rate, row=row, table=table), progress)


def outcomes(
    paths: Iterable[str | os.PathLike[str]], of: Callable[[str], Found], progress: Callable[[str], object] | None
) -> Iterator[Found | Fault]:
    """What there is to say of each record, lazily and in the order given; or why nothing can be said.

    Args:
        paths: Records of signals.
        of: Gives what there is to say of one.
        progress: Called with the path of each record once it is done.
    """
    for given in paths:
        path = os.fspath(given)
        outcome: Found | Fault
        try:
            outcome = of(path)
        except (OSError, ValueError) as error:
            outcome = Fault(path, kind_of(error), str(error))
        if progress is not None:
            progress(path)
        yield outcome


def _forecast(model: ForecastModel, path: str, **how: Any) -> Forecast:
    record = read_record(model, path, most=model.context, **how)
    times = (record.end + np.arange(model.horizon)) / record.rate
    values = model.forecast([record.values])[0]
    return Forecast(path, record.channels, times, model.quantiles, values, signals.dates(record.start, times))


class SeriesRecord(NamedTuple):
    """What a model needs of a record."""

    values: np.ndarray
    """float32 `(samples, channels)`."""
    channels: tuple[str, ...]
    rate: float
    end: int
    """Place in the record behind the last of these samples."""
    start: dt.datetime | None = None
    """When the record's first sample was taken, where the record says so."""


def read_record(
    model: ForecastModel,
    path: str,
    *,
    at: float | None = None,
    rate: float | None = None,
    row: int | None = None,
    table: TableOptions | Mapping[str, Any] | None = None,
    most: int | None = None,
) -> SeriesRecord:
    """A record, its channels being those that the model's card names, or else the first ones.

    Args:
        model: A forecaster.
        path: The record.
        at: Second at which to end, instead of the record's end.
        rate: Samples per second of a file that does not say its own.
        row: Which record of a file that holds many.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        most: Last samples to read, at most.

    Raises:
        OSError, ValueError: It cannot be read, has another rate or ends before `at`.
    """
    named = getattr(model, "card", {}).get("channels")
    chosen = list(named) if isinstance(named, list | tuple) and len(named) == model.channels else model.channels
    info = signals.probe(path, row=row, rate=rate, channels=chosen, table=table)
    check_rate(path, info.rate, model.sample_rate)
    end = info.samples if at is None else round(at * info.rate)
    if not 1 <= end <= info.samples:
        raise data_error(
            path, "shorter than asked for", f"lasts {info.duration:g} s. Received: at={at:g}, which is outside of it."
        )
    start = 0 if most is None else max(0, end - most)
    values, _ = signals.read(
        path, offset=start / info.rate, duration=(end - start) / info.rate, channels=chosen, row=row, rate=rate,
        max_gap=MAX_GAP / info.rate, table=table,
    )  # fmt: skip
    return SeriesRecord(values, info.channels, info.rate, end, info.start)


def loaded(model: Any, path: str | os.PathLike[str] | None = None) -> ForecastModel:
    """A forecaster as it is, or read from its path as a session, see `speechrnn.runtime.load_forecaster`.

    Args:
        model: A model, or the path of one.
        path: Where the model comes from, for the error.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no forecaster.
    """
    if isinstance(model, str | os.PathLike):
        from speechrnn.models.loading import load_any

        model, path = load_any(model), model
    if not is_forecaster(model):
        name = "The model" if path is None else os.fspath(path)
        raise ValueError(f"{name}: must be a forecaster. Received: {what_is(model)}.")
    return model


def is_forecaster(model: Any) -> bool:
    """Whether a model says what comes, and not what there is."""
    return hasattr(model, "forecast")


@dataclass(frozen=True, eq=False)
class ForecastReport:
    """Errors of a forecaster over series; every figure comes from sums over all windows, steps and channels.

    What is called the forecast is the median.
    """

    figures: dict[str, float]
    """`mse` and `mae`, in standard deviations of the training series, as papers give them; `last_mae` and
    `season_mae`, the absolute error of repeating the last value, or the last season (NaN without one); `skill`, by
    which part the forecast's absolute error is below that of the better of these two; `coverage`, the share of values
    between the outer quantiles."""
    intervals: dict[str, Interval]
    """95 % bootstrap interval of each, blocks of windows drawn with replacement; NaN for fewer than eight blocks."""
    blocks: int
    """Of windows that begin within one horizon: neighbouring windows share most of their samples."""
    nominal: float
    """What the coverage should be: the outer quantiles' difference."""
    windows: int
    horizon: int
    """Samples that each window forecasts."""
    step_mae: np.ndarray
    """Absolute error by how far ahead, float64 `(horizon,)`, in standard deviations."""
    channel_mae: np.ndarray
    """Absolute error by channel, float64 `(channels,)`, in the series' own units."""
    faults: tuple[Fault, ...] = ()
    """What could not be scored; none of it is in the figures."""
    elapsed: float = 0.0
    """Wall time that forecasting took, in seconds."""

    def __str__(self) -> str:
        told = [f"{name.upper()} {self.figures[name]:.3f}{self._between(name)}" for name in ("mse", "mae")]
        season = self.figures["season_mae"]
        peer = "a season ago" if season < self.figures["last_mae"] else "the last value"
        skill = self.figures["skill"]
        told.append(f"absolute error {abs(skill):.1%} {'above' if skill < 0 else 'below'} that of {peer}")
        if self.nominal:
            told.append(f"{self.figures['coverage']:.1%} of values within the {self.nominal:.0%} interval")
        windows = f"{self.windows:,} windows of {self.horizon:,} samples, {self.blocks:,} blocks"
        return f"{'; '.join([', '.join(told[:2]) + ' in standard deviations', *told[2:]])}. {windows}."

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "figures": {name: finite(value) for name, value in self.figures.items()},
            "intervals": {name: list(map(finite, pair)) for name, pair in self.intervals.items()},
            "nominal_coverage": self.nominal,
            "windows": self.windows,
            "blocks": self.blocks,
            "horizon": self.horizon,
            "step_mae": self.step_mae.tolist(),
            "channel_mae": self.channel_mae.tolist(),
            "faults": [str(fault) for fault in self.faults],
            "seconds": self.elapsed,
        }

    def _between(self, name: str) -> str:
        low, high = self.intervals[name]
        return f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else ""


def evaluate_forecaster(
    model: ForecastModel | str | os.PathLike[str],
    examples: Sequence[Example],
    *,
    season: int | None = None,
    every: int = 1,
    batch_size: int = 64,
    faults: Faults | None = None,
    progress: Callable[[str], object] | None = None,
    seed: int = 0,
) -> ForecastReport:
    """Forecast every window of series, and compare with what came.

    Args:
        model: A forecaster, or the path of one.
        examples: From a manifest; a window forecasts samples of the example, from what came before, see
            `speechrnn.pipeline.windows`.
        season: Samples of a season, such as 24 of hourly values, for the error of repeating it; at most the model's
            context.
        every: Samples from one window's start to the next one's.
        batch_size: Windows forecast at once.
        faults: Where faults found before this call are, if any; new ones are added.
        progress: Called with the path of each example once it is done.
        seed: Of the bootstrap.

    Raises:
        ValueError: The season does not fit, or no window can be made.

    Reference:
        Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17, 1989,
        for drawing blocks.
    """
    model = loaded(model)
    if season is not None and not 1 <= season <= model.context:
        raise ValueError(f"`season` must be 1 to the model's context, {model.context}. Received: season={season}.")
    collected = Faults() if faults is None else faults
    plan = pipeline.plan_windows(
        examples, rate=model.sample_rate, channels=model.channels, context=model.context, horizon=model.horizon,
        every=every, batch_size=batch_size, faults=collected,
    )  # fmt: skip
    scale, started = model.scale.astype(np.float64), time.perf_counter()
    block = _blocks(plan.origins, model.horizon)
    sums = np.zeros((int(block.max()) + 1, len(_SUMS)))
    by_step, by_channel = np.zeros(model.horizon), np.zeros(len(scale))
    ends, told = np.cumsum(np.bincount(plan.origins[:, 0])), 0
    for step in range(plan.steps):
        batch = plan.load(0, step)
        count = int(batch.weight.sum())
        past, future = batch.values[:count], batch.target[:count]
        found = model.forecast(past)
        errors = np.abs(found[..., model.median] - future) / scale
        peers = [np.abs(peer - future) / scale for peer in (past[:, -1:], _repeated(past, season, model.horizon))]
        within = (found[..., 0] <= future) & (future <= found[..., -1])
        each = (np.square(errors), errors, *peers, within, np.ones_like(errors))
        tally = np.stack([values.sum((1, 2), dtype=np.float64) for values in each], axis=-1)
        np.add.at(sums, block[step * batch_size : step * batch_size + count], tally)
        by_step += errors.sum((0, 2))
        by_channel += errors.sum((0, 1))
        if progress is not None:
            done = int((ends <= step * batch_size + count).sum())
            for example in plan.examples[told:done]:
                progress(example.path)
            told = done
    windows = len(plan.origins)
    intervals = metrics.bootstrap(sums, _figures, seed=seed)
    if len(sums) < _FEWEST_BLOCKS:
        intervals = dict.fromkeys(intervals, (math.nan, math.nan))
    return ForecastReport(
        figures={name: float(value) for name, value in _figures(sums.sum(0)).items()},
        intervals=intervals,
        blocks=len(sums),
        nominal=model.quantiles[-1] - model.quantiles[0],
        windows=windows,
        horizon=model.horizon,
        step_mae=by_step / (windows * len(scale)),
        channel_mae=by_channel / (windows * model.horizon) * scale,
        faults=tuple(collected),
        elapsed=time.perf_counter() - started,
    )


def print_report(report: ForecastReport, channels: Sequence[str] = (), console: Console | None = None) -> None:
    """Print a report; to standard output unless a console is given.

    Args:
        report: What to print.
        channels: Names of the channels.
        console: Where to.
    """
    from rich.console import Console
    from rich.table import Table

    console = console or Console(highlight=False)
    console.print(str(report), style="bold", markup=False, soft_wrap=True)
    ahead = Table("Samples ahead", box=None)
    ahead.add_column("MAE", justify="right")
    for first, last in _stretches(report.horizon):
        name = f"{first + 1:,}" if last == first + 1 else f"{first + 1:,} to {last:,}"
        ahead.add_row(name, f"{report.step_mae[first:last].mean():.3f}")
    console.print(ahead)
    own = Table("Channel", box=None)
    own.add_column("MAE in its unit", justify="right")
    for index, value in enumerate(report.channel_mae):
        own.add_row(channels[index] if channels else str(index), f"{value:.4g}")
    console.print(own)


def _figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Figures from sums `(..., sums)`."""
    squares, errors, last, season, within, values = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    return {
        "mse": squares / values,
        "mae": errors / values,
        "last_mae": last / values,
        "season_mae": season / values,
        "skill": 1 - errors / np.fmin(last, season),
        "coverage": within / values,
    }


def _blocks(origins: np.ndarray, horizon: int) -> np.ndarray:
    """Which block each window belongs to, counted through all series."""
    block, count = np.zeros(len(origins), np.int64), 0
    for which in range(int(origins[:, 0].max()) + 1):
        own = origins[:, 0] == which
        block[own] = count + (origins[own, 1] - origins[own, 1].min()) // horizon
        count = int(block[own].max()) + 1
    return block


def _repeated(past: np.ndarray, season: int | None, horizon: int) -> np.ndarray:
    """The last season of `(windows, context, channels)` over and over, for `horizon` samples; NaN without a season."""
    if season is None:
        return np.full((len(past), 1, 1), np.nan, np.float32)
    return past[:, -season:][:, np.arange(horizon) % season]


def _stretches(horizon: int) -> list[tuple[int, int]]:
    """1, 2 to 3, 4 to 7, ... samples ahead."""
    edges = [2**power - 1 for power in range(horizon.bit_length())]
    return [(first, min(2 * first + 1, horizon)) for first in edges if first < horizon]
