"""Recordings of any length to text with times, one file after the other and no file stopping the rest."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import audio, decoding
from speechrnn.faults import Fault, Faults, kind_of
from speechrnn.manifest import Example

if TYPE_CHECKING:
    from speechrnn.decoding.calibration import Calibration
    from speechrnn.decoding.options import Decoder
    from speechrnn.recognizer import Recognizer

DEFAULT_MODEL = Path(__file__).parent / "pretrained" / "english_letters_numbers.keras"
"""The recogniser that comes with the package."""

_WINDOW_SECONDS = 600.0
"""Audio held at once: enough for batches of equal lengths, 38 MB at 16 kHz."""
_QUIET_SECONDS = 0.2
"""Width of the stretch whose loudness decides where a long recording is cut."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Word:
    """A recognised word and where it stands in the recording."""

    word: str
    start: float
    """Seconds from the beginning of what was transcribed."""
    end: float
    """Seconds from the beginning of what was transcribed."""
    confidence: float
    """In (0, 1]: geometric mean over the word's symbols of the probability the model gave them."""


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording."""

    path: str
    text: str
    words: tuple[Word, ...]
    duration: float
    """Seconds that were transcribed."""

    def to_dict(self) -> dict[str, Any]:
        """The transcript as JSON can hold it, times in seconds rounded to milliseconds."""
        return {
            "path": self.path,
            "text": self.text,
            "duration": round(self.duration, 3),
            "words": [
                {
                    "word": w.word,
                    "start": round(w.start, 3),
                    "end": round(w.end, 3),
                    "confidence": round(w.confidence, 4),
                }
                for w in self.words
            ],
        }


Source = str | os.PathLike[str] | Example


def transcribe(
    model: Recognizer | str | os.PathLike[str] | None,
    paths: Iterable[Source],
    *,
    batch_seconds: float = 120.0,
    piece_seconds: float = 30.0,
    decoder: Decoder | None = None,
    calibration: Calibration | None = None,
    faults: Faults | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Transcript]:
    """Transcribe recordings, lazily and in the order given.

    Recordings are gathered for some minutes of audio, sorted by length, recognised in batches, and yielded in their
    own order. One that is longer than `piece_seconds` is cut where it is quietest and its texts are joined, so memory
    is bounded by the piece and not by the recording. Silence is no fault: its text is empty.

    Args:
        model: A recogniser, the path of one, or None for the one that comes with the package.
        paths: Audio files, or examples of a manifest (their segment and channel are read).
        batch_seconds: Audio recognised at once, padding counted.
        piece_seconds: Longest stretch recognised in one go.
        decoder: Turns logits into a path, as `speechrnn.decoding.BeamSearch` does; the best path is taken by default.
        calibration: Turns the words' confidences into probabilities of their being right.
        faults: Where recordings that cannot be read are recorded, and passed over; without it the first one raises.
        progress: Called with the path of each recording once it is done.

    Yields:
        A transcript for each recording that could be read.

    Raises:
        ValueError: A recording cannot be read and `faults` is not given; see `speechrnn.audio.read`.
    """
    outcomes = recognise(
        model,
        paths,
        batch_seconds=batch_seconds,
        piece_seconds=piece_seconds,
        decoder=decoder,
        calibration=calibration,
        progress=progress,
    )
    for outcome in outcomes:
        if isinstance(outcome, Transcript):
            yield outcome
        elif faults is None:
            raise ValueError(str(outcome))
        else:
            faults.add(outcome.where, outcome.kind, outcome.message)


def recognise(
    model: Recognizer | str | os.PathLike[str] | None,
    sources: Iterable[Source],
    *,
    batch_seconds: float = 120.0,
    piece_seconds: float = 30.0,
    decoder: Decoder | None = None,
    calibration: Calibration | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Transcript | Fault]:
    """As `transcribe`, with exactly one outcome for each source: its transcript, or why there is none."""
    if batch_seconds <= 0 or piece_seconds < 1:
        raise ValueError(
            "`batch_seconds` must be positive and `piece_seconds` at least 1. "
            f"Received: batch_seconds={batch_seconds}, piece_seconds={piece_seconds}."
        )
    recogniser = loaded(model)
    decode = _WordDecoder(recogniser, decoder or decoding.greedy, calibration)
    waiting: deque[_Recording] = deque()
    window: list[_Piece] = []
    held = 0
    rates: set[int] = set()
    for source in sources:
        recording = _Recording(source)
        waiting.append(recording)
        for piece in _pieces(recording, recogniser.sample_rate, piece_seconds, rates):
            window.append(piece)
            held += len(piece.signal)
            if held >= _WINDOW_SECONDS * recogniser.sample_rate:
                _recognise_window(recogniser, window, batch_seconds, decode)
                window, held = [], 0
        recording.whole = True
        yield from _finished(waiting, recogniser, progress)
    _recognise_window(recogniser, window, batch_seconds, decode)
    yield from _finished(waiting, recogniser, progress)


def logits_of(
    model: Recognizer,
    examples: Iterable[Example],
    *,
    batch_seconds: float = 120.0,
    faults: Faults,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[Example, np.ndarray]]:
    """Each example that can be read whole, with its logits, in batches of neighbours; nothing is cut.

    Args:
        model: A recogniser.
        examples: From a manifest.
        batch_seconds: Audio recognised at once, padding not counted.
        faults: Where examples that cannot be read are recorded.
        progress: Called with the path of each example once it is done.
    """
    batch: list[tuple[Example, np.ndarray]] = []

    def done() -> Iterator[tuple[Example, np.ndarray]]:
        values = model.logits([signal for _, signal in batch])
        for (example, _), found in zip(batch, values, strict=True):
            if progress:
                progress(example.path)
            yield example, found

    for example in examples:
        try:
            signal = read_whole(example, model.sample_rate)
        except (OSError, ValueError) as error:
            faults.add_error(example.path, error)
            continue
        if batch and sum(len(s) for _, s in batch) + len(signal) > batch_seconds * model.sample_rate:
            yield from done()
            batch = []
        batch.append((example, signal))
    if batch:
        yield from done()


def read_whole(source: Source, sample_rate: int) -> np.ndarray:
    """float32 `(samples,)`: all of a recording, or of an example's segment, at `sample_rate`.

    Raises:
        OSError, ValueError: It cannot be read; see `speechrnn.audio.read`.
    """
    return np.concatenate([np.zeros(0, np.float32), *_blocks(source, sample_rate, 600.0, set())])


@dataclass(eq=False)
class _Recording:
    """One source on its way."""

    source: Source
    whole: bool = False
    """Everything of it has been read."""
    fault: Fault | None = None
    samples: int = 0
    frames: int = 0
    open_pieces: int = 0
    words: list[Word] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.source.path if isinstance(self.source, Example) else os.fspath(self.source)

    def fail(self, error: Exception) -> None:
        self.fault = Fault(self.path, kind_of(error), str(error))


@dataclass(eq=False)
class _Piece:
    """A stretch of a recording that is recognised in one go."""

    recording: _Recording
    start: int
    signal: np.ndarray


def loaded(model: Recognizer | str | os.PathLike[str] | None) -> Recognizer:
    """A recogniser as it is, or read from its path; None is the one that comes with the package.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no recogniser.
    """
    if model is not None and not isinstance(model, str | os.PathLike):
        return model
    if model is None and not DEFAULT_MODEL.exists():
        raise FileNotFoundError(f"{DEFAULT_MODEL}: this installation has no model of its own. Give a model (--model).")
    from speechrnn import recognizer  # brings TensorFlow in

    return recognizer.load(DEFAULT_MODEL if model is None else model)


def _pieces(recording: _Recording, sample_rate: int, piece_seconds: float, rates: set[int]) -> Iterator[_Piece]:
    """The recording in pieces; when it cannot be read the pieces end and its fault is set."""
    try:
        for signal in cut(_blocks(recording.source, sample_rate, piece_seconds, rates), sample_rate, piece_seconds):
            piece = _Piece(recording, recording.samples, signal)
            recording.samples += len(signal)
            recording.open_pieces += 1
            yield piece
    except IsADirectoryError:
        recording.fault = Fault(
            recording.path,
            "not a file",
            f"{recording.path}: is a folder. Name its files, as in {os.path.join(recording.path, '*.wav')}",
        )
    except (OSError, ValueError) as error:
        recording.fail(error)
    if recording.fault is None and recording.samples == 0:
        message = f"{recording.path}: has no samples. Leave it out, or record it again."
        recording.fault = Fault(recording.path, "empty", message)


def _blocks(source: Source, sample_rate: int, seconds: float, rates: set[int]) -> Iterator[np.ndarray]:
    """Blocks of the source at `sample_rate`; the first source at each other rate is said in the log."""
    options: dict[str, Any] = {}
    if isinstance(source, Example):
        path, encoding = source.path, source.encoding
        options = {"offset": source.offset, "duration": source.duration, "channel": source.channel}
    else:
        path, encoding = os.fspath(source), None
    rate = audio.probe(path, encoding=encoding).sample_rate
    if rate != sample_rate and rate not in rates:
        rates.add(rate)
        _log.info("%s is at %d Hz, the model at %d Hz: it is resampled, and so are others.", path, rate, sample_rate)
    return audio.read_blocks(path, block=seconds, sample_rate=sample_rate, encoding=encoding, **options)


def cut(blocks: Iterable[np.ndarray], sample_rate: int, longest: float) -> Iterator[np.ndarray]:
    """Cut a signal at quiet places into pieces of at most `longest` seconds.

    Args:
        blocks: float32 `(samples,)` parts of one signal, in order.
        sample_rate: Samples per second.
        longest: Longest piece, in seconds. A cut lies in the second half of that.

    Yields:
        float32 `(samples,)`; joined they are the signal.
    """
    limit = int(longest * sample_rate)
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > limit:
            end = limit // 2 + _quietest(rest[limit // 2 : limit], sample_rate)
            yield rest[:end].copy()  # a view would keep the whole of `rest` alive
            rest = rest[end:]
    if len(rest):
        yield rest


def _quietest(signal: np.ndarray, sample_rate: int) -> int:
    """Index of the middle of the quietest stretch; of equal ones the last, for longer pieces."""
    hop = max(1, sample_rate // 100)
    width = max(1, round(_QUIET_SECONDS * sample_rate / hop))
    frames = len(signal) // hop
    if frames <= width:
        return len(signal)
    energy = np.square(signal[: frames * hop], dtype=np.float64).reshape(frames, hop).sum(axis=1)
    loudness = np.convolve(energy, np.ones(width), "valid")
    last = len(loudness) - 1 - int(loudness[::-1].argmin())
    return last * hop + width * hop // 2


def _recognise_window(model: Recognizer, window: Sequence[_Piece], batch_seconds: float, decode: _WordDecoder) -> None:
    """Logits of the pieces, in batches of about equal lengths, decoded into their recordings."""
    found: dict[_Piece, list[Word]] = {}
    for batch in _batches([p for p in window if p.recording.fault is None], batch_seconds * model.sample_rate):
        for piece, logits in zip(batch, model.logits([piece.signal for piece in batch]), strict=True):
            try:
                words = decode(logits, piece.start / model.sample_rate)
            except ValueError as error:  # not a number: this recording alone is lost
                piece.recording.fail(ValueError(f"{piece.recording.path}: the model gave no usable output. {error}"))
                continue
            piece.recording.frames += len(logits)
            found[piece] = words
    for piece in window:  # in reading order
        piece.recording.words += found.get(piece, [])
        piece.recording.open_pieces -= 1


@dataclass(frozen=True)
class _WordDecoder:
    """Logits to words."""

    model: Recognizer
    decoder: Decoder
    calibration: Calibration | None

    def __call__(self, logits: np.ndarray, start: float) -> list[Word]:
        words = spell(self.decoder(logits), self.model, start=start)
        if self.calibration is None or not words:
            return words
        probabilities = self.calibration(np.array([word.confidence for word in words]))
        return [replace(word, confidence=float(p)) for word, p in zip(words, probabilities, strict=True)]


def _batches(pieces: Sequence[_Piece], budget: float) -> Iterator[list[_Piece]]:
    """Pieces sorted by length, as many at once as the budget of samples allows, padding counted."""
    batch: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: -len(piece.signal)):
        if batch and (len(batch) + 1) * len(batch[0].signal) > budget:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def spell(path: decoding.Path, model: Recognizer, *, start: float = 0.0) -> list[Word]:
    """The words of a decoded path: what stands between spaces.

    Args:
        path: From `speechrnn.decoding.greedy`.
        model: Its vocabulary and frame period are used.
        start: Seconds before the path's first frame.
    """
    symbols = [model.vocabulary.decode([index]) for index in path.ids]
    edges = [-1, *(i for i, symbol in enumerate(symbols) if symbol.isspace()), len(symbols)]
    words = []
    for before, after in pairwise(edges):
        first, last = before + 1, after - 1
        if first <= last:
            begin = start + float(path.start_frames[first]) * model.frame_period
            end = start + float(path.end_frames[last]) * model.frame_period
            confidence = float(np.exp(np.log(path.confidences[first:after]).mean()))
            words.append(Word("".join(symbols[first:after]), begin, end, confidence))
    return words


def _finished(
    waiting: deque[_Recording], model: Recognizer, progress: Callable[[str], None] | None
) -> Iterator[Transcript | Fault]:
    """Outcomes of the recordings at the head of the queue that nothing more is to come for."""
    while waiting and waiting[0].whole and not waiting[0].open_pieces:
        recording = waiting.popleft()
        if progress:
            progress(recording.path)
        yield recording.fault or _transcript(recording, model)


def _transcript(recording: _Recording, model: Recognizer) -> Transcript | Fault:
    duration = recording.samples / model.sample_rate
    if recording.frames == 0:
        noun = "sample" if recording.samples == 1 else "samples"
        message = (
            f"{recording.path}: {recording.samples} {noun} ({duration:.4f} s at {model.sample_rate} Hz) are less than "
            "one frame of the model. Leave it out, or record more."
        )
        return Fault(recording.path, "shorter than one frame", message)
    words = tuple(Word(w.word, min(w.start, duration), min(w.end, duration), w.confidence) for w in recording.words)
    return Transcript(recording.path, " ".join(w.word for w in words), words, duration)
