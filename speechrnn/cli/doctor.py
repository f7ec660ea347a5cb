"""Look a model or a manifest over: what will be slow, what will be dropped, and what to change."""

from __future__ import annotations

import argparse
import os
from typing import IO, TYPE_CHECKING, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data import manifest
from speechrnn.faults import Faults

if TYPE_CHECKING:
    from speechrnn.training.diagnostics import BatchingReport, ModelReport

_MODEL = "speechrnn.training.diagnostics.checkup:examine"
_MANIFEST = "speechrnn.training.diagnostics.batching:examine_batches"

_EPILOG = """\
Of a model: which way each recurrent layer runs (cuDNN, a compiled scan, Keras's loop) and why, what would keep it from
cuDNN on a GPU, its type, size and speed, the type of the output. Of a manifest: durations, padding, batch shapes, and
what would be dropped. The exit code is 1 if a model has something to change, or if examples would be dropped.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn doctor",
        usage="speechrnn doctor MODEL|MANIFEST [--json] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("target", metavar="MODEL|MANIFEST", help="a .keras file, or a .jsonl manifest")
    made.add_argument("--json", action="store_true", help="the whole report as one JSON object")
    made.add_argument("--model", metavar="MODEL", help="of a manifest: plan it for this recogniser")
    terminal.add_output(made)
    add_options(made, _MODEL, title="model", prefix="timed", skip=("model",))
    skip = ("examples", "vocabulary", "frame_count", "faults")
    add_options(made, _MANIFEST, title="manifest", prefix="planned", skip=skip)
    return made


def run(words: list[str]) -> int:
    """Look over; 1 if a model has something to change or examples would be dropped, 0 otherwise."""
    made = parser()
    arguments = made.parse_args(words)
    of_model = arguments.target.endswith(".keras")
    other = collect(arguments, _MANIFEST if of_model else _MODEL)
    if other or (of_model and arguments.model):
        wrong = ", ".join(sorted(other)) or "--model"
        made.error(f"{wrong}: an option of a {'manifest' if of_model else 'model'}, which {arguments.target} is not.")
    report: Any = _model(arguments) if of_model else _manifest(arguments)
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        if arguments.json:
            print(terminal.as_json(report.to_dict(), indent=1), file=out)
        else:
            _print_model(report, out) if of_model else _print_manifest(report, out)
        out.flush()
    return 0 if report.ok else 1


def _model(arguments: argparse.Namespace) -> ModelReport:
    if not os.path.exists(arguments.target):  # said before TensorFlow, which takes seconds, is started
        raise FileNotFoundError(f"{arguments.target}: no such model file.")
    terminal.start_tensorflow(f"{arguments.target}: a .keras model")
    from speechrnn.models import bundle
    from speechrnn.training.diagnostics import examine

    return examine(bundle.read(arguments.target), **collect(arguments, _MODEL))


def _manifest(arguments: argparse.Namespace) -> BatchingReport:
    from speechrnn.training.diagnostics import examine_batches

    faults = Faults()
    examples = manifest.read(arguments.target, faults=faults)
    options = collect(arguments, _MANIFEST)
    if arguments.model:
        model = terminal.load_model(arguments.model)
        options |= {"vocabulary": model.vocabulary, "sample_rate": model.sample_rate, "stride": model.stride}
        options["frame_count"] = model.feature_frames
    return examine_batches(examples, faults=faults, **options)


def _print_model(report: ModelReport, out: IO[str]) -> None:
    from rich.table import Table

    columns = ("layer", "kind", "runs as", "why", "on a GPU", "type", "weights", "frames/s")
    table = Table(*columns, box=None, pad_edge=False)
    for layer in report.layers:
        path = layer.path
        on_gpu = "; ".join(path.gpu_obstacles) or "cuDNN"
        speed = "" if layer.frames_per_second is None else f"{layer.frames_per_second:,.0f}"
        table.add_row(
            path.layer, path.kind, path.path, path.reason, on_gpu, layer.dtype, f"{layer.parameters:,}", speed
        )
    head = (
        f"{report.name}: {report.parameters:,} weights, output {report.output_dtype}, on a {report.device}",
        f"masks: {report.masks}",
        f"speed: forwards, {report.batch_size} rows of {report.frames} frames",
    )
    _print(out, head, table if report.layers else "no recurrent layers", report.advice)


def _print_manifest(report: BatchingReport, out: IO[str]) -> None:
    from rich.table import Table

    table = Table("plan", "batches", "shapes", "row counts", "largest (s)", "signal", box=None, pad_edge=False)
    for plan in [*([report.plan] if report.plan else []), *report.alternatives]:
        options = " ".join(f"{name}={value:g}" for name, value in plan.options.items())
        table.add_row(
            options, f"{plan.batches:,}", str(len(plan.shapes)), str(plan.sizes), f"{plan.largest:.0f}",
            f"{plan.efficiency:.1%}",
        )  # fmt: skip
    spread = ", ".join(f"{name} {value:.2f} s" for name, value in report.durations.items())
    head = (
        f"{report.examples:,} examples, {report.usable:,} usable, {report.hours:.2f} h; {spread}",
        *(f"{count:,} {kind}" for kind, count in report.counts.items()),
        "rows are padded on the right and none is empty, as cuDNN needs; a CPU compiles the scan once for a row count",
    )
    _print(out, head, table if report.plan else "no batches", report.advice)


def _print(out: IO[str], head: Any, table: Any, advice: tuple[str, ...]) -> None:
    from rich.console import Console

    # Cut off, a reason would be of no use: where there is no terminal, lines are as long as they need to be.
    console = Console(file=out, highlight=False, markup=False, width=None if out.isatty() else 240)
    for line in head:
        console.print(line, soft_wrap=True)
    console.print()
    console.print(table)
    console.print()
    for line in advice or ("nothing to change",):
        console.print(f"change: {line}" if advice else line, soft_wrap=True)
