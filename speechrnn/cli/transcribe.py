"""Write down what is said in audio files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.faults import Fault, Faults
from speechrnn.files import refuse_existing, replacing
from speechrnn.tasks.recognition import formats, parallel
from speechrnn.tasks.recognition import transcription as transcribe
from speechrnn.tasks.recognition.formats import CueOptions
from speechrnn.tasks.recognition.transcript import Transcript

_FUNCTION = "speechrnn.tasks.recognition.transcription:transcribe"
_CUES = "speechrnn.tasks.recognition.formats:CueOptions"

_EPILOG = """\
The text of a single file is printed alone. With several files each line is `path<TAB>text`, in the order given. With
--json each line is an object: path, text, duration, and words with start, end (seconds) and confidence.

Channels are mixed; --channel N hears one of them, and --each-channel writes a transcript of every one.

--format srt prints subtitles of one file; --format F [F ...] --out-dir DIR writes DIR/NAME.F for every file and
format: txt, json, srt, vtt, tsv (subtitles as a table, milliseconds) and ctm (a word a line with times and confidence).
Of files with equal names more of the path goes into NAME.

FILE may be `-`: audio from a pipe, as in `ffmpeg -i talk.mp4 -f wav - | speechrnn transcribe -`. Headerless samples
need --rate (16 bits, mono, little-endian) or --encoding.

A file that cannot be read is named on standard error, the others are transcribed, and the exit code is 1.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn transcribe",
        usage="speechrnn transcribe FILE [FILE ...] [--model MODEL] [--format F [F ...]] [--out-dir DIR] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg, Opus, MP3 or SPHERE of any rate, or -")
    made.add_argument("--model", metavar="MODEL", help="a .onnx or .keras recogniser (default: the one in the package)")
    made.add_argument("--json", action="store_true", help="one JSON object a line, with the times of the words")
    made.add_argument(
        "--format",
        nargs="+",
        choices=formats.FORMATS,
        metavar="F",
        help=f"how results are written: {', '.join(formats.FORMATS)}; several with --out-dir (default: txt)",
    )
    made.add_argument("--out-dir", metavar="DIR", help="write a file for every input and format into this folder")
    made.add_argument("--rate", type=int, metavar="HZ", help="short for --encoding s16le@HZ")
    made.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the files (default: 1)")
    terminal.add_output(made)
    made.add_argument("--calibration", metavar="FILE", help="confidences as `speechrnn calibrate` found them")
    skip = ("model", "paths", "decoder", "calibration", "faults", "progress")
    add_options(made, _FUNCTION, title="recognition", prefix="recognition", skip=skip)
    decoding.add(made)
    add_options(made, _CUES, title="subtitles", prefix="subtitles")
    return made


def run(words: list[str]) -> int:
    """Transcribe; 0 if all files could be read, 1 otherwise."""
    made = parser()
    arguments = made.parse_args(words)
    _check(made, arguments)
    options = collect(arguments, _FUNCTION)
    names = formats.output_names(arguments.files)
    if options.pop("each_channel", False):
        if options.pop("channel", None) is not None:
            made.error("--channel and --each-channel exclude each other.")
        given = dict(zip(arguments.files, names, strict=True))
        arguments.files = list(transcribe.by_channel(arguments.files, encoding=options.get("encoding")))
        names = [
            given[file] if isinstance(file, str) else f"{given[file.path]}.channel{file.channel}"
            for file in arguments.files
        ]
    if arguments.rate:
        options["encoding"] = f"s16le@{arguments.rate}"
    if "-" in arguments.files and sys.stdin is None:
        made.error("`-` needs standard input, which is closed.")
    sources = [sys.stdin.buffer if path == "-" else path for path in arguments.files]
    faults = Faults()
    with _sink(arguments, names) as write:
        to_terminal = arguments.out is None and arguments.out_dir is None
        with terminal.transcription_progress(len(sources), to_terminal=to_terminal) as (progress, heard):
            model = terminal.load_model(arguments.model)  # also with several jobs: an export is cached for them
            decoder = decoding.chosen(arguments, model.vocabulary)
            if arguments.jobs > 1:
                outcomes = parallel.recognise(
                    arguments.model,
                    arguments.files,
                    jobs=arguments.jobs,
                    decoding=decoding.given(arguments),
                    calibration=arguments.calibration,
                    progress=progress,
                    **options,
                )
            else:
                options |= {"decoder": decoder, "calibration": decoding.calibration(arguments.calibration)}
                outcomes = transcribe.outcomes(model, sources, progress=progress, on_progress=heard, **options)
            for index, outcome in enumerate(outcomes):
                if isinstance(outcome, Fault):
                    faults.add(outcome.where, outcome.kind, outcome.message)
                    terminal.name_fault(outcome)
                else:
                    write(index, outcome)
    return terminal.verdict(faults, len(arguments.files), noun="files")


