"""Measure the errors of a recogniser or a classifier on a manifest."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from speechrnn import manifest
from speechrnn.cli import decoding, terminal
from speechrnn.cli.declared import declaration
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Faults
from speechrnn.manifest import Example

_FUNCTION = "speechrnn.evaluate:evaluate"
_CLASSES = "speechrnn.classification.evaluation:evaluate_classifier"
_SKIP = ("model", "examples", "decoder", "faults", "progress")

_EPILOG = """\
Of a recogniser, word and character error rates come from counts summed over all utterances; of a classifier, accuracy,
macro-F1, and each class's sensitivity and positive predictive value from counts summed over all records or frames. The
interval is a 95 % bootstrap over utterances or records, and over speakers or subjects where the manifest names two or
more.

What cannot be read or has no text or class is named on standard error, is in none of the figures, and makes the exit
code 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn evaluate",
        usage="speechrnn evaluate MODEL MANIFEST [--json] [--per-speaker] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    terminal.add_recogniser(made, also=" or classifier")
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest with texts or classes")
    made.add_argument("--json", action="store_true", help="the whole report as one JSON object")
    made.add_argument("--details", action="store_true", help="with --json: every utterance or record with its answer")
    made.add_argument(
        "--per-speaker", "--per-subject", dest="per_subject", action="store_true", help="a table of the people"
    )
    terminal.add_output(made)
    add_options(made, _FUNCTION, title="evaluation", prefix="evaluation", skip=_SKIP)
    own = (*_SKIP, *(option.name for option in declaration(_FUNCTION).options))
    add_options(made, _CLASSES, title="evaluation of a classifier", prefix="classes", skip=own)
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
            from speechrnn.classify import is_classifier

            work = _classes if is_classifier(model) else _texts
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
    from speechrnn import evaluate

    _refuse(made, set(collect(arguments, _CLASSES)), "a classifier")
    decoder = decoding.chosen(arguments, model.vocabulary)
    report = evaluate.evaluate(model, examples, decoder=decoder, **to, **collect(arguments, _FUNCTION))
    return report.to_dict(utterances=arguments.details), lambda console: evaluate.print_report(
        report, console, per_speaker=arguments.per_subject
    )


def _classes(
    made: Parser, arguments: argparse.Namespace, model: Any, examples: Sequence[Example], to: dict[str, Any]
) -> tuple[dict[str, Any], Callable[[Any], None]]:
    from speechrnn import classification

    given = collect(arguments, _FUNCTION)
    seed = {"seed": given.pop("seed")} if "seed" in given else {}
    _refuse(made, {*given, *decoding.given(arguments)}, "a recogniser")
    report = classification.evaluate_classifier(model, examples, **to, **seed, **collect(arguments, _CLASSES))
    return report.to_dict(records=arguments.details), lambda console: classification.print_report(
        report, console, per_subject=arguments.per_subject
    )


def _refuse(made: Parser, given: set[str], kind: str) -> None:
    """An option that would change nothing is an error."""
    if given:
        made.error(f"--{min(given).replace('_', '-')} is for {kind}, and MODEL is not one.")
