"""Say when each word of a known text is spoken in a recording."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from speechrnn import decoding, text
from speechrnn.cli import terminal
from speechrnn.cli.decoding import calibration
from speechrnn.cli.options import Parser
from speechrnn.tasks.recognition import formats
from speechrnn.tasks.recognition import transcription as transcribe
from speechrnn.tasks.recognition.transcript import moved

_EPILOG = """\
TEXT is what is said; `@FILE` reads it from a file. It is brought to lower case without punctuation first, unless the
model has other characters. A CTC model hears a symbol somewhere in its middle or later, mostly a little late:
--shift moves all times by what was measured on aligned recordings.

The exit code is 2 if the text cannot be aligned: it has characters that the model lacks, or is too long for the audio.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn align",
        usage="speechrnn align MODEL AUDIO TEXT [--format textgrid|ctm|json] [--out FILE] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    terminal.add_recogniser(made)
    made.add_argument("audio", metavar="AUDIO", help="a recording")
    made.add_argument("text", metavar="TEXT", help="what is said in it, or @FILE")
    made.add_argument(
        "--format", choices=("textgrid", "ctm", "json"), default="json", help="what is written (default: json)"
    )
    made.add_argument(
        "--shift",
        type=float,
        nargs="+",
        default=[0.0],
        metavar="X",
        help="seconds added to all times; of two numbers the first to starts, the second to ends (default: 0)",
    )
    made.add_argument("--calibration", metavar="FILE", help="confidences as `speechrnn calibrate` found them")
    terminal.add_output(made)
    return made


def run(words: list[str]) -> int:
    """Align; 0 when done."""
    made = parser()
    arguments = made.parse_args(words)
    if not all(map(math.isfinite, arguments.shift)):
        made.error(f"--shift: seconds, which are finite, not {' '.join(map(str, arguments.shift))}.")
    if len(arguments.shift) > 2:
        made.error(
            f"--shift: one number for all times, or one for starts and one for ends, not {len(arguments.shift)}."
        )
    said = arguments.text
    if said.startswith("@"):
        try:
            said = Path(said[1:]).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{said[1:]}: must be text in UTF-8. {error}") from error
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        model = terminal.load_model(arguments.model)
        signal = transcribe.read_whole(arguments.audio, model.sample_rate)
        said = " ".join(said.split())
        if model.vocabulary.missing(said):
            said = text.normalize(said)
        try:
            path = decoding.align(model.logits([signal])[0], model.vocabulary.encode(said))
        except ValueError as error:
            raise ValueError(f"{arguments.audio}: {error}") from error
        duration = len(signal) / model.sample_rate
        found = transcribe.spell(path, model.vocabulary, frame_period=model.frame_period)
        found = moved(found, duration, start=arguments.shift[0], end=arguments.shift[-1])
        calibrated = calibration(arguments.calibration)
        if calibrated:
            sure = calibrated(np.array([word.confidence for word in found]))
            found = [replace(word, confidence=float(value)) for word, value in zip(found, sure, strict=True)]
        transcript = transcribe.Transcript(arguments.audio, said, tuple(found), duration)
        print(_written(transcript, arguments.format), file=out, flush=True)
    return 0


def _written(transcript: transcribe.Transcript, form: str) -> str:
    if form == "json":
        return terminal.as_json(transcript.to_dict(), indent=1)
    if form == "ctm":
        return formats.render(transcript, "ctm").rstrip("\n")
    from speechrnn.decoding import textgrid

    words = [(w.start, w.end, w.word) for w in transcript.words]
    return textgrid.write({"words": words}, transcript.duration).rstrip("\n")
