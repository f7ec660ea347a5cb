"""Classify records; a file that fails does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import signals
from speechrnn.data.examples import read_example, read_whole
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, kind_of, options_as_keywords, read_text
from speechrnn.models.answers import Answer, channels_of
from speechrnn.tasks.classification.options import ClassificationOptions

if TYPE_CHECKING:
    from speechrnn.models.protocols import Classifier
    from speechrnn.signals import TableOptions
    from speechrnn.text.tokens import Tokens

Source = str | os.PathLike[str] | Example
"""A file of a signal or of audio, or an example of a manifest; for classifiers of texts, a text or a file's `Path`."""

_BATCHES_AT_ONCE = 8
"""Number of batches that are read together and sorted by length."""

_LIKELY = 0.5
"""Smallest probability of a class that is reported, if several can be true."""


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of one class."""

    label: str
    start: float
    """Seconds from the start of the record."""
    end: float
    probability: float
    """Mean over its frames."""


@dataclass(frozen=True, eq=False)
class Classification(Answer):
    """The classification of one record."""

    classes: tuple[str, ...] = ()
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 `(classes,)`, or `(frames, classes)`."""
    task: str = "single"
    """"single" (one class), "multi" (any number at once) or "frames" (one class per frame)."""
    duration: float = 0.0
    """Duration in seconds; for a text, its number of tokens."""
    frame_period: float = 0.0
    """Seconds between frames, if there is one class per frame."""

    @property
    def label(self) -> str:
        """The most probable class, or the most frequent one of the frames; empty if the record failed."""
        if not self.ok:
            return ""
        if self.task == "frames":
            return self.classes[int(np.bincount(self.probabilities.argmax(-1)).argmax())]
        return self.classes[int(self.probabilities.argmax())]

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted classes: if several can be true, those more likely than not; otherwise only `label`."""
        if self.task != "multi":
            return (self.label,)
        return tuple(name for name, p in zip(self.classes, self.probabilities, strict=True) if p >= _LIKELY)

    def segments(self) -> list[Segment]:
        """Consecutive frames of equal class, in order and without gaps; empty unless there is one class per frame."""
        if self.task != "frames":
            return []
        best = self.probabilities.argmax(-1)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        ends = [*starts[1:].tolist(), len(best)]
        return [
            Segment(
                self.classes[best[start]],
                start * self.frame_period,
                self.duration if end == len(best) else end * self.frame_period,
                float(self.probabilities[start:end, best[start]].mean()),
            )
            for start, end in zip(starts.tolist(), ends, strict=True)
        ]

    def to_dict(self, *, frames: bool = False) -> dict[str, Any]:
        """The classification as JSON values.

        Args:
            frames: Include the probabilities of every frame.
        """
        result: dict[str, Any] = {"path": self.path, "duration": self.duration}
        if self.task == "frames":
            result["segments"] = [vars(segment) for segment in self.segments()]
            if frames:
                result |= {"frame_period": self.frame_period, "classes": list(self.classes)}
                result["probabilities"] = np.round(self.probabilities.astype(float), 4).tolist()
            return result
        result |= {"labels": list(self.labels)} if self.task == "multi" else {"label": self.label}
        return result | {
            "probabilities": {n: round(float(p), 6) for n, p in zip(self.classes, self.probabilities, strict=True)}
        }


@options_as_keywords(ClassificationOptions)
def outcomes(  # noqa: D417 - the decorator adds the options
    model: Classifier,
    sources: Iterable[Source],
    *,
    options: ClassificationOptions,
    table: TableOptions | Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Classification | Fault]:
    """Classify records lazily, and yield a classification or a `Fault` for each, in order.

    Args:
        model: A classifier.
        sources: Files of signals or audio, or examples of a manifest; for texts, texts or `Path`s of text files.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
        progress: Called with the path of each record once it is done.
    """
    remaining, batch_size = iter(sources), options.batch_size
    while window := list(islice(remaining, batch_size * _BATCHES_AT_ONCE)):
        read = [_read(model, source, rate=options.rate, row=options.row, table=table) for source in window]
        results: list[Classification | Fault] = [r if isinstance(r, Fault) else _EMPTY for r in read]
        signals_by_index = [(index, r) for index, r in enumerate(read) if not isinstance(r, Fault)]
        signals_by_index.sort(key=lambda entry: -len(entry[1]))
        for start in range(0, len(signals_by_index), batch_size):
            batch = signals_by_index[start : start + batch_size]
            answers = _answers(model, [signal for _, signal in batch])
            for (index, signal), answer in zip(batch, answers, strict=True):
                results[index] = _outcome(model, path_of(window[index]), len(signal), answer)
        for source, outcome in zip(window, results, strict=True):
            if progress:
                progress(path_of(source))
            yield outcome


_EMPTY = Fault("", "", "")


def task_of(model: Classifier) -> str:
    """The task of a classifier: "single", "multi" or "frames"."""
    return getattr(model, "task", None) or ("frames" if model.per_frame else "single")


def path_of(source: Source) -> str:
    """The path of a source; for a text, the text itself."""
    return source.path if isinstance(source, Example) else os.fspath(source)


def read_signal(
    model: Classifier,
    source: Source,
    *,
    rate: float | None = None,
    row: int | None = None,
    table: TableOptions | Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Read a source at the model's sample rate: float32 `(samples,)` for audio, or `(samples, channels)`.

    Channels are those named by the example, otherwise those named by the model's card, otherwise the first ones.

    Raises:
        OSError, ValueError: The source cannot be read, or lacks a channel.
    """
    tokens = getattr(model, "tokens", None)
    if tokens is not None:
        return _text(tokens, source)
    if model.channels is None:
        return read_whole(source, int(model.sample_rate))
    if isinstance(source, Example):
        return read_example(source, channels=model.channels, sample_rate=model.sample_rate)[0]
    return signals.read(
        source, channels=channels_of(model), sample_rate=model.sample_rate, rate=rate, row=row, table=table
    )[0]


