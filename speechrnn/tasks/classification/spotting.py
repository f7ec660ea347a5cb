"""Spot keywords in a stream: a classifier of short sounds runs on sliding windows."""

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

_BATCH_SIZE = 64
"""Number of windows that are classified at once."""


@dataclass(frozen=True)
class Spotted:
    """A detected keyword."""

    label: str
    start: float
    """Start of the window in which it was detected, in seconds from the start of the stream."""
    end: float
    """End of that window: the earliest time at which it could be detected."""
    probability: float
    """Mean probability over the last `smooth` windows."""


class Spotter:
    """Finds keywords in a stream of mono audio that is pushed in blocks of any length.

    A keyword is detected if the mean probability of its class over the last `smooth` windows is the highest and reaches
    `threshold`, unless another one was detected less than `debounce` seconds before. The length of the blocks does not
    change the result.

    Args:
        model: A classifier of sounds with one class per sound, from `.keras`, `.onnx` or `.tflite`.
        options: Windows, threshold and labels that are not keywords.

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
        self._buffer = np.zeros(0, np.float32)
        self._unclassified = 0
        self.probabilities: list[np.ndarray] = []
        """Probabilities of every window so far, float32 `(classes,)` each."""

    def push(self, signal: np.ndarray) -> list[Spotted]:
        """Process the next samples.

        Args:
            signal: float32 `(samples,)` at the model's sample rate.

        Returns:
            The keywords detected in them, in order.
        """
        signal = np.asarray(signal, np.float32)
        if signal.ndim != 1:
            raise ValueError(f"A stream must be mono, `(samples,)`. Received: shape {signal.shape}.")
        self._buffer = np.concatenate([self._buffer, signal])
        self._unclassified += len(signal)
        count = max(0, 1 + (len(self._buffer) - self._window) // self._hop)
        if not count:
            return []
        starts = range(0, count * self._hop, self._hop)
        spotted = self._process([self._buffer[start : start + self._window] for start in starts])
        self._unclassified = len(self._buffer) - (starts[-1] + self._window)
        self._buffer = self._buffer[count * self._hop :]
        return spotted

    def finish(self) -> list[Spotted]:
        """End the stream: process the remaining samples in a last window, padded with silence."""
        if self._unclassified <= 0:
            return []
        self._unclassified = 0
        return self._process([np.pad(self._buffer, (0, self._window - len(self._buffer)))])

    def _process(self, windows: Sequence[np.ndarray]) -> list[Spotted]:
        keywords = []
        for first in range(0, len(windows), _BATCH_SIZE):
            for row in self._model.probabilities(windows[first : first + _BATCH_SIZE]):
                self.probabilities.append(row)
                if (spotted := self._decision.step(row)) is not None:
                    keywords.append(spotted)
        return keywords


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
    Spotter(model, options)  # an unsuitable model fails here, and not once per source

    def spot_one(source: str | IO[bytes]) -> list[Spotted]:
        spotter, blocks = Spotter(model, options), audio.read_blocks(source, sample_rate=int(model.sample_rate))
        return [one for block in blocks for one in spotter.push(block)] + spotter.finish()

    yield from answer_each(sources, spot_one, progress, where=lambda source: source if isinstance(source, str) else "-")


def decided(probabilities: Iterable[np.ndarray], classes: Sequence[str], options: SpottingOptions) -> list[Spotted]:
    """The keywords that a `Spotter` detects if its windows have these probabilities, `(windows, classes)`."""
    decision = _Decision(classes, options)
    return [spotted for row in probabilities if (spotted := decision.step(row)) is not None]


class _Decision:
    """Detects keywords by the probabilities of successive windows."""

    def __init__(self, classes: Sequence[str], options: SpottingOptions) -> None:
        self._keywords = [k for k, name in enumerate(classes) if name not in options.others]
        if not self._keywords:
            raise ValueError(f"Some class must be a keyword. Received: {', '.join(classes)}, all of them `others`.")
        self._classes, self._options = classes, options
        self._last: deque[np.ndarray] = deque(maxlen=options.smooth)
        self._windows = 0
        self._debounced_until = 0.0

    def step(self, probabilities: np.ndarray) -> Spotted | None:
        self._last.append(probabilities)
        start = self._windows * self._options.hop_seconds
        end = start + self._options.window_seconds
        self._windows += 1
        mean = np.mean(self._last, axis=0)
        best = int(mean.argmax())
        if best not in self._keywords or mean[best] < self._options.threshold or end < self._debounced_until:
            return None
        self._debounced_until = end + self._options.debounce
        return Spotted(self._classes[best], start, end, float(mean[best]))


# Evaluation


@dataclass(frozen=True)
class Said:
    """A keyword in the reference."""

    label: str
    start: float
    """Seconds from the start of the stream."""
    end: float


@dataclass(frozen=True)
class Spotting:
    """Counts of hits and false alarms in a stream; adding two gives the counts of both streams."""

    said: int
    """Number of keywords in the reference."""
    found: int
    """Number of these that were detected."""
    false: int
    """False alarms: detections without a keyword in the reference, and repeated detections of one keyword."""
    hours: float
    """Duration of the streams."""

    @property
    def missed(self) -> float:
        """Miss rate: share of the reference's keywords that were not detected; NaN without keywords."""
        return 1 - self.found / self.said if self.said else float("nan")

    @property
    def false_per_hour(self) -> float:
        """False alarms per hour."""
        return self.false / self.hours

    def __add__(self, other: Spotting) -> Spotting:
        """The counts of both streams."""
        return Spotting(
            self.said + other.said, self.found + other.found, self.false + other.false, self.hours + other.hours
        )


