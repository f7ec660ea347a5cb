"""Loads the batches of a plan into padded arrays: decoding, cache, signal augmentation; NumPy only.

A row whose audio fails is replaced by a copy of the first good row with weight 0, so that the batch keeps its shape and
no network gets a row without frames.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn import audio
from speechrnn.data.examples import read_example
from speechrnn.faults import Faults, data_error
from speechrnn.features.augment import Augmentation, augment_signal
from speechrnn.pipeline.cache import Store, cached
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.selection import Entry, Framing, Targets, name

_ROUNDING = 0.02
"""Seconds by which a signal may be longer than the manifest says (rounded durations, resampling); it is cut."""


def read(entry: Entry, sample_rate: float, channels: int | None = None) -> np.ndarray:
    """The example's samples: float32 `(samples,)` of audio, or `(samples, channels)` of a signal of any format."""
    example = entry.example
    if channels is not None:
        return read_example(example, channels=channels, sample_rate=sample_rate)[0]
    signal, _ = audio.read(
        example.path,
        sample_rate=int(sample_rate),
        offset=example.offset,
        duration=example.duration,
        channel=example.channel,
        encoding=example.encoding,
    )
    return signal


@dataclass(frozen=True)
class Loaded:
    """A padded batch.

    Attributes:
        values: float32 `(batch, samples[, channels])`, or features `(batch, frames, features)`.
        lengths: int32 `(batch,)`, valid samples or frames.
        target: int32 `(batch, labels)`, padded, or class indices `(batch,)`; float32 `(batch, classes)` for tags.
        weight: float32 `(batch,)`: 1, or 0 for a row that replaces another.
        seeds: int32 `(batch, 2)`, for the augmentation of features.
    """

    values: np.ndarray
    lengths: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    seeds: np.ndarray

    @classmethod
    def of(
        cls, values: np.ndarray, lengths: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None
    ) -> Loaded:
        """A batch without augmentation; by default all rows have weight 1."""
        rows = len(values)
        weight = np.ones(rows, np.float32) if weight is None else weight
        return cls(values, lengths, target, weight, np.zeros((rows, 2), np.int32))


@dataclass(kw_only=True)
class Source:
    """Source of rows that are signals: decoded, cached, augmented."""

    framing: Framing
    """Numbers of frames of signals."""
    store: Store | None
    """Cache of decoded signals, or of the features of a `FeatureSource`."""
    decode: Callable[[Entry, np.ndarray | None], np.ndarray] | None = None
    """Returns the samples of an entry, from those decoded in the graph, or from the file if these are None."""
    augmentation: Augmentation | None = None
    """The augmentation of signals."""
    width: int | None = None
    """Features per frame; None for signals."""

    def padded(self, limit: int) -> tuple[int, ...]:
        """Shape of a row padded to `limit` samples."""
        return self.framing.shape(limit)

    def logit_frames(self, row: np.ndarray) -> int:
        """Frames of the network's output for a row."""
        return self.framing.logit_frames(len(row))

    def placeholder(self) -> np.ndarray:
        """A row for a batch in which every row failed: silence of at least one frame."""
        length = 1
        while self.framing.frame_count(length) < 1:
            length *= 2
        return np.zeros(self.framing.shape(length), np.float32)

    def decoded(self, entry: Entry, samples: np.ndarray | None) -> np.ndarray:
        """The signal of an entry, checked against the manifest's duration."""
        rate = self.framing.sample_rate
        signal = read(entry, rate, self.framing.channels) if self.decode is None else self.decode(entry, samples)
        excess = len(signal) - entry.length
        if excess > _ROUNDING * rate:
            raise data_error(
                entry.example.path,
                "longer than the manifest says",
                (
                    f"lasts {len(signal) / rate:.3f} s. "
                    f"The manifest says {entry.example.duration:.3f} s; prepare it again."
                ),
            )
        frames = self.framing.logit_frames(len(signal))
        if frames < max(1, entry.required):
            raise data_error(
                entry.example.path,
                "too short for their text",
                (
                    f"gives {frames} output frames, and the text needs at least {max(1, entry.required)}. "
                    f"The manifest says {entry.example.duration:.3f} s; prepare it again."
                ),
            )
        return signal[: entry.length]

    def row(
        self, entry: Entry, speed: float, limit: int, rng: Callable[[], np.random.Generator], samples: np.ndarray | None
    ) -> np.ndarray | None:
        """The row's signal, at most `limit` samples; None if it is too short for its text after augmentation."""
        signal = cached(self.store, entry, lambda: self.decoded(entry, samples))
        if self.augmentation is not None:
            augmentation = self.augmentation
            if augmentation.speed is not None:  # the plan has drawn it, since it determines lengths
                augmentation = dataclasses.replace(augmentation, speed=(speed, speed))
            signal = augment_signal(signal, int(self.framing.sample_rate), augmentation, rng())[:limit]
            if self.framing.logit_frames(len(signal)) < max(1, entry.required):
                return None
        return signal


