"""Forecast records of signals."""

from __future__ import annotations

import datetime as dt
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from speechrnn import signals
from speechrnn.data.examples import dates_of
from speechrnn.faults import Fault, data_error, options_as_keywords
from speechrnn.models.answers import Answer, answer_each, channels_of
from speechrnn.models.protocols import ForecastModel
from speechrnn.pipeline.windowing import MAX_GAP, check_rate
from speechrnn.signals import TableOptions
from speechrnn.signals.calendar import calendar_columns
from speechrnn.tasks.forecasting.options import ForecastOptions
from speechrnn.tasks.forecasting.quantiles import nearest_half

__all__ = ["Forecast", "SeriesRecord", "forecasts", "read_record"]


@dataclass(frozen=True, eq=False)
class Forecast(Answer):
    """The forecast of the values after a record, or after a given time in it."""

    channels: tuple[str, ...] = ()
    """Names of the channels; `0`, `1` and so on if the file has none."""
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Seconds from the record's first sample, float64 `(horizon,)`."""
    quantiles: tuple[float, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    """float32 `(horizon, channels, quantiles)`, in the record's units."""
    dates: tuple[dt.datetime, ...] = ()
    """The times as dates, if the record has a start date, in its time zone if it has one."""

    @property
    def median(self) -> np.ndarray:
        """The quantile nearest to one half, float32 `(horizon, channels)`."""
        return self.values[..., nearest_half(self.quantiles)] if self.ok else np.zeros((0, 0), np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON values."""
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


@options_as_keywords(ForecastOptions)
def forecasts(  # noqa: D417 - the decorator adds the options
    model: ForecastModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    options: ForecastOptions,
    table: TableOptions | Mapping[str, Any] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Iterator[Forecast | Fault]:
    """Forecast records lazily, and yield a forecast or a `Fault` for each, in order.

    Args:
        model: The model.
        paths: Records of signals.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        progress: Called with the path of each record once it is done.
    """
    of = functools.partial(_forecast, model, table=table, **vars(options))
    yield from answer_each((os.fspath(path) for path in paths), of, progress)


def _forecast(model: ForecastModel, path: str, **how: Any) -> Forecast:
    record = read_record(model, path, most=model.context, **how)
    times = (record.end + np.arange(model.horizon)) / record.rate
    known = [] if record.ahead is None else [[record.ahead]]
    values = model.predict_quantiles([record.values], *known)[0]
    return Forecast(path, record.channels, times, model.quantiles, values, signals.dates(record.start, times))


class SeriesRecord(NamedTuple):
    """What a model needs of a record."""

    values: np.ndarray
    """float32 `(samples, columns)`."""
    channels: tuple[str, ...]
    rate: float
    end: int
    """Place in the record behind the last of these samples."""
    start: dt.datetime | None = None
    """When the record's first sample was taken, where the record says so."""
    ahead: np.ndarray | None = None
    """What is known of the samples to forecast, float32 `(horizon, columns - channels)`, if the model has such."""


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

    The series ends with the last value of a channel; rows behind it may hold what is known ahead.

    Args:
        model: A forecaster.
        path: The record.
        at: Second at which to end, instead of the record's end.
        rate: Samples per second of a file that does not say its own.
        row: Which record of a file that holds many.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        most: Last samples to read, at most.

    Raises:
        OSError, ValueError: It cannot be read, has another rate, ends before `at`, or lacks what must be known ahead.
    """
    channels = channels_of(model)
    how: dict[str, Any] = {"row": row, "rate": rate, "table": table}
    info = signals.probe(path, channels=channels, **how)
    check_rate(path, info.rate, model.sample_rate)
    needs_known = model.columns != model.channels
    end = _last_value(path, info, **how) if at is None else round(at * info.rate)
    if not 1 <= end <= info.samples:
        raise data_error(
            path, "shorter than asked for", f"lasts {info.duration:g} s. Received: at={at:g}, which is outside of it."
        )
    start = 0 if most is None else max(0, end - most)
    columns = [*info.channels, *model.known] if model.known else channels
    how |= {"offset": start / info.rate, "duration": (end - start) / info.rate}
    values, _ = signals.read(path, channels=columns, max_gap=MAX_GAP / info.rate, **how)
    if not needs_known:
        return SeriesRecord(values, info.channels, info.rate, end, info.start)
    ahead = np.zeros((model.horizon, 0), np.float32)
    if model.known:
        ahead = _known(path, info, model, end, **{**how, "offset": end / info.rate})
    if model.calendar:
        dates = dates_of(path, info.start, start / info.rate, end - start + model.horizon, info.rate)
        cycles = calendar_columns(dates, model.calendar)
        values = np.concatenate([values, cycles[: end - start]], axis=1)
        ahead = np.concatenate([ahead, cycles[end - start :]], axis=1)
    return SeriesRecord(values, info.channels, info.rate, end, info.start, ahead)


def _last_value(path: str, info: signals.SignalInfo, **how: Any) -> int:
    """Place behind the last row in which a channel has a value."""
    stop, size = info.samples, 1024
    while stop:
        start = max(0, stop - size)
        part = {"offset": start / info.rate, "duration": (stop - start) / info.rate}
        values, _ = signals.read(path, channels=list(info.channels), max_gap=None, **part, **how)
        rows_with_values = np.flatnonzero(np.isfinite(values).any(axis=1))
        if len(rows_with_values):
            return start + int(rows_with_values[-1]) + 1
        stop, size = start, 8 * size
    raise data_error(path, "without values", f"has no value of {', '.join(info.channels)}.")


def _known(path: str, info: signals.SignalInfo, model: ForecastModel, end: int, **how: Any) -> np.ndarray:
    """What is known of the samples to forecast, float32 `(horizon, known)`: each of them must be there."""
    count = min(model.horizon, info.samples - end)
    values = np.full((model.horizon, len(model.known)), np.nan, np.float32)
    if count:
        how["duration"] = count / info.rate
        values[:count] = signals.read(path, channels=list(model.known), max_gap=None, **how)[0]
    rows, columns = np.nonzero(~np.isfinite(values))
    if len(rows):
        first = (end + rows[0]) / info.rate
        when = signals.dates(info.start, np.array([first]))
        raise data_error(
            path,
            "not known ahead",
            f"column {model.known[columns[0]]!r} must be known for the {model.horizon:,} samples to forecast. "
            f"{len({*rows.tolist()}):,} of them lack a value, the first at {when[0] if when else f'{first:g} s'}. Add "
            "rows in which only what is known has values, or forecast from an earlier moment (`at`).",
        )
    return values
