"""Speech as it comes: samples in any portions in, words out, utterance by utterance.

Where an utterance ends depends on the samples alone, and not on the portions in which they come.
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
    from speechrnn.serving.models import Served
    from speechrnn.tasks.recognition.transcript import Word

_FRAME_SECONDS = 0.02
_ONSET = 3
"""Loud frames in a row that begin speech."""
_RISE = 2.0 * _FRAME_SECONDS
"""Decibels by which the floor of noise rises from frame to frame: 2 a second."""
_WHOLE_SECONDS = 600.0


class Stream(Protocol):
    """One utterance on its way; `speechrnn.tasks.recognition.StreamingSession` is one."""

    def push(self, samples: np.ndarray) -> Update:
        """What the next samples have brought."""

    def finish(self) -> Update:
        """What was left."""


class WholeStream:
    """An utterance that is recognized once it is over, for a model that cannot stream.

    Args:
        served: The recognizer.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._samples: list[np.ndarray] = []
        self._held = 0

    def push(self, samples: np.ndarray) -> Update:
        """Keep the samples.

        Raises:
            ValueError: They are too many.
        """
        self._held += len(samples)
        if self._held > _WHOLE_SECONDS * self._served.model.sample_rate:
            raise ValueError(f"An utterance may last at most {_WHOLE_SECONDS:g} s here. Commit it earlier.")
        self._samples.append(samples)
        return Update("", ())

    def finish(self) -> Update:
        """Recognize them."""
        from speechrnn.faults import Fault
        from speechrnn.tasks.recognition.transcription import outcomes

        if not self._held:
            return Update("", ())
        whole = io.BytesIO(np.concatenate(self._samples).astype("<f4").tobytes())
        (found,) = outcomes(
            self._served.shared(),
            [whole],
            encoding=f"f32le@{self._served.model.sample_rate}",
            decoder=self._served.search(()),
        )
        return Update("", () if isinstance(found, Fault) else found.words)  # too short for a word


@dataclass(frozen=True)
class Pauses:
    """What ends an utterance."""

    silence: float = 0.6
    """Seconds of silence after speech."""
    threshold: float = 0.5
    """How loud speech is: from 0, 6 dB above the noise, to 1, 18 dB above it."""
    long: float = 30.0
    """Seconds after which the first quiet moment is an end."""
    longest: float = 40.0
    """Seconds after which it ends anyway."""

    def __post_init__(self) -> None:
        """Raises: ValueError: A number is out of its range."""
        if not 0.1 <= self.silence <= 10 or not 0 <= self.threshold <= 1:
            raise ValueError(
                "The silence must lie between 0.1 and 10 s, and the threshold between 0 and 1. "
                f"Received: {self.silence:g} and {self.threshold:g}."
            )


@dataclass(frozen=True)
class Heard:
    """Something that happened while listening."""

    kind: Literal["started", "words", "stopped", "final"]
    """Speech begins; words of the utterance are certain; its end is found; all of its words are certain."""
    at: float
    """Seconds from the first sample of all."""
    words: tuple[Word, ...] = ()
    """The new ones, or of "final" all of the utterance; times are from the first sample of all."""


