"""Find anomalies in files, in a module whose options can be listed without NumPy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speechrnn.signals.options import TableOptions

if TYPE_CHECKING:
    from speechrnn.faults import Fault
    from speechrnn.models.protocols import ForecastModel


@dataclass(frozen=True)
class Anomaly:
    """An anomalous part of a record."""

    path: str
    start: float
    """Seconds from the record's first sample."""
    end: float
    """Time after its last sample."""
    likelihood: float
    """The highest in it, see `anomalies.anomaly_likelihood`; with a clean stretch the highest
    `detection.anomaly_score`."""


def find_anomalies(
    model: ForecastModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    threshold: float = 0.5,
    short: int = 10,
    clean: float | None = None,
    rate: float | None = None,
    row: int | None = None,
    table: TableOptions | Mapping[str, Any] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Iterator[list[Anomaly] | Fault]:
    """Find the anomalies of records lazily, and yield a list or a `Fault` for each, in order.

    Args:
        model: A forecaster of two quantiles or more, which has learned what is usual.
        paths: Records of signals.
        threshold: Smallest score that is reported: the likelihood of an anomaly, in (0, 1]: 0.5 is a chance of
            1e-5, 1 of 1e-10.
        short: Number of samples over which errors are averaged: more of them find lasting anomalies, 1 finds sudden
            ones.
        clean: Seconds at a record's start without anomalies. Then each sample is judged by one score from its
            value, its forecast, level, spread and spectrum, calibrated on these seconds, instead of its forecast alone.
        rate: Samples per second. Files that do not contain their rate need it.
        row: Which record to read from files with many.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        progress: Called with the path of each record once it is done.
    """
    from speechrnn.models.answers import answer_each
    from speechrnn.tasks.forecasting.anomalies import anomaly_likelihood, refuse_known, stretches, surprise
    from speechrnn.tasks.forecasting.detection import anomaly_score
    from speechrnn.tasks.forecasting.forecast import read_record

    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be in (0, 1]. Received: threshold={threshold}.")

    refuse_known(model)

    def of(path: str) -> list[Anomaly]:
        record = read_record(model, path, rate=rate, row=row, table=table)
        off = surprise(model, record.values)
        if clean is None:
            found = anomaly_likelihood(off, short=short)
        else:
            found = anomaly_score(record.values, clean=round(clean * record.rate), surprise=off, hold=0)
        return [
            Anomaly(path, first / record.rate, last / record.rate, float(found[first:last].max()))
            for first, last in stretches(found >= threshold)
        ]

    yield from answer_each((os.fspath(path) for path in paths), of, progress)
