"""Transcribe speech live, while it is spoken."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from speechrnn import audio
from speechrnn.cli import terminal
from speechrnn.cli.codes import INTERRUPTED
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.files import as_json

if TYPE_CHECKING:
    import numpy as np

    from speechrnn.tasks.recognition.streaming_base import BaseStreamingSession, Update
    from speechrnn.tasks.recognition.transcript import Word

_BLOCK_SECONDS = 0.02
_MAX_SHOWN = 400
"""Maximum number of characters shown during recognition."""

_EPILOG = """\
A model of whole signals, such as the included English one, listens through windows of some seconds and answers within
two. One that is one-directional and normalizes its features with "global" statistics or not at all answers at once:
train with --no-bidirectional --normalize global, and write it with `speechrnn export --model MODEL.keras --streaming`.

The words appear on standard error if that is a terminal; the whole text is printed at the end. With --json each word is
an object on a line of its own, printed as soon as it is final: word, start, end (seconds) and confidence. With
--lexicon a search finds the words, and a word is final once the search is sure of it; --lm makes likely words
preferred. With --mic, Ctrl-C ends the stream. FILE may be `-`, a pipe: `arecord -r 16000 -f S16_LE | speechrnn stream
-`.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    groups = {"options": [Group("speechrnn.decoding.options:decoder")]}
    return Verb("stream", stream, groups, _EPILOG, {"--rate": "is given as --encoding s16le@HZ."})


def stream(
    file: str | None = None,
    /,
    *,
    options: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    mic: bool = False,
    device: Annotated[str | None, "NAME"] = None,
    realtime: bool = False,
    json: bool = False,
    encoding: str | None = None,
) -> int:
    """Transcribe speech live, while it is spoken.

    Args:
        file: An audio file, or - for a pipe.
        options: Options of the search.
        model: A .onnx or .keras recognizer, or the name of an included model; by default `english`.
        mic: Listen to a microphone (needs speechrnn[mic]).
        device: The microphone: a part of its name, or its number.
        realtime: Read the file at the speed at which it was spoken.
        json: one object per word, as soon as it is final.
        encoding: Format of headerless samples, such as `s16le@16000`: 16 bits, little-endian, mono, 16 kHz.
    """
    if mic == (file is not None):
        raise UsageError("give a FILE, or --mic.")
    session = terminal.load_streaming(model)
    if options or not session.searches:
        session.search(**options)
    rate = session.sample_rate
    blocks = _microphone(device, rate) if file is None else _file(file, rate, encoding)
    meter = Meter(session)
    final_words: list[Word] = []
    interrupted = False
    with _live_text() as show:
        try:
            for block in _in_real_time(blocks, rate) if realtime and not mic else blocks:
                update = meter.push(block)
                final_words += update.words
                if json:
                    _print_words(update.words)
                show(" ".join(word.word for word in final_words[-_MAX_SHOWN // 2 :]), update.partial)
        except KeyboardInterrupt:
            interrupted = not mic
        last = session.finish().words
    if json:
        _print_words(last)
    else:
        print(" ".join(word.word for word in [*final_words, *last]), flush=True)
    print(meter.summary(), file=sys.stderr)
    return INTERRUPTED if interrupted else 0


class Meter:
    """Pushes blocks into a session and measures the time of each."""

    def __init__(self, session: BaseStreamingSession) -> None:
        self._session = session
        self._seconds: list[float] = []
        self._samples = 0

    def push(self, block: np.ndarray) -> Update:
        """Push a block into the session."""
        start = time.perf_counter()
        update = self._session.push(block)
        self._seconds.append(time.perf_counter() - start)
        self._samples += len(block)
        return update

    def summary(self) -> str:
        """One line with the seconds of audio, the latency and the processing times."""
        seconds = self._samples / self._session.sample_rate
        text = f"speechrnn: {seconds:.2f} s heard, algorithmic latency {1000 * self._session.latency:.0f} ms"
        if not self._seconds:
            return text + "."
        import numpy as np

        mean, worst = 1000 * np.mean(self._seconds), 1000 * np.percentile(self._seconds, 99)
        return f"{text}, {mean:.2f} ms per block of {1000 * _BLOCK_SECONDS:.0f} ms (99 % within {worst:.2f})."


def _print_words(words: tuple[Word, ...]) -> None:
    from speechrnn.tasks.recognition import Transcript

    for entry in Transcript("", "", words, 0.0).to_dict()["words"]:
        print(as_json(entry), flush=True)


@contextmanager
def _live_text() -> Iterator[Callable[[str, str], None]]:
    """Yield a function that shows the text and its uncertain end, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda text, partial: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, redirect_stdout=False, refresh_per_second=12) as live:
        yield lambda text, partial: live.update(Text.assemble(text[-_MAX_SHOWN:], " ", (partial, "dim italic")))


def _file(path: str, sample_rate: int, encoding: str | None) -> Iterator[np.ndarray]:
    def opened(rate: int, seconds: float) -> None:
        if rate != sample_rate:
            name = "the pipe" if path == "-" else path
            print(f"speechrnn: {name} is at {rate} Hz and resampled to {sample_rate} Hz.", file=sys.stderr)

    source = terminal.standard_input() if path == "-" else path
    return audio.read_blocks(source, block=_BLOCK_SECONDS, sample_rate=sample_rate, encoding=encoding, opened=opened)


def _in_real_time(blocks: Iterator[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Yield each block at the time when its last sample would have been spoken."""
    start, samples = time.monotonic(), 0
    for block in blocks:
        samples += len(block)
        time.sleep(max(0.0, start + samples / sample_rate - time.monotonic()))
        yield block


def _microphone(device: str | None, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield blocks from a microphone until Ctrl-C.

    Raises:
        ModuleNotFoundError: sounddevice, or the PortAudio library that it needs, is not installed.
        ValueError: There is no such microphone, or it cannot record at this rate.
    """
    try:
        import sounddevice
    except (ModuleNotFoundError, OSError) as error:  # OSError: PortAudio is missing
        raise ModuleNotFoundError(
            f"--mic needs sounddevice and PortAudio ({error}). Install them: pip install 'speechrnn[mic]', and on "
            "Linux the system's libportaudio2."
        ) from error
    recorded: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    device_id = int(device) if device is not None and device.isdigit() else device
    try:
        stream = sounddevice.InputStream(
            samplerate=sample_rate,
            blocksize=round(_BLOCK_SECONDS * sample_rate),
            device=device_id,
            channels=1,
            dtype="float32",
            callback=lambda samples, *_: recorded.put(samples[:, 0].copy()),
        )
        with stream:
            print("speechrnn: listening; Ctrl-C ends.", file=sys.stderr)
            while True:
                yield recorded.get()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise ValueError(f"The microphone cannot be opened at {sample_rate} Hz: {error}") from error
