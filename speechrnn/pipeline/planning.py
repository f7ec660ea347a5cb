"""What every epoch consists of: its batches, the speed of each row, and the seeds of its random numbers.

All of it follows from the manifest, the seed and the epoch's number, never from the timing of threads. So a run taken
up at epoch k goes on as the run that was never stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.pipeline import bucketing
from speechrnn.pipeline.selection import Entry, Framing


class Pooled:
    """Which rows are in which batch of an epoch, where all batches are of one size and a batch holds little padding.

    Of one size, for which the layers are compiled once: the few rows that are left over are other ones in every epoch.

    Args:
        lengths: Of each row.
        batch_size: Rows in a batch, at most as many as there are.
        pool: Batches whose rows are sorted by length together.
        seed: Of the order, with the number of the epoch.
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
        known = self._order  # which another thread may replace
        if known is None or known[0] != epoch:
            size, rng = self.batch_size, np.random.default_rng([self.seed, epoch])
            order = rng.permutation(len(self.lengths))[: self.steps * size]
            pools = [order[i : i + self._pool * size] for i in range(0, len(order), self._pool * size)]
            order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
            known = self._order = epoch, rng.permutation(order.reshape(self.steps, size), axis=0)
        return known[1]

    def load(self, epoch: int, step: int) -> Any:
        """Batch `step` of an epoch."""
        return self._batch(self.order(epoch)[step])

    def in_order(self, size: int | None = None) -> Iterator[Any]:
        """All rows in batches, the short ones first; a subclass loads them by its `_batch`."""
        order, size = np.argsort(self.lengths, kind="stable"), size or self.batch_size
        for start in range(0, len(order), size):
            yield self._batch(order[start : start + size])

    def _batch(self, chosen: np.ndarray) -> Any:
        """The rows of these indices."""
        raise NotImplementedError


_UNIT = 0.1
"""Seconds that padded lengths are multiples of."""
_SIMULATED_EPOCHS = 8
_ORDER, _SPEED, _SIGNAL, _FEATURES, _MIXING = range(5)
"""What a random stream is for; the last number of its seed."""


@dataclass(frozen=True)
class Epoch:
    """One pass: batches of places in the entries, and each entry's speed and length in samples after it."""

    batches: list[bucketing.Batch]
    speeds: np.ndarray
    lengths: np.ndarray


@dataclass(kw_only=True)
class Planner:
    """Plans any epoch from its number."""

    entries: Sequence[Entry]
    """The examples that were kept."""
    framing: Framing
    """How samples become frames."""
    batch_size: int | None
    """Rows in a batch; or else"""
    batch_seconds: float | None
    """seconds in a batch, padding counted."""
    shuffle: bool = False
    """Whether rows and batches come in another order each epoch."""
    seed: int = 0
    """Seed of orders, speeds and augmentation."""
    speed: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest speed of the signals."""
    most_buckets: int = bucketing.MAX_BUCKETS
    """Largest number of batch shapes."""
    shares: int = 1
    """Processes that share each batch."""

    def __post_init__(self) -> None:
        self._lengths = np.array([entry.length for entry in self.entries], np.int64)
        self._required = np.array([entry.required for entry in self.entries], np.int64)
        self._labels = max((entry.target.size for entry in self.entries), default=0)
        self._longer = any(entry.target.size > entry.required for entry in self.entries)
        rate, seconds = self.framing.sample_rate, self.batch_seconds
        self.buckets = bucketing.make_buckets(
            self._envelope(),
            batch_size=self.batch_size,
            batch_budget=None if seconds is None else round(seconds * rate),
            buckets=self.most_buckets,
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
        """The plan of an epoch; the last few are kept."""
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
        """Labels that rows padded to `length` samples are padded to: few shapes, and none without its labels."""
        frames = self.framing.logit_frames(length)
        return frames if per_frame else self._labels if self._longer else min(self._labels, frames)

    def generator(self, epoch: int, index: int, copy: int = 0) -> np.random.Generator:
        """Source of the augmentation of one example's signal in one epoch, of its first appearance or of a copy."""
        return np.random.default_rng([self.seed, epoch, _SIGNAL, index, *([copy] if copy else [])])

    def mixing(self, epoch: int, step: int) -> np.random.Generator:
        """Source of what mixes the rows of one batch."""
        return np.random.default_rng([self.seed, epoch, _MIXING, step])

    def seeds(self, epoch: int, indices: Sequence[int]) -> np.ndarray:
        """Seeds int32 `(rows, 2)` of the augmentation of features; two rows differ if their indices do."""
        state = np.random.SeedSequence([self.seed, epoch, _FEATURES]).generate_state(1).view(np.int32)
        return np.array([(state[0], index) for index in indices], np.int32).reshape(-1, 2)

    def _speeds(self, epoch: int) -> np.ndarray:
        low, high = self.speed
        if low == high == 1.0:
            return np.ones(len(self._lengths))
        speeds = np.random.default_rng([self.seed, epoch, _SPEED]).uniform(low, high, len(self._lengths))
        # A text that does not fit into the faster signal is left at its own speed, where it does.
        frames = np.array([self.framing.logit_frames(n) for n in self._stretched(speeds)])
        return np.where(frames < np.maximum(self._required, 1), np.minimum(speeds, 1.0), speeds)

    def _stretched(self, speeds: np.ndarray) -> np.ndarray:
        return np.rint(self._lengths / speeds).astype(np.int64)

    def _envelope(self) -> np.ndarray:
        """For every rank, the longest that the example of this rank is likely to be in any epoch."""
        if self.speed == (1.0, 1.0):
            return np.sort(self._lengths)
        epochs = [np.sort(self._stretched(self._speeds(epoch))) for epoch in range(_SIMULATED_EPOCHS)]
        return np.max(epochs, axis=0)

    def _plan(self, number: int) -> Epoch:
        rng = np.random.default_rng([self.seed, number, _ORDER]) if self.shuffle else None
        speeds = self._speeds(number)
        batches = bucketing.plan(self._stretched(speeds), self.buckets, rng=rng)
        for batch in batches:
            rows = batch.indices
            speeds[rows] = np.maximum(speeds[rows], self._lengths[rows] / batch.length)
        return Epoch(batches, speeds, self._stretched(speeds))