def _text(tokens: Tokens, source: Source) -> np.ndarray:
    """The token numbers of a text, of an example's text, or of a text file; a string is a text, and never a path."""
    if isinstance(source, str | Example):
        where = source.id if isinstance(source, Example) else ""
        return tokens.read(source if isinstance(source, str) else source.text, where=where)
    text = read_text(source, missing="there is no such file. Check the path.")
    return tokens.read(text, where=os.fspath(source))


def _read(model: Classifier, source: Source, **options: Any) -> np.ndarray | Fault:
    path = path_of(source)
    try:
        signal = read_signal(model, source, **options)
    except (OSError, ValueError) as error:
        return Fault(path, kind_of(error), str(error))
    if not len(signal):
        return Fault(path, "empty", f"{path}: has no samples. Leave it out, or record it again.")
    return signal


def _answers(model: Classifier, batch: Sequence[np.ndarray]) -> Sequence[np.ndarray | ValueError]:
    """Probabilities of each signal; if the model rejects the batch, signals are run one by one to isolate the error."""
    try:
        return model.probabilities(batch)
    except ValueError as error:
        return [error] if len(batch) == 1 else [_answers(model, [signal])[0] for signal in batch]


def _outcome(model: Classifier, path: str, samples: int, answer: np.ndarray | ValueError) -> Classification | Fault:
    if isinstance(answer, ValueError):
        return Fault(path, kind_of(answer), f"{path}: {answer}")
    duration = samples / model.sample_rate
    if not answer.size:
        message = f"{path}: {samples} samples ({duration:.4f} s) are less than one frame of the model. Record more."
        return Fault(path, "shorter than one frame", message)
    if not np.isfinite(answer).all():
        return Fault(path, "without an answer", f"{path}: the model gave no usable output: some of it is no number.")
    return Classification(path, tuple(model.classes), answer, task_of(model), duration, model.frame_period)
