"""Spot keywords in a stream with a classifier of short sounds that runs on sliding windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

import numpy as np

from speechrnn import audio
from speechrnn.faults import Fault, options_as_keywords
from speechrnn.models.answers import answer_each
from speechrnn.models.protocols import Classifier
from speechrnn.tasks.classification.options import SpottingOptions

_AT_ONCE = 64
"""Windows that are classified in one batch."""


@dataclass(frozen=True)
class Spotted:
    """A detected keyword."""

    label: str
    start: float
    """Seconds from the start of the stream to that of the window that settled it."""
    end: float
    """The end of that window: the earliest moment at which it could be known."""
    probability: float
    """Mean over the windows judged."""


class Spotter:
    """Finds keywords in a stream of mono audio, of which any number of samples is pushed at a time.

    A class is found when its mean probability over the last `smooth` windows is the highest and reaches `threshold`,
    unless a keyword was found less than `debounce` seconds before. What is found does not depend on how the stream is
    cut into blocks.

    Args:
        model: A classifier of sounds that gives one class for each, from `.keras`, `.onnx` or `.tflite`.
        options: How to find them.

    Raises:
        ValueError: The model classifies sensors, texts or frames, or all of its classes are `others`.
    """

    def __init__(self, model: Classifier, options: SpottingOptions | None = None) -> None:
        if model.channels is not None or model.tokens is not None or model.per_frame:
            raise ValueError("A spotter needs a classifier of sounds with one class each. Received: another kind.")
        self.options = options or SpottingOptions()
        self._model = model
        rate = model.sample_rate
        self._window, self._hop = (
            max(1, round(s * rate)) for s in (self.options.window_seconds, self.options.hop_seconds)
        )
        self._decision = _Decision(model.classes, self.options)
        self._left = np.zeros(0, np.float32)
        self._new = 0
        self.probabilities: list[np.ndarray] = []
        """Of every window so far, float32 `(classes,)` each."""

    def push(self, signal: np.ndarray) -> list[Spotted]:
        """Process the next samples.

        Args:
            signal: float32 `(samples,)` at the model's rate.

        Returns:
            The keywords found in it, in order.
        """
        signal = np.asarray(signal, np.float32)
        if signal.ndim != 1:
            raise ValueError(f"A stream must be mono, `(samples,)`. Received: shape {signal.shape}.")
        self._left = np.concatenate([self._left, signal])
        self._new += len(signal)
        count = max(0, 1 + (len(self._left) - self._window) // self._hop)
        if not count:
            return []
        starts = range(0, count * self._hop, self._hop)
        spotted = self._classified([self._left[start : start + self._window] for start in starts])
        self._new = len(self._left) - (starts[-1] + self._window)
        self._left = self._left[count * self._hop :]
        return spotted

    def finish(self) -> list[Spotted]:
        """End the stream: the remaining samples are processed in a last window, padded with silence."""
        if self._new <= 0:
            return []
        self._new = 0
        return self._classified([np.pad(self._left, (0, self._window - len(self._left)))])

    def _classified(self, windows: Sequence[np.ndarray]) -> list[Spotted]:
        result = []
        for first in range(0, len(windows), _AT_ONCE):
            for row in self._model.probabilities(windows[first : first + _AT_ONCE]):
                self.probabilities.append(row)
                if (spotted := self._decision.step(row)) is not None:
                    result.append(spotted)
        return result


@options_as_keywords(SpottingOptions)
def spot(  # noqa: D417 - the decorator adds the options
    model: Classifier,
    sources: Iterable[str | IO[bytes]],
    *,
    options: SpottingOptions,
    progress: Callable[[object], object] | None = None,
) -> Iterator[list[Spotted] | Fault]:
    """Spot the keywords of recordings lazily, and yield a list or a `Fault` for each, in order.

    Args:
        model: See `Spotter`.
        sources: Audio files, or pipes; they are read in blocks.
        progress: Called with each source once it is done.
    """
    Spotter(model, options)  # which refuses a model that cannot

    def of(source: str | IO[bytes]) -> list[Spotted]:
        spotter, blocks = Spotter(model, options), audio.read_blocks(source, sample_rate=int(model.sample_rate))
        return [one for block in blocks for one in spotter.push(block)] + spotter.finish()

    yield from answer_each(sources, of, progress, where=lambda source: source if isinstance(source, str) else "-")


def decided(probabilities: Iterable[np.ndarray], classes: Sequence[str], options: SpottingOptions) -> list[Spotted]:
    """The keywords that a `Spotter` would find, had its windows these probabilities `(windows, classes)`."""
    decision = _Decision(classes, options)
    return [found for row in probabilities if (found := decision.step(row)) is not None]


class _Decision:
    """Decides from the probabilities of windows whether there is a keyword."""

    def __init__(self, classes: Sequence[str], options: SpottingOptions) -> None:
        self._keywords = [k for k, name in enumerate(classes) if name not in options.others]
        if not self._keywords:
            raise ValueError(f"Some class must be a keyword. Received: {', '.join(classes)}, all of them `others`.")
        self._classes, self._options = classes, options
        self._last: deque[np.ndarray] = deque(maxlen=options.smooth)
        self._windows = 0
        self._quiet_until = 0.0

    def step(self, probabilities: np.ndarray) -> Spotted | None:
        self._last.append(probabilities)
        start = self._windows * self._options.hop_seconds
        end = start + self._options.window_seconds
        self._windows += 1
        mean = np.mean(self._last, axis=0)
        best = int(mean.argmax())
        if best not in self._keywords or mean[best] < self._options.threshold or end < self._quiet_until:
            return None
        self._quiet_until = end + self._options.debounce
        return Spotted(self._classes[best], start, end, float(mean[best]))


# How well it does


@dataclass(frozen=True)
class Said:
    """A keyword in the reference."""

    label: str
    start: float
    """Seconds from the start of the stream."""
    end: float


@dataclass(frozen=True)
class Spotting:
    """Counts of hits and false alarms in a stream; the sum of two is that of both streams."""

    said: int
    """Keywords that were said."""
    found: int
    """Of these, found."""
    false: int
    """False alarms: what was found where it was not said, or again."""
    hours: float
    """Length of the streams."""

    @property
    def missed(self) -> float:
        """Share of the keywords said that were not found."""
        return 1 - self.found / self.said if self.said else float("nan")

    @property
    def false_per_hour(self) -> float:
        """False alarms per hour."""
        return self.false / self.hours

    def __add__(self, other: Spotting) -> Spotting:
        """Both together."""
        return Spotting(
            self.said + other.said, self.found + other.found, self.false + other.false, self.hours + other.hours
        )


def count_spotted(
    spotted: Sequence[Spotted], said: Sequence[Said], seconds: float, *, tolerance: float = 0.5
) -> Spotting:
    """Compare what was found in a stream with what was said.

    Each detection finds the first word of its label that is not found yet and lies, in time, around the middle of the
    detection's window; every other detection is a false alarm.

    Args:
        spotted: What was found, in order.
        said: The keywords that were said, in order.
        seconds: Length of the stream.
        tolerance: Seconds by which the middle of the window may miss the word.
    """
    remaining, found = list(said), 0
    for one in spotted:
        middle = (one.start + one.end) / 2
        near = (s for s in remaining if s.label == one.label and s.start - tolerance <= middle <= s.end + tolerance)
        if (match := next(near, None)) is not None:
            remaining.remove(match)
            found += 1
    return Spotting(len(said), found, len(spotted) - found, seconds / 3600)


def operating_points(
    probabilities: Sequence[np.ndarray],
    said: Sequence[Said],
    seconds: float,
    classes: Sequence[str],
    *,
    options: SpottingOptions | None = None,
    thresholds: Sequence[float] = tuple(np.round(np.arange(0.3, 1.0, 0.01), 2).tolist()),
) -> dict[float, Spotting]:
    """Misses and false alarms of a stream by threshold.

    Args:
        probabilities: Of the stream's windows, as a `Spotter` keeps them.
        said: The keywords that were said.
        seconds: Length of the stream.
        classes: Of the model.
        options: How they are found; its threshold is not used.
        thresholds: What to try.
    """
    options = options or SpottingOptions()
    return {
        threshold: count_spotted(decided(probabilities, classes, replace(options, threshold=threshold)), said, seconds)
        for threshold in thresholds
    }


def best_threshold(points: Mapping[float, Spotting], false_per_hour: float) -> float:
    """The threshold of the fewest misses with no more than so many false alarms per hour.

    If none is so strict, it is the one of the fewest false alarms; of equal ones it is the highest.
    """
    allowed = {t: point for t, point in points.items() if point.false_per_hour <= false_per_hour}
    if allowed:
        return max(allowed, key=lambda t: (allowed[t].found, t))
    return min(points, key=lambda t: (points[t].false, -t))


def spoken_stream(
    words: Iterable[tuple[np.ndarray, str]],
    noise: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    *,
    gap: tuple[float, float] = (0.5, 3.0),
    snr_db: tuple[float, float] = (5.0, 20.0),
    others: Sequence[str] = SpottingOptions.others,
) -> tuple[np.ndarray, list[Said]]:
    """A stream of words in noise, and when the keywords among them are said.

    Args:
        words: Recordings float32 `(samples,)` of one word each, with its label, in the order in which they are said.
        noise: float32 `(samples,)`, not silent; repeated over the whole stream at one level.
        rate: Samples per second.
        rng: Random numbers.
        gap: Shortest and longest pause before a word, and at the end, in seconds.
        snr_db: Lowest and highest ratio of a word to the noise under it.
        others: Labels that are no keywords.

    Returns:
        The stream, float32 `(samples,)`, and the keywords in order.
    """
    level = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    if not level > 0:
        raise ValueError("The noise of a stream must not be silent.")
    parts, said, position = [], [], 0
    for signal, label in words:
        quiet = round(rng.uniform(*gap) * rate)
        word_level = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) or 1.0
        ratio = 10 ** (rng.uniform(*snr_db) / 20) * level / word_level
        parts += [np.zeros(quiet, np.float32), np.float32(ratio) * signal]
        start, position = position + quiet, position + quiet + len(signal)
        if label not in others:
            said.append(Said(label, start / rate, position / rate))
    parts.append(np.zeros(round(rng.uniform(*gap) * rate), np.float32))
    stream = np.concatenate(parts)
    stream += np.resize(noise, len(stream))
    return (0.9 / max(float(np.abs(stream).max()), 1e-9) * stream).astype(np.float32), said