def _check(made: Parser, arguments: argparse.Namespace) -> None:
    """Refuse what cannot go together; `format` and `out_dir` are settled."""
    chosen = list(dict.fromkeys(arguments.format or []))
    if arguments.json:
        chosen = list(dict.fromkeys([*chosen, "json"]))
    arguments.format = chosen or ["txt"]
    if arguments.out_dir is not None:
        if arguments.out is not None:
            made.error("--out and --out-dir exclude each other.")
    elif len(arguments.format) > 1:
        made.error(f"several formats ({', '.join(arguments.format)}) need --out-dir DIR.")
    elif len(arguments.files) > 1 and arguments.format[0] not in formats.JOINABLE:
        made.error(f"{arguments.format[0]} of several files needs --out-dir DIR.")
    if arguments.jobs < 1:
        made.error(f"--jobs must be at least 1. Received: {arguments.jobs}.")
    if "-" in arguments.files and arguments.jobs > 1:
        made.error("`-` cannot be shared by several --jobs.")
    if arguments.files.count("-") > 1:
        made.error("`-` can be read once only.")
    if arguments.rate is not None and arguments.rate <= 0:
        made.error(f"--rate must be positive. Received: {arguments.rate}.")


@contextmanager
def _sink(arguments: argparse.Namespace, names: Sequence[str]) -> Iterator[Callable[[int, Transcript], None]]:
    """Where transcripts go, as a function of the input's place and its transcript."""
    cues = CueOptions(**collect(arguments, _CUES))
    if arguments.out_dir is not None:
        yield _folder(arguments, names, cues)
        return
    with terminal.output(arguments.out, overwrite=arguments.overwrite) as out:
        yield lambda index, transcript: _print(transcript, arguments, cues, out)


def _folder(arguments: argparse.Namespace, names: Sequence[str], cues: CueOptions) -> Callable[[int, Transcript], None]:
    """Writes into the folder; what is there already is refused before the work begins."""
    outputs = [[Path(arguments.out_dir, f"{name}.{format}") for format in arguments.format] for name in names]
    for path in (path for paths in outputs for path in paths):
        refuse_existing(path, overwrite=arguments.overwrite)
    Path(arguments.out_dir).mkdir(parents=True, exist_ok=True)

    def write(index: int, transcript: Transcript) -> None:
        for path, format in zip(outputs[index], arguments.format, strict=True):
            with replacing(path, overwrite=arguments.overwrite) as file:
                file.write(formats.render(transcript, format, cues).encode("utf-8", "surrogateescape"))

    return write


def _print(transcript: Transcript, arguments: argparse.Namespace, cues: CueOptions, out: TextIO) -> None:
    (format,) = arguments.format
    if format == "json":
        text = formats.as_json(transcript.to_dict()) + "\n"
    elif format == "txt" and len(arguments.files) > 1:
        channel = "" if transcript.channel is None else f"\t{transcript.channel}"
        text = f"{os.fspath(transcript.path)}{channel}\t{transcript.text}\n"
    else:
        text = formats.render(transcript, format, cues)
    print(text, end="", file=out, flush=True)
