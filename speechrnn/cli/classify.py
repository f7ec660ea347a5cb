"""Say which class records of signals or sounds belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TextIO

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Fault
from speechrnn.tasks.classification import classify
from speechrnn.tasks.classification.classify import Classification

_FUNCTION = "speechrnn.tasks.classification.classify:classify"

_EPILOG = """\
Each line is `path<TAB>class<TAB>probability`, in the order given; of a model that knows several classes at once all
that are likely, with commas between. A model with a class for each frame gives a line for every stretch of equal class:
`path<TAB>start<TAB>end<TAB>class<TAB>probability`, times in seconds. With --json each line is an object.

FILE may be a WFDB header, EDF, BDF, CSV, TSV, Parquet, NPZ, MAT, .ts or any audio file. A file that cannot be read is
named on standard error, the others are classified, and the exit code is 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn classify",
        usage="speechrnn classify MODEL FILE [FILE ...] [--json] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("model", metavar="MODEL", help="a .onnx or .keras classifier")
    made.add_argument("files", nargs="+", metavar="FILE", help="records of signals, or audio")
    made.add_argument("--json", action="store_true", help="one JSON object a line, with the probability of every class")
    made.add_argument("--frames", action="store_true", help="with --json: the probabilities of every frame")
    terminal.add_output(made)
    skip = ("model", "paths", "faults", "progress")
    add_options(made, _FUNCTION, title="classification", prefix="classification", skip=skip)
    return made


def run(words: list[str]) -> int:
    """Classify; 0 if all files could be read, 1 otherwise."""
    made = parser()
    arguments = made.parse_args(words)
    if arguments.frames and not arguments.json:
        made.error("--frames needs --json.")

    def outcomes(out: TextIO, progress: Callable[[object], None]) -> Iterator[Classification | Fault]:
        model = terminal.load_classifier(arguments.model)
        return classify.outcomes(model, arguments.files, progress=progress, **collect(arguments, _FUNCTION))

    def show(found: Classification, out: TextIO) -> None:
        if arguments.json:
            print(terminal.as_json(found.to_dict(frames=arguments.frames)), file=out)
        else:
            _print(found, out)

    return terminal.over_files(arguments, outcomes, show)


def _print(found: Classification, out: TextIO) -> None:
    if found.task == "frames":
        for segment in found.segments():
            times = f"{segment.start:.3f}\t{segment.end:.3f}"
            print(f"{found.path}\t{times}\t{segment.label}\t{segment.probability:.3f}", file=out)
        return
    chosen = [found.classes.index(label) for label in found.labels]
    names = ",".join(found.labels)
    print(found.path, names, ",".join(f"{found.probabilities[k]:.3f}" for k in chosen), sep="\t", file=out)
