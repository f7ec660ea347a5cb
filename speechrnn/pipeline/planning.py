"""Plans of epochs: batches, the speed of each row, and random seeds.

A plan is determined by the manifest, the seed and the number of the epoch, never by the timing of threads. So a run
that is resumed at epoch k continues exactly like one that was never stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.pipeline import bucketing
from speechrnn.pipeline.selection import Entry, Framing


class PooledPlan:
    """Shuffled batches of one size with little padding: rows are sorted by length within pools of batches.

    Layers are compiled once for that size. The few rows that do not fill a batch are left out, others in every epoch.

    Args:
        lengths: Length of each row.
        batch_size: Rows per batch; at most the number of rows.
        pool: Number of batches whose rows are sorted by length together.
        seed: Seed of the order, together with the number of the epoch.
        initial_epoch: Number of the first pass.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, pool: int, seed: int, initial_epoch: int) -> None:
        self.epoch = initial_epoch
        self.lengths, self.seed, self._pool = np.array(lengths), seed, pool
        self.batch_size = min(batch_size, len(lengths))
        self.steps = len(lengths) // self.batch_size
        self._order: tuple[int, np.ndarray] | None = None

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the rows of each batch of an epoch, int `(steps, batch)`."""
        planned = self._order  # which another thread may replace
        if planned is None or planned[0] != epoch:
            size, rng = self.batch_size, np.random.default_rng([self.seed, epoch])
            order = rng.permutation(len(self.lengths))[: self.steps * size]
            pools = [order[i : i + self._pool * size] for i in range(0, len(order), self._pool * size)]
            order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
            planned = self._order = epoch, rng.permutation(order.reshape(self.steps, size), axis=0)
        return planned[1]

    def load(self, epoch: int, step: int) -> Any:
        """Load batch `step` of an epoch."""
        return self._batch(self.order(epoch)[step])

    def in_order(self, size: int | None = None) -> Iterator[Any]:
        """All rows in batches, ordered by length; a subclass loads them by its `_batch`."""
        order, size = np.argsort(self.lengths, kind="stable"), size or self.batch_size
        for start in range(0, len(order), size):
            yield self._batch(order[start : start + size])

    def _batch(self, chosen: np.ndarray) -> Any:
        """Load the rows of these indices."""
        raise NotImplementedError


_UNIT = 0.1
"""Padded lengths are multiples of this, in seconds."""
_SIMULATED_EPOCHS = 8
_ORDER, _SPEED, _SIGNAL, _FEATURES, _MIXING = range(5)
"""Purposes of random streams, which are part of their seeds."""


@dataclass(frozen=True)
class Epoch:
    """The plan of one pass: batches of indices of entries, and each entry's speed and length after it, in samples."""

    batches: list[bucketing.Batch]
    speeds: np.ndarray
    lengths: np.ndarray


@dataclass(kw_only=True)
class Planner:
    """Plans any epoch from its number."""

    entries: Sequence[Entry]
    """The usable examples."""
    framing: Framing
    """Numbers of frames of signals."""
    batch_size: int | None
    """Rows per batch; or else"""
    batch_seconds: float | None
    """seconds per batch, with padding."""
    shuffle: bool = False
    """Whether to shuffle rows and batches in each epoch."""
    seed: int = 0
    """Seed of orders, speeds and augmentation."""
    speed: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest speed of the signals."""
    max_buckets: int = bucketing.MAX_BUCKETS
    """Maximum number of batch shapes."""
    shares: int = 1
    """Processes that share each batch."""

    def __post_init__(self) -> None:
        self._lengths = np.array([entry.length for entry in self.entries], np.int64)
        self._required = np.array([entry.required for entry in self.entries], np.int64)
        self._labels = max((entry.target.size for entry in self.entries), default=0)
        self._longer = any(entry.target.size > entry.required for entry in self.entries)
        rate, seconds = self.framing.sample_rate, self.batch_seconds
        self.buckets = bucketing.make_buckets(
            self._longest_by_rank(),
            batch_size=self.batch_size,
            batch_budget=None if seconds is None else round(seconds * rate),
            buckets=self.max_buckets,
            unit=max(1, round(_UNIT * rate)),
            shares=self.shares,
        )
        self._planned: dict[int, Epoch] = {}
        self._lock = threading.Lock()

    @property
    def steps(self) -> int:
        """Batches in every epoch."""
        return sum(bucket.batches for bucket in self.buckets)

    def epoch(self, number: int) -> Epoch:
        """The plan of an epoch; the last three are cached."""
        with self._lock:
            if number not in self._planned:
                while len(self._planned) > 2:
                    self._planned.pop(next(iter(self._planned)))
                self._planned[number] = self._plan(number)
            return self._planned[number]

    def padding_efficiency(self, epoch: int = 0) -> float:
        """Share of an epoch's padded samples that is signal, in [0, 1]."""
        planned = self.epoch(epoch)
        return bucketing.padding_efficiency(planned.lengths, planned.batches)

    def label_length(self, length: int, *, per_frame: bool = False) -> int:
        """The padded number of labels of rows padded to `length` samples: enough for all, in few shapes."""
        frames = self.framing.logit_frames(length)
        return frames if per_frame else self._labels if self._longer else min(self._labels, frames)

    def generator(self, epoch: int, index: int, copy: int = 0) -> np.random.Generator:
        """Random generator for the augmentation of an example's signal, or of a copy of it, in one epoch."""
        return np.random.default_rng([self.seed, epoch, _SIGNAL, index, *([copy] if copy else [])])

    def mixing(self, epoch: int, step: int) -> np.random.Generator:
        """Random generator for mixup in one batch."""
        return np.random.default_rng([self.seed, epoch, _MIXING, step])

    def seeds(self, epoch: int, indices: Sequence[int]) -> np.ndarray:
        """Seeds int32 `(rows, 2)` for the augmentation of features; they differ if the indices do."""
        state = np.random.SeedSequence([self.seed, epoch, _FEATURES]).generate_state(1).view(np.int32)
        return np.array([(state[0], index) for index in indices], np.int32).reshape(-1, 2)

    def _speeds(self, epoch: int) -> np.ndarray:
        low, high = self.speed
        if low == high == 1.0:
            return np.ones(len(self._lengths))
        speeds = np.random.default_rng([self.seed, epoch, _SPEED]).uniform(low, high, len(self._lengths))
        # A signal that would be too short for its text is not made faster.
        frames = np.array([self.framing.logit_frames(n) for n in self._changed_lengths(speeds)])
        return np.where(frames < np.maximum(self._required, 1), np.minimum(speeds, 1.0), speeds)

    def _changed_lengths(self, speeds: np.ndarray) -> np.ndarray:
        return np.rint(self._lengths / speeds).astype(np.int64)

    def _longest_by_rank(self) -> np.ndarray:
        """For every rank, the greatest length of the example of this rank in a sample of epochs."""
        if self.speed == (1.0, 1.0):
            return np.sort(self._lengths)
        epochs = [np.sort(self._changed_lengths(self._speeds(epoch))) for epoch in range(_SIMULATED_EPOCHS)]
        return np.max(epochs, axis=0)

    def _plan(self, number: int) -> Epoch:
        rng = np.random.default_rng([self.seed, number, _ORDER]) if self.shuffle else None
        speeds = self._speeds(number)
        batches = bucketing.plan(self._changed_lengths(speeds), self.buckets, rng=rng)
        for batch in batches:
            rows = batch.indices
            speeds[rows] = np.maximum(speeds[rows], self._lengths[rows] / batch.length)
        return Epoch(batches, speeds, self._changed_lengths(speeds))
