"""Recordings of any length to text with times, one file after the other and no file stopping the rest."""

from __future__ import annotations

import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from speechrnn import audio, decoding
from speechrnn.data.examples import read_whole
from speechrnn.data.manifest import Example
from speechrnn.decoding.beam import Ranking
from speechrnn.decoding.pieces import Joiner, Piece, cut
from speechrnn.faults import Fault, Faults, kind_of, options_as_keywords
from speechrnn.models.loading import open_model
from speechrnn.runtime.batches import by_length
from speechrnn.tasks.recognition import carried
from speechrnn.tasks.recognition.joint import ctc_logits, encodes, transduces
from speechrnn.tasks.recognition.options import RecognitionOptions
from speechrnn.tasks.recognition.transcript import Alternative, Transcript, Word, joined, spell
from speechrnn.text import Phones

if TYPE_CHECKING:
    from speechrnn.decoding.beam import Hypothesis
    from speechrnn.decoding.options import Decoder
    from speechrnn.metrics.calibration import Calibration
    from speechrnn.models.protocols import Recognizer

_WINDOW_SECONDS = 600.0
"""Audio held at once: enough for batches of equal lengths, 38 MB at 16 kHz."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OneChannel:
    """One channel of an audio file, counted from 0."""

    path: str
    channel: int


Source = str | os.PathLike[str] | Example | OneChannel | IO[bytes]
"""An audio file or a channel of it, an example of a manifest, or a pipe open for reading bytes."""


@options_as_keywords(RecognitionOptions)
def outcomes(  # noqa: D417 - `takes` adds the options
    model: Recognizer | str | os.PathLike[str] | None,
    sources: Iterable[Source],
    *,
    options: RecognitionOptions,
    decoder: Decoder | None = None,
    calibration: Calibration | None = None,
    progress: Callable[[str], None] | None = None,
    on_progress: Callable[[str, float, float], None] | None = None,
    on_words: Callable[[str, Sequence[Word]], None] | None = None,
    window_seconds: float = _WINDOW_SECONDS,
) -> Iterator[Transcript | Fault]:
    """Transcribe recordings, lazily and in the order given: for each its transcript, or why there is none.

    Recordings are gathered for some minutes of audio, sorted by length, recognized in batches, and yielded in their
    own order. One that is longer than `piece_seconds` is recognized in pieces, so memory is bounded and not by the
    recording: it is cut in silence, or else in pieces that overlap and whose outputs are joined where they agree (see
    `speechrnn.decoding.pieces`). Silence is no fault: its text is empty.

    Args:
        model: A recognizer, the path of one, or None for the one that comes with the package.
        sources: Audio files, examples of a manifest (their segment and channel are read), or binary streams (pipes).
        decoder: Turns logits into a path, as `speechrnn.decoding.BeamSearch` does; by default the search that
            the model's file carries, or the best path.
        calibration: Turns the words' confidences into probabilities of their being right.
        progress: Called with the path of each recording once it is done.
        on_progress: Called while a recording is on its way, with its path, the seconds recognized and those it has (0
            where that is not known).
        on_words: Called with its path and the words of it that have become known.
        window_seconds: Audio held at once, and one piece.

    Raises:
        FileNotFoundError, ValueError: There is no such model, an option is out of its range, or alternatives are asked
            of a search that keeps one text only.
    """
    if isinstance(sources, str | os.PathLike | Example | OneChannel):  # whose letters are no paths
        sources = [sources]
    if options.each_channel:
        sources = by_channel(sources, encoding=options.encoding)
    recognizer = open_model(model, "recognizer")
    decode = _WordDecoder(recognizer, decoder or carried.decoder(recognizer), calibration, options.alternatives)
    if isinstance(recognizer.vocabulary, Phones) and decode.decoder is decoding.greedy:
        _log.info("The model writes phones. To write words, it needs a lexicon (--lexicon).")
    waiting: deque[_Recording] = deque()
    window: list[tuple[_Recording, Piece]] = []
    held = 0
    rates: set[int] = set()
    reading = {"encoding": options.encoding, "channel": options.channel}
    for source in sources:
        recording = _Recording(source, _joiner(recognizer), decode)
        waiting.append(recording)
        for piece in _pieces(recording, recognizer.sample_rate, options.piece_seconds, rates, reading):
            window.append((recording, piece))
            held += len(piece.signal)
            if held >= window_seconds * recognizer.sample_rate:
                _recognize_window(recognizer, window, options.batch_seconds, on_words)
                window, held = [], 0
                if on_progress:
                    on_progress(recording.path, recording.samples / recognizer.sample_rate, recording.seconds)
        recording.whole = True
        yield from _finished(waiting, recognizer, progress)
    _recognize_window(recognizer, window, options.batch_seconds, on_words)
    yield from _finished(waiting, recognizer, progress)


def check_alternatives(count: int, decoder: Decoder, model: Recognizer) -> None:
    """Refuse to give alternatives with a decoder that keeps one text.

    Raises:
        ValueError: Some are asked for, and it is such a decoder.
    """
    if count and not isinstance(decoder, Ranking):
        how = "a recognizer with CTC, and this one has none" if encodes(model) else "beam=64 (--beam 64) or a lexicon"
        raise ValueError(
            f"`alternatives` (--alternatives) need a search that keeps several texts: use {how}. "
            f"Received: alternatives={count}, and a search that keeps one."
        )


def by_channel(sources: Iterable[Source], *, encoding: str | None = None) -> Iterator[Source]:
    """Every channel of each file as a source of its own; what is no audio file, or cannot be read, as it is."""
    for source in sources:
        channels = 0
        if isinstance(source, str | os.PathLike) and not audio.is_pipe(source):
            with suppress(OSError, ValueError):  # which reading it will tell
                channels = audio.probe(source, encoding=encoding).channels
        if channels:
            yield from (OneChannel(os.fspath(source), channel) for channel in range(channels))  # type: ignore[arg-type]
        else:
            yield source


def logits_of(
    model: Recognizer,
    examples: Iterable[Example],
    *,
    batch_seconds: float = 120.0,
    faults: Faults,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[Example, np.ndarray]]:
    """Each example that can be read whole, with its logits, in batches of neighbors; nothing is cut.

    Args:
        model: A recognizer.
        examples: From a manifest.
        batch_seconds: Audio recognized at once, padding not counted.
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