def count_spotted(
    spotted: Sequence[Spotted], said: Sequence[Said], seconds: float, *, tolerance: float = 0.5
) -> Spotting:
    """Count hits and false alarms: compares the keywords detected in a stream with the reference.

    A detection is matched with the first keyword of its label that is not matched yet and contains the middle of the
    detection's window; a detection without a match is a false alarm.

    Args:
        spotted: The detected keywords, in order.
        said: The keywords in the reference, in order.
        seconds: Duration of the stream.
        tolerance: Seconds by which the middle of the window may lie outside the keyword.
    """
    unmatched, hits = list(said), 0
    for one in spotted:
        middle = (one.start + one.end) / 2
        near = (s for s in unmatched if s.label == one.label and s.start - tolerance <= middle <= s.end + tolerance)
        if (match := next(near, None)) is not None:
            unmatched.remove(match)
            hits += 1
    return Spotting(len(said), hits, len(spotted) - hits, seconds / 3600)


def operating_points(
    probabilities: Sequence[np.ndarray],
    said: Sequence[Said],
    seconds: float,
    classes: Sequence[str],
    *,
    options: SpottingOptions | None = None,
    thresholds: Sequence[float] = tuple(np.round(np.arange(0.3, 1.0, 0.01), 2).tolist()),
) -> dict[float, Spotting]:
    """Count hits and false alarms of a stream for each threshold.

    Args:
        probabilities: Probabilities of the stream's windows, see `Spotter.probabilities`.
        said: The keywords in the reference, in order.
        seconds: Duration of the stream.
        classes: The model's classes.
        options: Options of detection; their threshold is not used.
        thresholds: Thresholds to try.
    """
    options = options or SpottingOptions()
    return {
        threshold: count_spotted(decided(probabilities, classes, replace(options, threshold=threshold)), said, seconds)
        for threshold in thresholds
    }


def best_threshold(points: Mapping[float, Spotting], false_per_hour: float) -> float:
    """The threshold with the fewest misses among those with at most `false_per_hour` false alarms per hour.

    If all have more, the threshold with the fewest false alarms. Of equal thresholds the highest is taken.
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
    """Make a test stream of words in noise, and its reference.

    Args:
        words: Recordings of one word each, float32 `(samples,)`, with their labels, in the order of the stream.
        noise: float32 `(samples,)`, not silent; repeated over the whole stream at one level.
        rate: Samples per second.
        rng: Random numbers.
        gap: Shortest and longest pause before each word and at the end, in seconds.
        snr_db: Lowest and highest signal-to-noise ratio of a word, in decibels.
        others: Labels that are not keywords.

    Returns:
        The stream, float32 `(samples,)`, and its keywords in order.
    """
    noise_level = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    if not noise_level > 0:
        raise ValueError("The noise of a stream must not be silent.")
    parts, said, position = [], [], 0
    for signal, label in words:
        pause = round(rng.uniform(*gap) * rate)
        word_level = float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) or 1.0
        gain = 10 ** (rng.uniform(*snr_db) / 20) * noise_level / word_level
        parts += [np.zeros(pause, np.float32), np.float32(gain) * signal]
        start, position = position + pause, position + pause + len(signal)
        if label not in others:
            said.append(Said(label, start / rate, position / rate))
    parts.append(np.zeros(round(rng.uniform(*gap) * rate), np.float32))
    stream = np.concatenate(parts)
    stream += np.resize(noise, len(stream))
    return (0.9 / max(float(np.abs(stream).max()), 1e-9) * stream).astype(np.float32), said
