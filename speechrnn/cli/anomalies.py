"""Find what was not to be expected in records of signals."""

from __future__ import annotations

from dataclasses import asdict

from speechrnn import anomalies, forecasting
from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Fault, Faults

_FUNCTION = "speechrnn.anomalies:find_anomalies"

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
    faults = Faults()
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        to_terminal = arguments.out is None
        with terminal.progress(len(arguments.files), "files", to_terminal=to_terminal) as progress:
            model = forecasting.loaded(terminal.load_any(arguments.model), arguments.model)
            options = collect(arguments, _FUNCTION)
            for found in anomalies.find_anomalies(model, arguments.files, progress=progress, **options):
                if isinstance(found, Fault):
                    faults.add(found.where, found.kind, found.message)
                    terminal.name_fault(found)
                    continue
                for one in found:
                    times = f"{one.start:.10g}\t{one.end:.10g}"
                    line = f"{one.path}\t{times}\t{one.likelihood:.3f}"
                    print(terminal.as_json(asdict(one)) if arguments.json else line, file=out, flush=True)
    return terminal.verdict(faults, len(arguments.files), noun="files")