@dataclass(eq=False)
class _Recording:
    """One source on its way."""

    source: Source
    joiner: Joiner
    decode: _WordDecoder
    whole: bool = False
    """Everything of it has been read."""
    fault: Fault | None = None
    seconds: float = 0.0
    """What the header says; 0 where that is not known."""
    samples: int = 0
    frames: int = 0
    open_pieces: int = 0
    words: list[Word] = field(default_factory=list)
    alternatives: list[Alternative] = field(default_factory=list)

    @property
    def path(self) -> str:
        if isinstance(self.source, Example | OneChannel):
            return self.source.path
        return os.fspath(self.source) if isinstance(self.source, str | os.PathLike) else "-"

    def fail(self, error: Exception) -> None:
        self.fault = Fault(self.path, kind_of(error), str(error))

    def take(self, stretches: Iterable[tuple[int, np.ndarray]]) -> None:
        """Decode what lies between words; logits that are no numbers fail this recording alone."""
        try:
            for start, logits in stretches:
                words, alternatives = self.decode(logits, start)
                self.words += words
                self.alternatives = joined(self.alternatives, alternatives, self.decode.alternatives)
        except ValueError as error:
            self.fail(ValueError(f"{self.path}: the model gave no usable output. {error}"))


@dataclass(frozen=True)
class _WordDecoder:
    """Logits to words."""

    model: Recognizer
    decoder: Decoder
    calibration: Calibration | None
    alternatives: int = 0

    def __post_init__(self) -> None:
        check_alternatives(self.alternatives, self.decoder, self.model)

    def __call__(self, logits: np.ndarray, start: int) -> tuple[list[Word], list[Alternative]]:
        """Words of logits whose first frame stands at sample `start`, and the likeliest texts if they are wanted."""
        found: Sequence[Hypothesis] = ()
        if self.alternatives and isinstance(self.decoder, Ranking):
            found = self.decoder.n_best(logits, self.alternatives)
            path = self.decoder.path(logits, found[0])
        else:
            path = self.decoder(logits)
        words = spell(
            path,
            self.model.vocabulary,
            frame_period=self.model.frame_period,
            start=start / self.model.sample_rate,
        )
        if self.calibration is not None and words:
            probabilities = self.calibration(np.array([word.confidence for word in words]))
            words = [replace(word, confidence=float(p)) for word, p in zip(words, probabilities, strict=True)]
        return words, [Alternative(" ".join(each.text.split()), each.score) for each in found]


