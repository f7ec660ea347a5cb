"""Write down what is said in audio files."""

from __future__ import annotations

import argparse
import os

from speechrnn import transcribe
from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Fault, Faults

_FUNCTION = "speechrnn.transcribe:transcribe"

_EPILOG = """\
The text of a single file is printed alone. With several files each line is `path<TAB>text`, in the order given. With
--json each line is an object: path, text, duration, and words with start, end (seconds) and confidence.

A file that cannot be read is named on standard error, the others are transcribed, and the exit code is 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn transcribe",
        usage="speechrnn transcribe FILE [FILE ...] [--model MODEL] [--json] [--out FILE] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg, Opus, MP3 or SPHERE, of any rate")
    made.add_argument("--model", metavar="MODEL", help="a .keras recogniser (default: the one in the package)")
    made.add_argument("--json", action="store_true", help="one JSON object a line, with the times of the words")
    terminal.add_output(made)
    skip = ("model", "paths", "decoder", "calibration", "faults", "progress")
    add_options(made, _FUNCTION, title="recognition", prefix="recognition", skip=skip)
    decoding.add(made)
    made.add_argument("--calibration", metavar="FILE", help="confidences as `speechrnn calibrate` found them")
    return made


def run(words: list[str]) -> int:
    """Transcribe; 0 if all files could be read, 1 otherwise."""
    arguments = parser().parse_args(words)
    faults = Faults()
    with (
        terminal.output(arguments.out, overwrite=arguments.overwrite) as out,
        terminal.progress(len(arguments.files), "files", to_terminal=arguments.out is None) as progress,
    ):
        model = terminal.load_model(arguments.model)
        outcomes = transcribe.recognise(
            model,
            arguments.files,
            progress=progress,
            decoder=decoding.chosen(arguments, model.vocabulary),
            calibration=decoding.calibration(arguments.calibration),
            **collect(arguments, _FUNCTION),
        )
        for outcome in outcomes:
            if isinstance(outcome, Fault):
                faults.add(outcome.where, outcome.kind, outcome.message)
                terminal.name_fault(outcome)
            else:
                print(_line(outcome, arguments), file=out, flush=True)
    return terminal.verdict(faults, len(arguments.files), noun="files")


def _line(transcript: transcribe.Transcript, arguments: argparse.Namespace) -> str:
    if arguments.json:
        return terminal.as_json(transcript.to_dict())
    return transcript.text if len(arguments.files) == 1 else f"{os.fspath(transcript.path)}\t{transcript.text}"