class Ear:
    """Listens to samples at one rate, and says what is said.

    Args:
        begin: Opens a stream for an utterance.
        model_rate: Samples per second that it takes.
        rate: Samples per second that come.
        pauses: What ends an utterance; without it only `commit` does.
    """

    def __init__(
        self, begin: Callable[[], Stream], *, model_rate: int, rate: float, pauses: Pauses | None = None
    ) -> None:
        if not 4000 <= rate <= 192_000:
            raise ValueError(f"A sample rate must lie between 4000 and 192000 Hz. Received: {rate:g}.")
        self._begin, self._rate = begin, model_rate
        self._given = rate
        self._resampler = self._new_resampler()
        self._voice = None if pauses is None else _Voice(pauses, model_rate)
        self._waiting = np.zeros(0, np.float32)
        self._position = 0
        self._new()

    @property
    def seconds(self) -> float:
        """How much was listened to."""
        return self._position / self._rate

    @property
    def held(self) -> float:
        """Seconds of the utterance so far."""
        return (self._position - self._first + len(self._waiting)) / self._rate

    @property
    def text(self) -> str:
        """The utterance so far; its last word may change."""
        return " ".join([*(word.word for word in self._words), *([self._partial] if self._partial else [])])

    def push(self, samples: np.ndarray) -> list[Heard]:
        """Listen to float32 `(samples,)`."""
        return list(self._hear(samples if self._resampler is None else self._resampler.resample_chunk(samples)))

    def commit(self) -> list[Heard]:
        """End the utterance, whatever was said; what follows is the beginning of another one."""
        heard: list[Heard] = []
        if self._resampler is not None:
            heard += self._hear(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = self._new_resampler()
        left, self._waiting = self._waiting, self._waiting[:0]
        return [*heard, *self._take(left), *self._ended()]

    def clear(self) -> None:
        """Forget the utterance."""
        self._position += len(self._waiting)
        self._waiting, self._resampler = self._waiting[:0], self._new_resampler()
        self._new()

    def _new_resampler(self) -> soxr.ResampleStream | None:
        return None if self._given == self._rate else soxr.ResampleStream(self._given, self._rate, 1, dtype="float32")

    def _new(self) -> None:
        self._stream = self._begin()
        self._first = self._position
        self._partial = ""
        self._words: list[Word] = []
        if self._voice:
            self._voice.new()

    def _hear(self, samples: np.ndarray) -> Iterator[Heard]:
        if self._voice is None:
            yield from self._take(samples)
            return
        self._waiting = np.concatenate([self._waiting, samples])
        whole = len(self._waiting) // self._voice.frame * self._voice.frame
        now, self._waiting = self._waiting[:whole], self._waiting[whole:]
        begun, frame, done = self._position, self._voice.frame, 0
        for end, change in enumerate(self._voice.changes(now), 1):
            if change == "started":
                yield Heard("started", max(self._first, begun + (end - _ONSET) * frame) / self._rate)
            elif change == "stopped":
                yield from self._take(now[done : end * frame])
                done = end * frame
                yield Heard("stopped", self.seconds)
                yield from self._ended()
        yield from self._take(now[done:])

    def _take(self, samples: np.ndarray) -> Iterator[Heard]:
        self._position += len(samples)
        return self._said(self._stream.push(samples)) if len(samples) else iter(())

    def _ended(self) -> Iterator[Heard]:
        yield from self._said(self._stream.finish())
        yield Heard("final", self.seconds, tuple(self._words))
        self._new()

    def _said(self, update: Update) -> Iterator[Heard]:
        self._partial = update.partial
        if update.words:
            offset = self._first / self._rate
            words = [replace(word, start=word.start + offset, end=word.end + offset) for word in update.words]
            self._words += words
            yield Heard("words", self.seconds, tuple(words))


class _Voice:
    """Tells speech from noise by its power, against a floor that follows the quietest of what was heard.

    Args:
        pauses: What ends an utterance.
        rate: Samples per second.
    """

    def __init__(self, pauses: Pauses, rate: int) -> None:
        self.frame = round(_FRAME_SECONDS * rate)
        self._margin = 6 + 12 * pauses.threshold
        self._least = -65 + 20 * pauses.threshold
        self._silence, self._long, self._longest = (
            math.ceil(seconds / _FRAME_SECONDS) for seconds in (pauses.silence, pauses.long, pauses.longest)
        )
        self._floor = -40.0
        self.new()

    def new(self) -> None:
        """An utterance begins."""
        self._speaking, self._loud, self._quiet, self._frames = False, 0, 0, 0

    def changes(self, samples: np.ndarray) -> Iterator[Literal["started", "stopped"] | None]:
        """What changes with each frame of samples `(frames * frame,)`."""
        power = np.square(samples.reshape(-1, self.frame), dtype=np.float64).mean(axis=1)
        for level in (10 * np.log10(power + 1e-12)).tolist():
            loud = level > max(self._least, self._floor + self._margin)
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
