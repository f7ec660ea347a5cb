"""Measure a recogniser's errors on a manifest."""

from __future__ import annotations

from speechrnn import manifest
from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Faults

_FUNCTION = "speechrnn.evaluate:evaluate"

_EPILOG = """\
Word and character error rates come from counts summed over all utterances. The interval is a 95 % bootstrap over
utterances, and over speakers where the manifest names two or more.

An utterance that cannot be read is named on standard error, is in none of the rates, and makes the exit code 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn evaluate",
        usage="speechrnn evaluate MODEL MANIFEST [--json] [--per-speaker] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("model", metavar="MODEL", help="a .onnx or .keras recogniser")
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest with texts")
    made.add_argument("--json", action="store_true", help="the whole report as one JSON object")
    made.add_argument("--details", action="store_true", help="with --json: every utterance with its texts and counts")
    made.add_argument("--per-speaker", action="store_true", help="a table of the speakers")
    terminal.add_output(made)
    skip = ("model", "examples", "decoder", "faults", "progress")
    add_options(made, _FUNCTION, title="evaluation", prefix="evaluation", skip=skip)
    decoding.add(made)
    return made


def run(words: list[str]) -> int:
    """Evaluate; 0 if all utterances were scored, 1 otherwise."""
    arguments = parser().parse_args(words)
    faults = Faults()
    examples = manifest.read(arguments.manifest, faults=faults)
    total = len(examples) + len(faults)
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        from speechrnn import evaluate

        with terminal.progress(len(examples), "utterances") as progress:
            model = terminal.load_model(arguments.model)
            report = evaluate.evaluate(
                model,
                examples,
                decoder=decoding.chosen(arguments, model.vocabulary),
                faults=faults,
                progress=progress,
                **collect(arguments, _FUNCTION),
            )
        for fault in faults:
            terminal.name_fault(fault)
        if arguments.json:
            print(terminal.as_json(report.to_dict(utterances=arguments.details), indent=1), file=out)
        else:
            from rich.console import Console

            evaluate.print_report(report, Console(file=out, highlight=False), per_speaker=arguments.per_speaker)
        out.flush()
    return terminal.verdict(faults, total, noun="utterances")