def _joiner(model: Recognizer) -> Joiner:
    frame_samples = max(1, round(model.frame_period * model.sample_rate))
    if transduces(model) or isinstance(model.vocabulary, Phones):  # where words begin is not written
        return Joiner(frame_samples, None)
    logits_of = functools.partial(ctc_logits, model) if encodes(model) else None
    spellings = model.vocabulary.spellings
    begins = np.array([len(spelling) > 1 and spelling[0].isspace() for spelling in spellings])
    space = spellings.index(" ") if " " in spellings else None
    return Joiner(frame_samples, space, begins if begins.any() else None, logits_of=logits_of)


def _pieces(
    recording: _Recording, sample_rate: int, piece_seconds: float, rates: set[int], options: Mapping[str, Any]
) -> Iterator[Piece]:
    """The recording in pieces; when it cannot be read the pieces end and its fault is set."""
    try:
        blocks = _blocks(recording, sample_rate, piece_seconds, rates, options)
        for piece in cut(blocks, sample_rate, piece_seconds, step=recording.joiner.frame_samples):
            recording.samples = piece.start + len(piece.signal)
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


def _blocks(
    recording: _Recording, sample_rate: int, seconds: float, rates: set[int], options: Mapping[str, Any]
) -> Iterator[np.ndarray]:
    """Blocks of the source at `sample_rate`; the first source at each other rate is logged."""
    source = recording.source
    if isinstance(source, OneChannel):
        options, source = {**options, "channel": source.channel}, source.path
    if isinstance(source, Example):
        options = {name: getattr(source, name) for name in ("encoding", "offset", "duration", "channel")}
        source = source.path

    def opened(rate: int, seconds: float) -> None:
        recording.seconds = options.get("duration") or seconds
        if rate != sample_rate and rate not in rates:
            rates.add(rate)
            _log.info(
                "%s is at %d Hz, the model at %d Hz. It is resampled, as are all other files at that rate.",
                recording.path, rate, sample_rate,
            )  # fmt: skip

    return audio.read_blocks(source, block=seconds, sample_rate=sample_rate, opened=opened, **options)


def _recognize_window(
    model: Recognizer,
    window: Sequence[tuple[_Recording, Piece]],
    batch_seconds: float,
    on_words: Callable[[str, Sequence[Word]], None] | None,
) -> None:
    """Logits of the pieces, in batches of about equal lengths, decoded into their recordings."""
    found: dict[Piece, np.ndarray] = {}
    pieces = [piece for recording, piece in window if recording.fault is None]
    for batch in by_length(pieces, lambda piece: len(piece.signal), batch_seconds * model.sample_rate):
        found.update(zip(batch, model.logits([piece.signal for piece in batch]), strict=True))
    for recording, piece in window:  # in reading order
        if piece in found and recording.fault is None:
            recording.frames += len(found[piece])
            known = len(recording.words)
            recording.take(recording.joiner.add(piece, found[piece]))
            if on_words and len(recording.words) > known:
                on_words(recording.path, recording.words[known:])
        recording.open_pieces -= 1


def _finished(
    waiting: deque[_Recording], model: Recognizer, progress: Callable[[str], None] | None
) -> Iterator[Transcript | Fault]:
    """Outcomes of the recordings at the head of the queue that nothing more is to come for."""
    while waiting and waiting[0].whole and not waiting[0].open_pieces:
        recording = waiting.popleft()
        if recording.fault is None:
            recording.take(recording.joiner.finish())
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
    channel = recording.source.channel if isinstance(recording.source, OneChannel) else None
    text, alternatives = " ".join(w.word for w in words), tuple(recording.alternatives)
    return Transcript(recording.path, text, words, duration, channel=channel, alternatives=alternatives)
