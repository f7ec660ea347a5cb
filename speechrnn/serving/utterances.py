"""Streaming recognition of utterances, with endpointing.

The end of an utterance depends on the samples alone, not on the blocks in which they arrive.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import soxr

from speechrnn.tasks.recognition.streaming_base import Update

if TYPE_CHECKING:
    from speechrnn.serving.models import ServedModel
    from speechrnn.tasks.recognition.transcript import Word

_FRAME_SECONDS = 0.02
_ONSET = 3
"""Consecutive loud frames that start speech."""
_RISE = 2.0 * _FRAME_SECONDS
"""Decibels by which the noise floor rises per frame: 2 per second."""
_MAX_SECONDS = 600.0


class Stream(Protocol):
    """Protocol of a stream of one utterance, such as `speechrnn.tasks.recognition.StreamingSession`."""

    def push(self, samples: np.ndarray) -> Update:
        """Process samples; returns new words."""

    def finish(self) -> Update:
        """Finish the utterance; returns the remaining words."""


class BufferedStream:
    """Buffers an utterance and recognizes it at its end, for a model that cannot stream.

    Args:
        served: The recognizer.
    """

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._samples: list[np.ndarray] = []
        self._count = 0

    def push(self, samples: np.ndarray) -> Update:
        """Buffer samples.

        Raises:
            ValueError: The utterance is too long.
        """
        self._count += len(samples)
        if self._count > _MAX_SECONDS * self._served.model.sample_rate:
            raise ValueError(f"An utterance may last at most {_MAX_SECONDS:g} s here. Commit it earlier.")
        self._samples.append(samples)
        return Update("", ())

    def finish(self) -> Update:
        """Recognize them."""
        from speechrnn.faults import Fault
        from speechrnn.tasks.recognition.transcription import outcomes

        if not self._count:
            return Update("", ())
        recording = io.BytesIO(np.concatenate(self._samples).astype("<f4").tobytes())
        (outcome,) = outcomes(
            self._served.shared(),
            [recording],
            encoding=f"f32le@{self._served.model.sample_rate}",
            decoder=self._served.search(()),
        )
        return Update("", () if isinstance(outcome, Fault) else outcome.words)  # a fault means too short for a word


@dataclass(frozen=True)
class Endpointing:
    """When an utterance ends."""

    silence: float = 0.6
    """Seconds of silence after speech."""
    threshold: float = 0.5
    """Loudness of speech: from 0, 6 dB above the noise, to 1, 18 dB above it."""
    long: float = 30.0
    """Seconds after which the utterance ends at the next quiet frame."""
    longest: float = 40.0
    """Maximum length of an utterance in seconds."""

    def __post_init__(self) -> None:
        """Raises: ValueError: A number is out of its range."""
        if not 0.1 <= self.silence <= 10 or not 0 <= self.threshold <= 1:
            raise ValueError(
                "The silence must lie between 0.1 and 10 s, and the threshold between 0 and 1. "
                f"Received: {self.silence:g} and {self.threshold:g}."
            )


@dataclass(frozen=True)
class SpeechEvent:
    """An event during recognition."""

    kind: Literal["started", "words", "stopped", "final"]
    """Speech has started; words are final; the end of the utterance was found; all of its words are final."""
    at: float
    """Seconds from the first sample of the stream."""
    words: tuple[Word, ...] = ()
    """New words, or all words of the utterance for "final"; times are from the first sample of the stream."""


class UtteranceRecognizer:
    """Recognizes a stream of samples utterance by utterance.

    Args:
        begin: Opens a `Stream` for an utterance.
        model_rate: Sample rate of the `Stream` in Hz.
        rate: Sample rate of the input in Hz.
        endpointing: When an utterance ends; without it only by `commit`.
    """

    def __init__(
        self, begin: Callable[[], Stream], model_rate: int, *, rate: float, endpointing: Endpointing | None = None
    ) -> None:
        if not 4000 <= rate <= 192_000:
            raise ValueError(f"A sample rate must lie between 4000 and 192000 Hz. Received: {rate:g}.")
        self._begin, self._rate = begin, model_rate
        self._input_rate = rate
        self._resampler = self._new_resampler()
        self._activity = None if endpointing is None else _VoiceActivity(endpointing, model_rate)
        self._pending = np.zeros(0, np.float32)
        self._position = 0
        self._begin_utterance()

    @property
    def seconds(self) -> float:
        """Seconds processed."""
        return self._position / self._rate

    @property
    def utterance_seconds(self) -> float:
        """Seconds of the utterance so far."""
        return (self._position - self._first + len(self._pending)) / self._rate

    @property
    def text(self) -> str:
        """Text of the utterance so far; its last word may change."""
        return " ".join([*(word.word for word in self._words), *([self._partial] if self._partial else [])])

    def push(self, samples: np.ndarray) -> list[SpeechEvent]:
        """Process float32 `(samples,)`."""
        return list(self._process(samples if self._resampler is None else self._resampler.resample_chunk(samples)))

    def commit(self) -> list[SpeechEvent]:
        """End the utterance now; later samples belong to the next one."""
        events: list[SpeechEvent] = []
        if self._resampler is not None:
            events += self._process(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = self._new_resampler()
        remaining, self._pending = self._pending, self._pending[:0]
        return [*events, *self._push(remaining), *self._finish()]

    def clear(self) -> None:
        """Discard the utterance."""
        self._position += len(self._pending)
        self._pending, self._resampler = self._pending[:0], self._new_resampler()
        self._begin_utterance()

    def _new_resampler(self) -> soxr.ResampleStream | None:
        same = self._input_rate == self._rate
        return None if same else soxr.ResampleStream(self._input_rate, self._rate, 1, dtype="float32")

    def _begin_utterance(self) -> None:
        self._stream = self._begin()
        self._first = self._position
        self._partial = ""
        self._words: list[Word] = []
        if self._activity:
            self._activity.new()

    def _process(self, samples: np.ndarray) -> Iterator[SpeechEvent]:
        if self._activity is None:
            yield from self._push(samples)
            return
        self._pending = np.concatenate([self._pending, samples])
        complete = len(self._pending) // self._activity.frame * self._activity.frame
        block, self._pending = self._pending[:complete], self._pending[complete:]
        start, frame, done = self._position, self._activity.frame, 0
        for end, change in enumerate(self._activity.changes(block), 1):
            if change == "started":
                yield SpeechEvent("started", max(self._first, start + (end - _ONSET) * frame) / self._rate)
            elif change == "stopped":
                yield from self._push(block[done : end * frame])
                done = end * frame
                yield SpeechEvent("stopped", self.seconds)
                yield from self._finish()
        yield from self._push(block[done:])

    def _push(self, samples: np.ndarray) -> Iterator[SpeechEvent]:
        self._position += len(samples)
        return self._word_events(self._stream.push(samples)) if len(samples) else iter(())

    def _finish(self) -> Iterator[SpeechEvent]:
        yield from self._word_events(self._stream.finish())
        yield SpeechEvent("final", self.seconds, tuple(self._words))
        self._begin_utterance()

    def _word_events(self, update: Update) -> Iterator[SpeechEvent]:
        self._partial = update.partial
        if update.words:
            offset = self._first / self._rate
            words = [replace(word, start=word.start + offset, end=word.end + offset) for word in update.words]
            self._words += words
            yield SpeechEvent("words", self.seconds, tuple(words))


class _VoiceActivity:
    """Detects voice activity by power above a noise floor, which follows the quietest frames.

    Args:
        endpointing: When an utterance ends.
        rate: Samples per second.
    """

    def __init__(self, endpointing: Endpointing, rate: int) -> None:
        self.frame = round(_FRAME_SECONDS * rate)
        self._margin = 6 + 12 * endpointing.threshold
        self._min_level = -65 + 20 * endpointing.threshold
        limits = endpointing.silence, endpointing.long, endpointing.longest
        self._silence, self._long, self._longest = (math.ceil(seconds / _FRAME_SECONDS) for seconds in limits)
        self._floor = -40.0
        self.new()

    def new(self) -> None:
        """Begin an utterance."""
        self._speaking, self._loud, self._quiet, self._frames = False, 0, 0, 0

    def changes(self, samples: np.ndarray) -> Iterator[Literal["started", "stopped"] | None]:
        """Yield the change at each frame of samples `(frames * frame,)`."""
        power = np.square(samples.reshape(-1, self.frame), dtype=np.float64).mean(axis=1)
        for level in (10 * np.log10(power + 1e-12)).tolist():
            loud = level > max(self._min_level, self._floor + self._margin)
            self._floor = min(level, self._floor + _RISE)
            self._loud, self._quiet = (self._loud + 1, 0) if loud else (0, self._quiet + 1)
            self._frames += 1
            if not self._speaking:
                if self._loud >= _ONSET:
                    self._speaking = True
                    yield "started"
                    continue
            elif (
                self._quiet >= self._silence
                or (self._frames >= self._long and not loud)
                or self._frames >= self._longest
            ):
                yield "stopped"
                continue
            yield None
