"""Look for everything in a manifest that training or evaluation would trip over."""

from __future__ import annotations

import argparse
from typing import Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data import manifest
from speechrnn.data.check import check
from speechrnn.faults import Faults
from speechrnn.text import Vocabulary

_FUNCTION = "speechrnn.data.check:check"

_EPILOG = """\
Every recording is decoded. Missing, empty, undecodable, silent and mislabelled examples are listed, and texts that are
too long for their audio. The exit code is 0 if nothing is wrong and 1 otherwise.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn check-manifest",
        usage="speechrnn check-manifest MANIFEST [--model MODEL | --against MANIFEST] [--json] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("manifest", metavar="MANIFEST", help="a .jsonl manifest")
    held = made.add_mutually_exclusive_group()
    held.add_argument(
        "--model",
        metavar="MODEL",
        type=terminal.recogniser_path,
        help="hold it against the characters and frames of this recogniser",
    )
    held.add_argument("--against", metavar="MANIFEST", help="hold it against the characters of this manifest's texts")
    made.add_argument("--json", action="store_true", help="the whole report as one JSON object")
    terminal.add_output(made)
    skip = ("examples", "vocabulary", "frame_count", "faults", "progress")
    add_options(made, _FUNCTION, title="frames, where no model is given", prefix="check", skip=skip)
    return made


def run(words: list[str]) -> int:
    """Check; 0 if nothing is wrong, 1 otherwise."""
    arguments = parser().parse_args(words)
    faults = Faults()
    examples = manifest.read(arguments.manifest, faults=faults)
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        options = _held_against(arguments)
        with terminal.progress(len(examples), "examples") as progress:
            report = check(examples, faults=faults, progress=progress, **options)
        if arguments.json:
            print(terminal.as_json(report.to_dict(), indent=1), file=out)
        else:
            print(report, *report.faults, sep="\n", file=out)
        out.flush()
    return 0 if report.ok else 1


def _held_against(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the examples must fit: a model, the characters of another manifest, or the options."""
    options = collect(arguments, _FUNCTION)
    if arguments.against:
        texts = [example.text or "" for example in manifest.read(arguments.against)]
        return {**options, "vocabulary": Vocabulary.from_texts(texts)}
    if arguments.model:
        model = terminal.load_model(arguments.model)
        fitting = {"vocabulary": model.vocabulary, "sample_rate": model.sample_rate, "stride": model.stride}
        return {**options, **fitting, "frame_count": model.feature_frames}
    return options