@dataclass(kw_only=True)
class FeatureSource(Source):
    """Source of rows that are features, which are cached instead of the signals."""

    compute: Callable[[np.ndarray], np.ndarray]
    """Function from a signal to its features `(frames, features)`."""
    width: int

    def padded(self, limit: int) -> tuple[int, ...]:
        """Shape of a row padded to `limit` samples."""
        return (int(self.framing.frame_count(limit)), self.width)

    def placeholder(self) -> np.ndarray:
        """One frame of zeros."""
        return np.zeros((1, self.width), np.float32)

    def logit_frames(self, row: np.ndarray) -> int:
        """Frames of the network's output for a row."""
        return -(-len(row) // self.framing.stride)

    def row(
        self, entry: Entry, speed: float, limit: int, rng: Callable[[], np.random.Generator], samples: np.ndarray | None
    ) -> np.ndarray | None:
        """The row's features."""
        return cached(self.store, entry, lambda: self.compute(self.decoded(entry, samples)))


@dataclass
class Loader:
    """Loads the batches of a plan."""

    entries: Sequence[Entry]
    """The usable examples."""
    planner: Planner
    """Plans the batches of each epoch."""
    source: Source
    """Source of the rows."""
    targets: Targets
    """The kind of targets."""
    faults: Faults
    """Collects failures, each example once."""
    mix: Callable[[Loaded, int, int], Loaded] | None = None
    """Function that mixes the rows of a batch, given its epoch and step."""
    share: tuple[int, int] = (0, 1)
    """Index of the part of the rows that is loaded, and the number of parts."""

    def __post_init__(self) -> None:
        self._num_indices = 1 + max(entry.index for entry in self.entries)
        self._failed: set[int] = set()
        self._lock = threading.Lock()

    def load(self, epoch: int, step: int, *decoded: np.ndarray) -> Loaded:
        """Load batch `step` of an epoch; `decoded` are rows, signals and lengths from a decoder in the graph."""
        signals = {row: signal[:length] for row, signal, length in zip(*decoded, strict=True)} if decoded else {}
        planned = self.planner.epoch(epoch)
        batch = planned.batches[step]
        part, parts = self.share
        indices = batch.indices[part::parts]
        distinct = len(batch.indices[: len(batch.indices) - batch.filled][part::parts])
        rows = [
            self._row(self.entries[index], epoch, planned.speeds[index], batch.length, signals.get(row))
            for row, index in enumerate(indices[:distinct])
        ]
        good = [i for i, row in enumerate(rows) if row is not None]
        chosen = [i if i in good else good[0] if good else -1 for i in range(len(indices))]
        weight = np.zeros(len(chosen), np.float32)
        weight[good] = 1.0
        copied = [rows[i] if i >= 0 else None for i in chosen]
        values = [self.source.placeholder() if row is None else row for row in copied]
        entries = [self.entries[indices[i]] if i >= 0 else None for i in chosen]
        loaded = Loaded(
            values=_pad(values, self.source.padded(batch.length)),
            lengths=np.array([len(row) for row in values], np.int32),
            target=self._target(entries, values, batch.length),
            weight=weight,
            seeds=self.planner.seeds(epoch, [0 if entry is None else self._number(entry) for entry in entries]),
        )
        return loaded if self.mix is None else self.mix(loaded, epoch, step)

    def _number(self, entry: Entry) -> int:
        """A unique number for each example and each copy of it."""
        return entry.index + entry.copy * self._num_indices

    def _row(self, entry: Entry, epoch: int, speed: float, limit: int, samples: np.ndarray | None) -> np.ndarray | None:
        try:
            return self.source.row(
                entry, speed, limit, lambda: self.planner.generator(epoch, entry.index, entry.copy), samples
            )
        except (OSError, ValueError) as error:
            with self._lock:
                reported = entry.index in self._failed
                self._failed.add(entry.index)
            if not reported:
                self.faults.add_error(name(entry.example), error)
            return None

    def _target(self, entries: Sequence[Entry | None], rows: Sequence[np.ndarray], length: int) -> np.ndarray:
        first = self.entries[0].target
        if first.ndim == 0 or first.dtype != np.int32:  # of one size
            return np.array([np.zeros_like(first) if entry is None else entry.target for entry in entries])
        per_frame = self.targets.per_frame
        width = self.planner.label_length(length, per_frame=per_frame)
        target = np.full((len(entries), width), -1 if per_frame else 0, np.int32)
        for padded, entry, row in zip(target, entries, rows, strict=True):
            if entry is not None:
                labels = self.targets.resized(entry.target, self.source.logit_frames(row))
                padded[: len(labels)] = labels
        return target


def _pad(rows: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    batch = np.zeros((len(rows), *shape), np.float32)
    for padded, row in zip(batch, rows, strict=True):
        padded[: len(row)] = row[: shape[0]]
    return batch
