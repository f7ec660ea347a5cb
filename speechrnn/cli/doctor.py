"""Check a model or a manifest: what will be slow, what will be dropped, and what to change."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data import manifest as manifests
from speechrnn.faults import Faults

if TYPE_CHECKING:
    from speechrnn.training.diagnostics import BatchingReport, ModelReport

_EPILOG = """\
For a model: how each recurrent layer runs (cuDNN, a compiled scan, Keras's loop) and why, what would keep it from cuDNN
on a GPU, its type, size and speed, the type of the output. Of a manifest: durations, padding, batch shapes, and what
would be dropped. The exit code is 1 if a model has something to change, or if examples would be dropped.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    of_model = Group("speechrnn.training.diagnostics.options:TimingOptions", "of a model")
    of_manifest = Group("speechrnn.training.diagnostics.options:BatchingOptions", "of a manifest")
    return Verb("doctor", doctor, {"timing": (of_model,), "batching": (of_manifest,)}, _EPILOG)


def doctor(
    manifest: str | None = None,
    /,
    *,
    timing: Mapping[str, Any],
    batching: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    batch_size: int = 16,
    json: bool = False,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Check a model or a manifest: what will be slow, what will be dropped, and what to change.

    Args:
        manifest: A .jsonl manifest.
        timing: Options for checking a model.
        batching: Options for checking a manifest.
        model: A .keras model to check; with a manifest, the recognizer to plan batches for.
        batch_size: Examples in a batch.
        json: one object, the whole report.
        out: a file; by default standard output.
    """
    if manifest is None and model is None:
        raise UsageError("give a MANIFEST, or --model MODEL.")
    if misplaced := (batching if manifest is None else timing):
        expected = "manifest, and none is given" if manifest is None else "model alone, and a manifest is given"
        raise UsageError(f"--{min(misplaced).replace('_', '-')} is an option of a {expected}.")
    report: Any
    if manifest is None:
        report = _model(str(model), {**timing, "batch_size": batch_size})
    else:
        report = _manifest(manifest, model, {**batching, "batch_size": batch_size})
    with terminal.output(out, overwrite=overwrite) as file:
        if json:
            print(terminal.as_json(report.to_dict(), indent=1), file=file)
        else:
            _print_model(report, file) if manifest is None else _print_manifest(report, file)
        file.flush()
    return 0 if report.ok else 1


def _model(path: str, options: Mapping[str, Any]) -> ModelReport:
    if not os.path.exists(path):  # reported before TensorFlow, which takes seconds, is started
        raise terminal.missing_model(path)
    terminal.start_tensorflow(f"{path}: a .keras model")
    from speechrnn.models import bundle
    from speechrnn.training.diagnostics import examine

    return examine(bundle.read(path), **options)


def _manifest(path: str, model: str | None, options: Mapping[str, Any]) -> BatchingReport:
    from speechrnn.training.diagnostics import examine_batches

    faults = Faults()
    examples = manifests.read(path, faults=faults)
    limits = terminal.model_limits(terminal.load_model(model)) if model else {}
    return examine_batches(examples, faults=faults, **{**options, **limits})


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

    # Truncated reasons would be useless, so lines are long where there is no terminal.
    console = Console(file=out, highlight=False, markup=False, width=None if out.isatty() else 240)
    for line in head:
        console.print(line, soft_wrap=True)
    console.print()
    console.print(table)
    console.print()
    for line in advice or ("nothing to change",):
        console.print(f"change: {line}" if advice else line, soft_wrap=True)
