"""Forecast what comes after records of signals."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Fault
from speechrnn.tasks.forecasting import forecast as forecasting
from speechrnn.tasks.forecasting.forecast import Forecast

_FUNCTION = "speechrnn.tasks.forecasting.forecast:forecasts"

_EPILOG = """\
The output is CSV with a line for each sample to come and each channel: `path,seconds,time,channel` and a column for
each quantile. Seconds count from the record's first sample; the time is a date in ISO 8601 where the record has dates,
with its time zone if it says that too. With --json there is an object for each record instead.

FILE may be CSV, TSV, Parquet, NPZ, MAT, EDF, BDF or a WFDB header, at the model's rate. A file that cannot be read is
named on standard error, the others are forecast, and the exit code is 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn forecast",
        usage="speechrnn forecast MODEL FILE [FILE ...] [--json] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("model", metavar="MODEL", help="a .onnx or .keras forecaster")
    made.add_argument("files", nargs="+", metavar="FILE", help="records of signals")
    made.add_argument("--json", action="store_true", help="one JSON object a record")
    terminal.add_output(made)
    add_options(made, _FUNCTION, title="forecast", prefix="forecast", skip=("model", "paths", "progress"))
    return made


def run(words: list[str]) -> int:
    """Forecast; 0 if all files could be read, 1 otherwise."""
    arguments = parser().parse_args(words)

    def outcomes(out: TextIO, progress: Callable[[object], None]) -> Iterator[Forecast | Fault]:
        model = terminal.load_forecaster(arguments.model)
        if not arguments.json:
            _lines(out).writerow(["path", "seconds", "time", "channel", *map(str, model.quantiles)])
        return forecasting.forecasts(model, arguments.files, progress=progress, **collect(arguments, _FUNCTION))

    def show(found: Forecast, out: TextIO) -> None:
        if arguments.json:
            print(terminal.as_json(found.to_dict()), file=out)
            return
        dates = [date.isoformat() for date in found.dates] or [""] * len(found.times)
        for time, date, at_once in zip(found.times, dates, found.values, strict=True):
            for name, values in zip(found.channels, at_once, strict=True):
                _lines(out).writerow([found.path, f"{time:.10g}", date, name, *(f"{value:.7g}" for value in values)])

    return terminal.over_files(arguments, outcomes, show)


def _lines(out: TextIO) -> Any:
    return csv.writer(out, lineterminator="\n")
