"""Find what was not to be expected in records of signals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TextIO

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Fault
from speechrnn.tasks.forecasting import anomalies
from speechrnn.tasks.forecasting.anomalies import Anomaly

_FUNCTION = "speechrnn.tasks.forecasting.anomalies:find_anomalies"

_EPILOG = """\
Each sample is compared with what the forecaster said of it one step before, and the errors of the last samples with
those of the thousands before. Each line is a stretch that was not to be expected,
`path<TAB>start<TAB>end<TAB>likelihood`, times in seconds from the record's first sample. With --json each line is an
object. A record without anomalies gives no line; one that cannot be read is named on standard error, and the exit code
is 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn anomalies",
        usage="speechrnn anomalies MODEL FILE [FILE ...] [--json] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("model", metavar="MODEL", help="a .onnx or .keras forecaster, which has learnt what is usual")
    made.add_argument("files", nargs="+", metavar="FILE", help="records of signals")
    made.add_argument("--json", action="store_true", help="one JSON object a line")
    terminal.add_output(made)
    add_options(made, _FUNCTION, title="anomalies", prefix="anomalies", skip=("model", "paths", "progress"))
    return made


def run(words: list[str]) -> int:
    """Find anomalies; 0 if all files could be read, 1 otherwise."""
    arguments = parser().parse_args(words)

    def outcomes(out: TextIO, progress: Callable[[object], None]) -> Iterator[list[Anomaly] | Fault]:
        model = terminal.load_forecaster(arguments.model)
        return anomalies.find_anomalies(model, arguments.files, progress=progress, **collect(arguments, _FUNCTION))

    def show(found: list[Anomaly], out: TextIO) -> None:
        for one in found:
            line = f"{one.path}\t{one.start:.10g}\t{one.end:.10g}\t{one.likelihood:.3f}"
            print(terminal.as_json(asdict(one)) if arguments.json else line, file=out)

    return terminal.over_files(arguments, outcomes, show)
