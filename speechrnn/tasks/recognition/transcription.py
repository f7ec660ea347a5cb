"""Transcribe recordings of any length to words with times; a file that fails does not stop the others."""

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

from speechrnn import audio
from speechrnn.data.examples import read_whole
from speechrnn.data.manifest import Example
from speechrnn.decoding.beam import Ranking
from speechrnn.decoding.pieces import Joiner, Piece, cut
from speechrnn.faults import Fault, Faults, kind_of, options_as_keywords
from speechrnn.models.loading import open_model
from speechrnn.runtime.batches import by_length
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.model_types import ctc_logits, has_encoder, is_transducer
from speechrnn.tasks.recognition.options import RecognitionOptions
from speechrnn.tasks.recognition.transcript import Alternative, Transcript, Word, join_alternatives, spell
from speechrnn.text import Phones

if TYPE_CHECKING:
    from speechrnn.decoding.beam import Hypothesis
    from speechrnn.decoding.options import Decoder
    from speechrnn.metrics.calibration import Calibration
    from speechrnn.models.protocols import Recognizer

_WINDOW_SECONDS = 600.0
"""Audio in memory at once: enough for batches of similar lengths, 38 MB at 16 kHz."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OneChannel:
    """One channel of an audio file, counted from 0."""

    path: str
    channel: int


Source = str | os.PathLike[str] | Example | OneChannel | IO[bytes]
"""An audio file or a channel of it, an example of a manifest, or a pipe open for reading bytes."""


@options_as_keywords(RecognitionOptions)
def outcomes(  # noqa: D417 - the decorator adds the options
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
    """Transcribe recordings lazily, and yield a transcript or a `Fault` for each, in order.

    Some minutes of recordings at a time are sorted by length and recognized in batches. One that is longer than
    `piece_seconds` is recognized in pieces, so that memory does not depend on its length: it is cut in silence, or else
    into overlapping pieces whose outputs are joined where they agree (see `speechrnn.decoding.pieces`). Silence is not
    a fault: its text is empty.

    Args:
        model: A recognizer, its path, or None for the included one.
        sources: Audio files, examples of a manifest (their segment and channel are read), or binary streams (pipes).
        decoder: Decodes logits, like `speechrnn.decoding.BeamSearch`; by default the search attached to the model's
            file, or the best path.
        calibration: Converts the words' confidences to probabilities that they are right.
        progress: Called with the path of each recording once it is done.
        on_progress: Called while a recording is processed, with its path, the seconds done and the seconds in total (0
            if not known).
        on_words: Called with a path and its next words.
        window_seconds: Audio in memory at once, besides one piece.

    Raises:
        FileNotFoundError, ValueError: The model does not exist, an option is out of its range, or alternatives are
            requested from a search that keeps one text only.
    """
    if isinstance(sources, str | os.PathLike | Example | OneChannel):  # a string is not a sequence of paths here
        sources = [sources]
    if options.each_channel:
        sources = by_channel(sources, encoding=options.encoding)
    recognizer = open_model(model, "recognizer")
    decode = _WordDecoder(recognizer, decoder or attachments.decoder(recognizer), calibration, options.alternatives)
    attachments.log_phones(recognizer.vocabulary, decode.decoder)
    recordings: deque[_Recording] = deque()
    window: list[tuple[_Recording, Piece]] = []
    buffered = 0
    rates: set[int] = set()
    read_options = {"encoding": options.encoding, "channel": options.channel}
    for source in sources:
        recording = _Recording(source, _joiner(recognizer), decode)
        recordings.append(recording)
        for piece in _pieces(recording, recognizer.sample_rate, options.piece_seconds, rates, read_options):
            window.append((recording, piece))
            buffered += len(piece.signal)
            if buffered >= window_seconds * recognizer.sample_rate:
                _recognize_window(recognizer, window, options.batch_seconds, on_words)
                window, buffered = [], 0
                if on_progress:
                    on_progress(recording.path, recording.samples / recognizer.sample_rate, recording.seconds)
        recording.complete = True
        yield from _completed(recordings, recognizer, progress)
    _recognize_window(recognizer, window, options.batch_seconds, on_words)
    yield from _completed(recordings, recognizer, progress)


def check_alternatives(count: int, decoder: Decoder, model: Recognizer) -> None:
    """Refuse a number of alternatives if the decoder keeps only one text.

    Raises:
        ValueError: Alternatives are requested from such a decoder.
    """
    if count and not isinstance(decoder, Ranking):
        needed = (
            "a recognizer with CTC, and this one has none" if has_encoder(model) else "beam=64 (--beam 64) or a lexicon"
        )
        raise ValueError(
            f"`alternatives` (--alternatives) need a search that keeps several texts: use {needed}. "
            f"Received: alternatives={count}, and a search that keeps one."
        )


def by_channel(sources: Iterable[Source], *, encoding: str | None = None) -> Iterator[Source]:
    """Yield each channel of each audio file as a source; other sources, and files that cannot be read, unchanged."""
    for source in sources:
        channels = 0
        if isinstance(source, str | os.PathLike) and not audio.is_pipe(source):
            with suppress(OSError, ValueError):  # reported when the file is read
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
    """Yield each example with its logits, computed in batches of neighbors; long recordings are not cut.

    Args:
        model: A recognizer.
        examples: Examples of a manifest.
        batch_seconds: Audio per batch, without padding.
        faults: Collects the examples that cannot be read.
        progress: Called with the path of each example once it is done.
    """
    batch: list[tuple[Example, np.ndarray]] = []

    def run() -> Iterator[tuple[Example, np.ndarray]]:
        for (example, _), logits in zip(batch, model.logits([signal for _, signal in batch]), strict=True):
            if progress:
                progress(example.path)
            yield example, logits

    for example in examples:
        try:
            signal = read_whole(example, model.sample_rate)
        except (OSError, ValueError) as error:
            faults.add_error(example.path, error)
            continue
        if batch and sum(len(s) for _, s in batch) + len(signal) > batch_seconds * model.sample_rate:
            yield from run()
            batch = []
        batch.append((example, signal))
    if batch:
        yield from run()


@dataclass(eq=False)
class _Recording:
    """The state of one source while it is transcribed."""

    source: Source
    joiner: Joiner
    decode: _WordDecoder
    complete: bool = False
    """Whether it has been read to its end."""
    fault: Fault | None = None
    seconds: float = 0.0
    """Duration in the header; 0 if not known."""
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

    def add(self, segments: Iterable[tuple[int, np.ndarray]]) -> None:
        """Decode segments that begin at word boundaries; logits that are NaN fail this recording only."""
        try:
            for start, logits in segments:
                words, alternatives = self.decode(logits, start)
                self.words += words
                self.alternatives = join_alternatives(self.alternatives, alternatives, self.decode.alternatives)
        except ValueError as error:
            self.fail(ValueError(f"{self.path}: the model gave no usable output. {error}"))


@dataclass(frozen=True)
class _WordDecoder:
    """Decodes logits to words."""

    model: Recognizer
    decoder: Decoder
    calibration: Calibration | None
    alternatives: int = 0

    def __post_init__(self) -> None:
        check_alternatives(self.alternatives, self.decoder, self.model)

    def __call__(self, logits: np.ndarray, start: int) -> tuple[list[Word], list[Alternative]]:
        """The words of logits whose first frame is at sample `start`, and the likeliest texts if requested."""
        hypotheses: Sequence[Hypothesis] = ()
        if self.alternatives and isinstance(self.decoder, Ranking):
            hypotheses = self.decoder.n_best(logits, self.alternatives)
            path = self.decoder.path(logits, hypotheses[0])
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
        return words, [Alternative(" ".join(each.text.split()), each.score) for each in hypotheses]


def _joiner(model: Recognizer) -> Joiner:
    frame_samples = max(1, round(model.frame_period * model.sample_rate))
    if is_transducer(model) or isinstance(model.vocabulary, Phones):  # the symbols do not show where words begin
        return Joiner(frame_samples, None)
    logits_of = functools.partial(ctc_logits, model) if has_encoder(model) else None
    spellings = model.vocabulary.spellings
    begins = np.array([len(spelling) > 1 and spelling[0].isspace() for spelling in spellings])
    space = spellings.index(" ") if " " in spellings else None
    return Joiner(frame_samples, space, begins if begins.any() else None, logits_of=logits_of)


def _pieces(
    recording: _Recording, sample_rate: int, piece_seconds: float, rates: set[int], options: Mapping[str, Any]
) -> Iterator[Piece]:
    """Cut a recording into pieces; if it cannot be read, the pieces end and its fault is set."""
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
    """Read blocks of the source at `sample_rate`; the first source at each other rate is logged."""
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
    """Compute the logits of pieces, in batches of similar lengths, and decode them into their recordings."""
    logits: dict[Piece, np.ndarray] = {}
    pieces = [piece for recording, piece in window if recording.fault is None]
    for batch in by_length(pieces, lambda piece: len(piece.signal), batch_seconds * model.sample_rate):
        logits.update(zip(batch, model.logits([piece.signal for piece in batch]), strict=True))
    for recording, piece in window:  # in reading order
        if piece in logits and recording.fault is None:
            recording.frames += len(logits[piece])
            before = len(recording.words)
            recording.add(recording.joiner.add(piece, logits[piece]))
            if on_words and len(recording.words) > before:
                on_words(recording.path, recording.words[before:])
        recording.open_pieces -= 1


def _completed(
    recordings: deque[_Recording], model: Recognizer, progress: Callable[[str], None] | None
) -> Iterator[Transcript | Fault]:
    """Yield the outcomes of the completed recordings at the head of the queue."""
    while recordings and recordings[0].complete and not recordings[0].open_pieces:
        recording = recordings.popleft()
        if recording.fault is None:
            recording.add(recording.joiner.finish())
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
