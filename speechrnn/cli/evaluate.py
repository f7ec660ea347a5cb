"""Measure the errors of a model on a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import loads
from typing import IO, Annotated, Any, TextIO

from speechrnn import files
from speechrnn.cli import sharding, terminal
from speechrnn.cli import task as tasks
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data.shards import Part
from speechrnn.faults import Faults
from speechrnn.models import kinds
from speechrnn.models.commands import Command

_EPILOG = """\
Rates come from counts summed over all examples. The interval is a 95 % bootstrap over examples, and over speakers or
subjects where the manifest names two or more; of a forecaster over blocks of windows.

Examples that cannot be read, are too short, or have no text or class are named on standard error and excluded from all
figures, and the exit code is 1. The options depend on the kind of --model; `--task TASK --help` shows them without a
model.
"""


def verb(words: Sequence[str]) -> Verb:
    """Create the verb, with the options of the kind of model."""
    kind = tasks.chosen("evaluate", words)
    groups = {"options": [Group(source) for source in tasks.command(kind).evaluation_options]}
    return Verb("evaluate", evaluate, groups, _EPILOG, lambda: _hints(kind), bound={"kind": kind})


def _hints(kind: kinds.Kind) -> dict[str, str]:
    """Messages about options of other kinds, and about renamed ones."""
    renamed = {"--normalize": "now called --normalize-texts.", "--per-speaker": "now called --per-subject."}
    return {**tasks.hints("evaluate", kind, "evaluation_options"), **renamed}


def evaluate(
    path: Annotated[str, "MANIFEST"],
    /,
    *,
    kind: kinds.Kind,
    options: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    task: Annotated[str | None, "TASK"] = None,
    json: bool = False,
    details: bool = False,
    per_subject: bool = False,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
    shard: Annotated[str | None, "I/N"] = None,
) -> int:
    """Measure the errors of a model on a manifest.

    Args:
        path: A .jsonl manifest with the correct answers.
        kind: The kind of model.
        options: Options of the kind.
        model: A .onnx or .keras model, or the name of an included model; by default the task's, such as `english`.
        task: Task of the model; by default it follows from the model.
        json: one object, the whole report.
        details: every example with its answer.
        per_subject: Add a table of speakers or subjects.
        out: a file; by default standard output.
        shard: Needs --out.
    """
    command = tasks.command(kind)
    model = command.default_model if model is None else model
    if model is None:
        raise UsageError(f"--model is required. `speechrnn train --task {kind.method}` makes one.")
    for name, value in (("details", details), ("per-subject", per_subject)):
        if value and not command.details:
            raise UsageError(f"--{name} is not for {kinds.with_article(kind.noun)}.")
    faults = Faults()
    examples = command.read([path], faults=faults)
    printing = {"json": json, "details": details, "per_subject": per_subject}

    def measure(chosen: Sequence[Any], faults: Faults) -> Any:
        with terminal.progress(len(chosen), "examples") as progress:
            session = terminal.load_any(model, kind.name)
            terminal.start_tensorflow_for(options.get("rescore"))
            return command.evaluate(session, chosen, faults=faults, progress=progress, **options)

    if shard is not None:
        if not command.can_shard:
            raise UsageError(f"--shard is not for {kinds.with_article(kind.noun)}.")
        from speechrnn.models import loading  # not at the top: --help must not import NumPy

        def work(chosen: slice, file: IO[bytes], part: Part, faults: Faults) -> None:
            report = measure(examples[chosen], faults)
            terminal.print_faults(*faults)
            part.more["elapsed"] = report.elapsed
            file.write(files.as_json(command.records(report)).encode("utf-8", "surrogateescape"))

        about = {"kind": kind.name, "printing": printing}
        shard_options: dict[str, Any] = {"verb": "evaluate", "options": options, "about": about, "overwrite": overwrite}
        unread = list(faults)
        shard_options |= {"model": loading.file_of(model), "noun": "examples", "unread": unread}
        return sharding.run(shard, out, examples, work, **shard_options)
    total = len(examples) + len(faults)
    with terminal.output(out, overwrite=overwrite) as file:
        report = measure(examples, faults)
        terminal.print_faults(*faults)
        _print(command, report, file, examples, **printing)
    return terminal.print_summary(faults, total, noun="examples")


def merge_parts(out: str, parts: Sequence[Part], faults: Faults, overwrite: bool) -> int:
    """Write the report of all parts' records; returns the number of examples."""
    about = parts[0].about
    command = tasks.command(kinds.named(about["kind"]))
    elapsed = sum(part.more["elapsed"] for part in parts)
    records = [loads(part.read()) for part in parts]
    report = command.report_of(records, faults=tuple(faults), elapsed=elapsed, **about["options"])
    with terminal.output(out, overwrite=overwrite) as file:
        terminal.print_faults(*faults)
        _print(command, report, file, (), **about["printing"])
    return sum(part.more["total"] for part in parts)


def _print(
    command: Command,
    report: Any,
    file: TextIO,
    examples: Sequence[Any],
    *,
    json: bool,
    details: bool,
    per_subject: bool,
) -> None:
    if json:
        print(files.as_json(command.report(report, details=details), indent=1), file=file)
    else:
        from rich.console import Console

        command.print_report(report, Console(file=file, highlight=False), examples, per_subject=per_subject)
    file.flush()
