"""Write down what is being said, while it is said."""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from speechrnn import audio
from speechrnn.cli import terminal
from speechrnn.cli.options import Parser
from speechrnn.tasks.recognition.formats import as_json
from speechrnn.tasks.recognition.transcript import Transcript, Word

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.streaming import StreamingSession, Update

_BLOCK_SECONDS = 0.02
_SHOWN = 400
"""Characters of text shown while it grows."""

_EPILOG = """\
The model must be one-directional and normalise its features with "global" statistics or not at all: train with
--no-bidirectional --normalize global. A .onnx for streaming is written by `speechrnn export MODEL.keras --streaming`.

What is said appears on standard error, where that is a terminal; the whole text is printed at the end. With --json each
word is an object on a line of its own, printed as soon as it is final: word, start, end (seconds) and confidence.
With --mic, Ctrl-C ends the stream. FILE may be `-`, a pipe: `arecord -r 16000 -f S16_LE | speechrnn stream -`.
"""


def parser() -> Parser:
    """The verb's options."""
    made = Parser(
        prog="speechrnn stream",
        usage="speechrnn stream FILE | --mic [--model MODEL] [--realtime] [--json] [options]",
        description=__doc__,
        epilog=_EPILOG,
    )
    made.add_argument("file", nargs="?", metavar="FILE", help="an audio file, or - for a pipe")
    made.add_argument("--mic", action="store_true", help="listen to a microphone (needs speechrnn[mic])")
    made.add_argument("--device", metavar="NAME", help="the microphone: a part of its name, or its number")
    made.add_argument("--model", metavar="MODEL", help="a streaming .onnx or a one-directional .keras")
    made.add_argument("--realtime", action="store_true", help="read the file as slowly as it was spoken")
    made.add_argument("--json", action="store_true", help="one JSON object a word, as soon as it is final")
    made.add_argument("--encoding", metavar="TEXT", help="what headerless samples are, such as s16le@16000")
    made.add_argument("--rate", type=int, metavar="HZ", help="short for --encoding s16le@HZ")
    return made


def run(words: list[str]) -> int:
    """Listen until the stream ends; 0, or 130 where Ctrl-C ended a file."""
    made = parser()
    arguments = made.parse_args(words)
    if arguments.mic == (arguments.file is not None):
        made.error("give a FILE, or --mic.")
    if arguments.rate is not None and arguments.rate <= 0:
        made.error(f"--rate must be positive. Received: {arguments.rate}.")
    session = terminal.load_streaming(arguments.model)
    meter = Meter(session)
    said: list[Word] = []
    interrupted = False
    with _shown() as show:
        try:
            for block in _source(arguments, session.sample_rate):
                update = meter.push(block)
                said += update.words
                _print_words(update.words, arguments)
                show(" ".join(word.word for word in said[-_SHOWN // 2 :]), update.partial)
        except KeyboardInterrupt:
            interrupted = not arguments.mic
        last = session.finish().words
    _print_words(last, arguments)
    if not arguments.json:
        print(" ".join(word.word for word in [*said, *last]), flush=True)
    print(meter.summary(), file=sys.stderr)
    return 130 if interrupted else 0


class Meter:
    """Pushes blocks into a session and takes the time of each."""

    def __init__(self, session: StreamingSession) -> None:
        self._session = session
        self._seconds: list[float] = []
        self._samples = 0

    def push(self, block: np.ndarray) -> Update:
        """What `session.push` gives."""
        start = time.perf_counter()
        update = self._session.push(block)
        self._seconds.append(time.perf_counter() - start)
        self._samples += len(block)
        return update

    def summary(self) -> str:
        """One line: how much was heard, and what it took."""
        heard = self._samples / self._session.sample_rate
        text = f"speechrnn: {heard:.2f} s heard, algorithmic latency {1000 * self._session.latency:.0f} ms"
        if not self._seconds:
            return text + "."
        mean, worst = 1000 * np.mean(self._seconds), 1000 * np.percentile(self._seconds, 99)
        return f"{text}, {mean:.2f} ms a block of {1000 * _BLOCK_SECONDS:.0f} ms (99 % within {worst:.2f})."


def _print_words(words: tuple[Word, ...], arguments: argparse.Namespace) -> None:
    if arguments.json:
        for entry in Transcript("", "", words, 0.0).to_dict()["words"]:
            print(as_json(entry), flush=True)


@contextmanager
def _shown() -> Iterator[Callable[[str, str], None]]:
    """A function that shows the text and its uncertain end, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda text, partial: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, redirect_stdout=False, refresh_per_second=12) as live:
        yield lambda text, partial: live.update(Text.assemble(text[-_SHOWN:], " ", (partial, "dim italic")))


def _source(arguments: argparse.Namespace, sample_rate: int) -> Iterator[np.ndarray]:
    if arguments.mic:
        return _microphone(arguments.device, sample_rate)
    encoding = f"s16le@{arguments.rate}" if arguments.rate else arguments.encoding
    source = sys.stdin.buffer if arguments.file == "-" else arguments.file

    def opened(rate: int) -> None:
        if rate != sample_rate:
            name = "the pipe" if arguments.file == "-" else arguments.file
            print(f"speechrnn: {name} is at {rate} Hz and resampled to {sample_rate} Hz.", file=sys.stderr)

    blocks = audio.read_blocks(source, block=_BLOCK_SECONDS, sample_rate=sample_rate, encoding=encoding, opened=opened)
    return _in_real_time(blocks, sample_rate) if arguments.realtime else blocks


def _in_real_time(blocks: Iterator[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Each block when its last sample would have been spoken."""
    start, samples = time.monotonic(), 0
    for block in blocks:
        samples += len(block)
        time.sleep(max(0.0, start + samples / sample_rate - time.monotonic()))
        yield block


def _microphone(device: str | None, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks of a microphone until Ctrl-C.

    Raises:
        ModuleNotFoundError: sounddevice, or the PortAudio library that it needs, is not installed.
        ValueError: There is no such microphone, or it cannot record at this rate.
    """
    try:
        import sounddevice
    except (ModuleNotFoundError, OSError) as error:  # OSError: the library is not there
        raise ModuleNotFoundError(
            f"--mic needs sounddevice and PortAudio ({error}). Install them: pip install 'speechrnn[mic]', and on "
            "Linux the system's libportaudio2."
        ) from error
    heard: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    chosen = int(device) if device is not None and device.isdigit() else device
    try:
        stream = sounddevice.InputStream(
            samplerate=sample_rate,
            blocksize=round(_BLOCK_SECONDS * sample_rate),
            device=chosen,
            channels=1,
            dtype="float32",
            callback=lambda samples, *_: heard.put(samples[:, 0].copy()),
        )
        with stream:
            print("speechrnn: listening; Ctrl-C ends.", file=sys.stderr)
            while True:
                yield heard.get()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise ValueError(f"The microphone cannot be opened at {sample_rate} Hz: {error}") from error
