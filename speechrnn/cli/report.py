"""Write a page about a recogniser: its errors, its worst moments, its confidence; beside another one."""

from __future__ import annotations

import os
from typing import Any

from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data import manifest
from speechrnn.faults import Faults

_FUNCTION = "speechrnn.report.measuring:measure"

_EPILOG = """\
One HTML file that needs no other: open it, mail it, keep it beside the model. It has word and character error rates
with 95 % bootstrap intervals, the worst utterances with their sound, spectrogram and the network's output, tables by
speaker and by length, confusions, a reliability diagram, the curves of the training run whose folder lies beside the
model, and the model's card. With --compare, both models are scored on the same utterances, and the difference has an
interval of its own (paired bootstrap).

`default` stands for the model that comes with the package.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn report",
        usage="speechrnn report MODEL TEST [--compare OTHER] [--out report.html] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    terminal.add_recogniser(made)
    made.add_argument("test", metavar="TEST", help="a .jsonl manifest with texts")
    made.add_argument(
        "--compare", metavar="OTHER", type=terminal.recogniser_path, help="a second recogniser, decoded in the same way"
    )
    made.add_argument("--out", default="report.html", metavar="FILE", help="the page (default: report.html)")
    made.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    made.add_argument(
        "--calibration", metavar="FILE", help="of MODEL's confidences, from `speechrnn calibrate`: shown beside them"
    )
    skip = ("model", "examples", "path", "decoder", "calibration", "notes", "faults", "progress")
    add_options(made, _FUNCTION, title="report", prefix="report", skip=skip)
    decoding.add(made)
    return made


def run(words: list[str]) -> int:
    """Measure and write the page; 0 if all utterances were scored, 1 otherwise."""
    arguments = parser().parse_args(words)
    from speechrnn.files import refuse_existing, replacing

    refuse_existing(arguments.out, overwrite=arguments.overwrite)
    faults = Faults()
    examples = manifest.read(arguments.test, faults=faults)
    total = len(examples) + len(faults)
    calibration = decoding.calibration(arguments.calibration)
    from speechrnn.metrics.errors import compare
    from speechrnn.report import page

    models = [arguments.model, *([arguments.compare] if arguments.compare else [])]
    for path in models:  # known before the first one has been measured for minutes
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path}: no such model file.")
    with terminal.progress(len(examples) * len(models), "utterances") as progress:
        found = [
            _measured(
                arguments, path, examples, calibration if first else None, faults if first else Faults(), progress
            )
            for first, path in zip((True, False), models, strict=False)
        ]
    for fault in faults:
        terminal.name_fault(fault)
    with replacing(arguments.out, overwrite=arguments.overwrite) as file:
        text = page(*found, test=os.path.basename(arguments.test))
        file.write(text.encode("utf-8", "replace"))
    for one in found:
        print(f"{one.name}: {one.report}")
    if len(found) == 2:
        difference = compare(found[0].report, found[1].report).words
        low, high = (100 * bound for bound in difference.interval)
        print(f"difference {100 * difference.difference:+.2f} points of WER (95 % interval {low:+.2f} to {high:+.2f})")
    print(f"{arguments.out}: {len(text) / 1e6:.1f} MB")
    return terminal.verdict(faults, total, noun="utterances")


def _measured(arguments: Any, path: str, examples: Any, calibration: Any, faults: Faults, progress: Any) -> Any:
    from speechrnn.report import measure

    model = terminal.load_model(path)
    options = decoding.given(arguments)
    return measure(
        model,
        examples,
        path=path,
        decoder=decoding.chosen(arguments, model.vocabulary),
        calibration=calibration,
        notes={"decoding": ", ".join(f"{name} {value}" for name, value in options.items()) or "greedy"},
        faults=faults,
        progress=progress,
        **collect(arguments, _FUNCTION),
    )
