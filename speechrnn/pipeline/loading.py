"""From a batch of the plan to padded arrays: decode, cache, augment the signal, pad; NumPy only.

Every row of a batch is one that can be learnt: a row whose audio fails is replaced by a copy of the first good row and
given weight 0, so the batch keeps its shape and no network sees a row without frames.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn import audio
from speechrnn.faults import Faults, data_error
from speechrnn.features.augment import Augmentation, augment_signal
from speechrnn.manifest import Example
from speechrnn.pipeline.cache import Store, through
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.selection import Entry, logit_frames, name

_ROUNDING = 0.02
"""Seconds by which a signal may outlast its manifest line (rounded durations, resampling); it is cut."""


def decode(example: Example, sample_rate: int) -> np.ndarray:
    """The example's samples, float32 `(samples,)`, with soundfile and soxr."""
    signal, _ = audio.read(
        example.path,
        sample_rate=sample_rate,
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
        values: float32 `(batch, samples)`, or features `(batch, frames, features)`.
        lengths: int32 `(batch,)`, valid samples or frames.
        target: int32 `(batch, labels)`, padded with 0, or class indices `(batch,)`.
        weight: float32 `(batch,)`: 1, or 0 for a row that stands in for another.
        seeds: int32 `(batch, 2)`, for the augmentation of features.
    """

    values: np.ndarray
    lengths: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    seeds: np.ndarray


class Source:
    """What a row is made of: a signal, decoded, kept, augmented.

    Args:
        sample_rate: Samples per second of the signals.
        frame_count: Feature frames of a signal of so many samples.
        stride: Feature frames to an output frame of the network.
        store: Keeps decoded signals.
        augmentation: How the signals are changed, or None.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        frame_count: Callable[[int], int],
        stride: int,
        store: Store,
        augmentation: Augmentation | None,
    ) -> None:
        self._sample_rate = sample_rate
        self._frame_count = frame_count
        self._stride = stride
        self._store = store
        self._augmentation = augmentation

    def padded(self, limit: int) -> tuple[int, ...]:
        """Shape of a row padded to `limit` samples."""
        return (limit,)

    def stand_in(self) -> np.ndarray:
        """A row for a batch in which every row failed: the shortest silence that has a frame."""
        length = 1
        while self._frame_count(length) < 1:
            length *= 2
        return np.zeros(length, np.float32)

    def decoded(self, entry: Entry, given: np.ndarray | None) -> np.ndarray:
        """The whole signal of an entry, checked against what the manifest promised."""
        signal = decode(entry.example, self._sample_rate) if given is None else given
        excess = len(signal) - entry.length
        if excess > _ROUNDING * self._sample_rate:
            raise data_error(entry.example.path, "longer than the manifest says", (
                f"lasts {len(signal) / self._sample_rate:.3f} s. "
                f"The manifest says {entry.example.duration:.3f} s; prepare it again."))
        frames = logit_frames(len(signal), self._frame_count, self._stride)
        if frames < max(1, entry.required):
            raise data_error(entry.example.path, "too short for their text", (
                f"gives {frames} output frames, and the text needs at least {max(1, entry.required)}. "
                f"The manifest says {entry.example.duration:.3f} s; prepare it again."))
        return signal[: entry.length]

    def row(
        self, entry: Entry, speed: float, limit: int, rng: np.random.Generator, given: np.ndarray | None
    ) -> np.ndarray | None:
        """The row's signal, at most `limit` samples; None if augmentation left too little of it for its text."""
        signal = through(self._store, entry, lambda: self.decoded(entry, given))
        if self._augmentation is not None:
            drawn = self._augmentation  # but for the speed, which the plan has drawn: lengths follow from it
            if drawn.speed is not None:
                drawn = dataclasses.replace(drawn, speed=(speed, speed))
            signal = augment_signal(signal, self._sample_rate, drawn, rng)[:limit]
            if logit_frames(len(signal), self._frame_count, self._stride) < max(1, entry.required):
                return None
        return signal


class FeatureSource(Source):
    """Features that are kept instead of the signals they come from.

    Args:
        compute: Features `(frames, features)` of one signal.
        width: Features in a frame.
        **options: As for `Source`, without augmentation.
    """

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], width: int, **options) -> None:
        super().__init__(augmentation=None, **options)
        self._compute = compute
        self._width = width

    def padded(self, limit: int) -> tuple[int, ...]:
        """Shape of a row padded to `limit` samples."""
        return (int(self._frame_count(limit)), self._width)

    def stand_in(self) -> np.ndarray:
        """One frame of zeros."""
        return np.zeros((1, self._width), np.float32)

    def row(
        self, entry: Entry, speed: float, limit: int, rng: np.random.Generator, given: np.ndarray | None
    ) -> np.ndarray | None:
        """The row's features."""
        return through(self._store, entry, lambda: self._compute(self.decoded(entry, given)))


class Loader:
    """Loads the batches of a plan.

    Args:
        entries: The examples that were kept.
        planner: Their batches by epoch.
        source: What the rows are made of.
        faults: Collects what fails, each example once.
    """

    def __init__(self, entries: Sequence[Entry], planner: Planner, source: Source, faults: Faults) -> None:
        self._entries = entries
        self._planner = planner
        self._source = source
        self._faults = faults
        self._failed: set[int] = set()
        self._lock = threading.Lock()

    def load(self, epoch: int, step: int, given: Mapping[int, np.ndarray] | None = None) -> Loaded:
        """Batch `step` of an epoch; `given` holds signals that are decoded already, by row."""
        planned = self._planner.epoch(epoch)
        batch = planned.batches[step]
        distinct = len(batch.indices) - batch.filled
        rows = [
            self._row(self._entries[place], epoch, planned.speeds[place], batch.length, (given or {}).get(position))
            for position, place in enumerate(batch.indices[:distinct])
        ]
        good = [position for position, row in enumerate(rows) if row is not None]
        stand_in = good[0] if good else None
        chosen = [p if p < distinct and rows[p] is not None else stand_in for p in range(len(batch.indices))]
        weight = np.zeros(len(chosen), np.float32)
        weight[good] = 1.0
        silence = self._source.stand_in()
        values = [silence if p is None else rows[p] for p in chosen]
        entries = [None if p is None else self._entries[batch.indices[p]] for p in chosen]
        return Loaded(
            values=_padded(values, self._source.padded(batch.length)),
            lengths=np.array([len(row) for row in values], np.int32),
            target=self._targets(entries, batch.length),
            weight=weight,
            seeds=self._planner.seeds(epoch, [0 if entry is None else entry.index for entry in entries]),
        )

    def _row(self, entry: Entry, epoch: int, speed: float, limit: int, given: np.ndarray | None) -> np.ndarray | None:
        try:
            return self._source.row(entry, speed, limit, self._planner.generator(epoch, entry.index), given)
        except (OSError, ValueError) as error:
            with self._lock:
                told = entry.index in self._failed
                self._failed.add(entry.index)
            if not told:
                self._faults.add_error(name(entry.example), error)
            return None

    def _targets(self, entries: Sequence[Entry | None], length: int) -> np.ndarray:
        if self._entries[0].target.ndim == 0:
            return np.array([0 if entry is None else entry.target for entry in entries], np.int32)
        target = np.zeros((len(entries), self._planner.label_length(length)), np.int32)
        for row, entry in zip(target, entries, strict=True):
            if entry is not None:
                row[: len(entry.target)] = entry.target
        return target


def _padded(rows: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    padded = np.zeros((len(rows), *shape), np.float32)
    for into, row in zip(padded, rows, strict=True):
        into[: len(row)] = row[: shape[0]]
    return padded
