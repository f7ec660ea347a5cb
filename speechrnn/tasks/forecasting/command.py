"""Forecasters on the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from speechrnn.models.commands import Command

if TYPE_CHECKING:
    from rich.console import Console

    from speechrnn.data.manifest import Example

_OPTIONS = "speechrnn.tasks.forecasting.options"


class ForecasterCommand(Command):
    """Forecast series."""

    summary = "Forecast the next values of records of signals."
    epilog = """\
The output is CSV with a line for each forecast sample and each channel: `path,seconds,time,channel` and a column for
each quantile. Seconds count from the record's first sample; the time is a date in ISO 8601 where the record has dates,
with its time zone if the record tells it. With --json there is an object for each record instead.

FILE may be CSV, TSV, Parquet, NPZ, MAT, EDF, BDF or a WFDB header, at the model's rate.
"""
    formats: ClassVar[Mapping[str, bool]] = {"csv": True, "json": True}
    run_options = (f"{_OPTIONS}:ForecastOptions", "table=speechrnn.signals.options:TableOptions")
    trained_on = "series, or parts of them (`speechrnn prepare series`)"
    training_options = (f"{_OPTIONS}:ForecasterTraining",)
    network_options = (f"{_OPTIONS}:ForecasterNetwork",)
    evaluation_options = (f"{_OPTIONS}:ForecasterEvaluation",)

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether the line has neither text nor label, as parts of series do."""
        return not {"text", "label", "labels"} & set(line) and not line.get("extra", {}).get("tags")

    def header(self, model: Any, format: str) -> str:
        """The names of the columns."""
        return _csv([["path", "seconds", "time", "channel", *map(str, model.quantiles)]])

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str:
        """See `Command`."""
        dates = [date.isoformat() for date in answer.dates] or [""] * len(answer.times)
        return _csv(
            [answer.path, f"{time:.10g}", date, name, *(f"{value:.7g}" for value in values)]
            for time, date, at_once in zip(answer.times, dates, answer.values, strict=True)
            for name, values in zip(answer.channels, at_once, strict=True)
        )

    def print_report(self, report: Any, console: Console, examples: Sequence[Example], *, per_subject: bool) -> None:
        """See `Command`."""
        from speechrnn.tasks.forecasting import print_report

        print_report(report, _channels(examples, len(report.channel_mae)), console)


def _channels(examples: Sequence[Example], count: int) -> Sequence[str]:
    """Names of the channels that are forecast, by the first example; none if it cannot be read any more."""
    from speechrnn.data.examples import probe_example

    with suppress(OSError, ValueError, IndexError):
        first = examples[0]
        own = first.extra.get("channels") or probe_example(first).channels
        names = [str(name) for name in own if name not in first.extra.get("known", ())]
        return names if len(names) == count else ()
    return ()


def _csv(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
