"""Forecasts of records of signals."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from speechrnn import signals
from speechrnn.faults import Fault, data_error, kind_of, takes
from speechrnn.models.answers import Answer
from speechrnn.models.protocols import ForecastModel
from speechrnn.pipeline.windowing import MAX_GAP, check_rate
from speechrnn.signals import TableOptions
from speechrnn.tasks.forecasting.options import ForecastOptions
from speechrnn.tasks.forecasting.quantiles import nearest_half

__all__ = ["Forecast", "SeriesRecord", "forecasts", "outcomes", "read_record"]

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Forecast(Answer):
    """What comes after a record, or after a moment of it."""

    channels: tuple[str, ...] = ()
    """Their names; `0`, `1` and so on where the file gives none."""
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Seconds from the record's first sample, float64 `(horizon,)`."""
    quantiles: tuple[float, ...] = ()
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    """float32 `(horizon, channels, quantiles)`, in the record's units."""
    dates: tuple[dt.datetime, ...] = ()
    """These times as dates, where the record says when it begins; in its time zone if it says that too."""

    @property
    def median(self) -> np.ndarray:
        """The quantile nearest to one half, float32 `(horizon, channels)`."""
        return self.values[..., nearest_half(self.quantiles)] if self.ok else np.zeros((0, 0), np.float32)

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


@takes(ForecastOptions)
def forecasts(  # noqa: D417 - `takes` adds the options
    model: ForecastModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    options: ForecastOptions,
    table: TableOptions | Mapping[str, Any] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Iterator[Forecast | Fault]:
    """Forecast the values that follow each record, lazily and in the order given; or say why there is no forecast.

    Args:
        model: The model.
        paths: Records of signals.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        progress: Called with the path of each record once it is done.
    """
    yield from outcomes(paths, lambda path: _forecast(model, path, table=table, **vars(options)), progress)


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
    values = model.predict_quantiles([record.values])[0]
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
