"""Measure the errors of a recogniser, a classifier or a forecaster on a manifest."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from speechrnn.cli import decoding, terminal
from speechrnn.cli.declared import declaration
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.models import kinds

_FUNCTION = "speechrnn.tasks.recognition.evaluation:evaluate"
_CLASSES = "speechrnn.tasks.classification.evaluation:evaluate_classifier"
_FORECASTS = "speechrnn.tasks.forecasting.evaluation:evaluate_forecaster"
_SKIP = ("model", "examples", "decoder", "faults", "progress")

_EPILOG = """\
Of a recogniser, word and character error rates come from counts summed over all utterances; of a classifier, accuracy,
macro-F1, and each class's sensitivity and positive predictive value from counts summed over all records or frames. The
interval is a 95 % bootstrap over utterances or records, and over speakers or subjects where the manifest names two or
more. Of a forecaster, absolute and squared error over all windows, in standard deviations of its training series; the
interval is over blocks of windows.

What cannot be read, is too short, or has no text or class is named on standard error, is in none of the figures, and
makes the exit code 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn evaluate",
        usage="speechrnn evaluate MODEL MANIFEST [--json] [--per-speaker] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    terminal.add_recogniser(made, also=", classifier or forecaster")
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest with texts or classes, or of series")
    made.add_argument("--json", action="store_true", help="the whole report as one JSON object")
    made.add_argument("--details", action="store_true", help="with --json: every utterance or record with its answer")
    made.add_argument(
        "--per-speaker", "--per-subject", dest="per_subject", action="store_true", help="a table of the people"
    )
    terminal.add_output(made)
    add_options(made, _FUNCTION, title="evaluation", prefix="evaluation", skip=_SKIP)
    own = (*_SKIP, *(option.name for option in declaration(_FUNCTION).options))
    add_options(made, _CLASSES, title="evaluation of a classifier", prefix="classes", skip=own)
    add_options(made, _FORECASTS, title="evaluation of a forecaster", prefix="forecasts", skip=(*own, "batch_size"))
    decoding.add(made)
    return made


def run(words: list[str]) -> int:
    """Evaluate; 0 if everything was scored, 1 otherwise."""
    made = parser()
    arguments = made.parse_args(words)
    faults = Faults()
    examples = manifest.read(arguments.manifest, faults=faults)
    total = len(examples) + len(faults)
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        with terminal.progress(len(examples), "examples") as progress:
            model = terminal.load_any(arguments.model)
            work = {"classifier": _classes, "forecaster": _series}.get(kinds.of(model).name, _texts)
            found, show = work(made, arguments, model, examples, {"faults": faults, "progress": progress})
        for fault in faults:
            terminal.name_fault(fault)
        if arguments.json:
            print(terminal.as_json(found, indent=1), file=out)
        else:
            from rich.console import Console

            show(Console(file=out, highlight=False))
        out.flush()
    return terminal.verdict(faults, total, noun="examples")


def _texts(
    made: Parser, arguments: argparse.Namespace, model: Any, examples: Sequence[Example], to: dict[str, Any]
) -> tuple[dict[str, Any], Callable[[Any], None]]:
    from speechrnn.tasks.recognition import evaluation as evaluate

    options = _options(made, arguments, "a recogniser")
    report = evaluate.evaluate(model, examples, decoder=decoding.chosen(arguments, model.vocabulary), **to, **options)
    return report.to_dict(utterances=arguments.details), lambda console: evaluate.print_report(
        report, console, per_speaker=arguments.per_subject
    )


def _classes(
    made: Parser, arguments: argparse.Namespace, model: Any, examples: Sequence[Example], to: dict[str, Any]
) -> tuple[dict[str, Any], Callable[[Any], None]]:
    from speechrnn.tasks import classification

    options = _options(made, arguments, "a classifier")
    report = classification.evaluate_classifier(model, examples, **to, **options)
    return report.to_dict(records=arguments.details), lambda console: classification.print_report(
        report, console, per_subject=arguments.per_subject
    )


def _series(
    made: Parser, arguments: argparse.Namespace, model: Any, examples: Sequence[Example], to: dict[str, Any]
) -> tuple[dict[str, Any], Callable[[Any], None]]:
    from speechrnn.tasks.forecasting import evaluation as forecasting

    options = _options(made, arguments, "a forecaster")
    for name in ("details", "per_subject"):
        if getattr(arguments, name):
            made.error(f"--{name.replace('_', '-')} is not for a forecaster.")
    report = forecasting.evaluate_forecaster(model, examples, **to, **options)
    names = next((e.extra["channels"] for e in examples if "channels" in e.extra), ())
    return report.to_dict(), lambda console: forecasting.print_report(report, names, console)


_KINDS = {"a recogniser": _FUNCTION, "a classifier": _CLASSES, "a forecaster": _FORECASTS}
"""Where the options of each kind of model are declared."""


def _options(made: Parser, arguments: argparse.Namespace, kind: str) -> dict[str, Any]:
    """The options that were given for one kind of model; one that would change nothing is an error."""
    given = {other: collect(arguments, reference) for other, reference in _KINDS.items()}
    of_all = {name: given["a recogniser"].pop(name) for name in ("seed",) if name in given["a recogniser"]}
    foreign = {other: set(options) for other, options in given.items() if other != kind}
    if kind != "a recogniser":
        foreign["a recogniser"] |= set(decoding.given(arguments))
    for other, names in foreign.items():
        if names:
            made.error(f"--{min(names).replace('_', '-')} is for {other}, and MODEL is not one.")
    return {**given[kind], **of_all}
