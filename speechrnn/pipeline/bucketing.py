"""Bucketing by length: padded lengths and batches of an epoch, NumPy only.

A plan is computed from lengths alone, before anything is decoded. So the number of batches is known, every epoch is
reproducible from its number, and a run can be resumed at any epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_BUCKETS = 8
"""Default maximum number of bucket shapes; XLA compiles once per shape."""
_CANDIDATES = 256


@dataclass(frozen=True)
class Bucket:
    """Batches of one shape.

    Attributes:
        length: Samples (or frames) that every row is padded to.
        batch_size: Rows in each batch.
        batches: Batches of this bucket in an epoch.
        count: Examples of this bucket in an epoch; fewer than `batches * batch_size` if its last batch is filled up.
    """

    length: int
    batch_size: int
    batches: int
    count: int


@dataclass(frozen=True)
class Batch:
    """Rows of one batch: `indices` into the examples; the last `filled` rows are copies with weight 0."""

    length: int
    indices: np.ndarray
    filled: int


def boundaries(lengths: Sequence[int] | np.ndarray, *, buckets: int = MAX_BUCKETS, unit: int = 1) -> list[int]:
    """Padded lengths with the least padding: the best division of the sorted lengths into at most `buckets` groups.

    Exact dynamic programming over at most 256 quantiles of the lengths; each boundary is the longest length of its
    group, rounded up to a multiple of `unit`.

    Args:
        lengths: Length of every example, in samples or frames.
        buckets: Maximum number of boundaries.
        unit: Boundaries are multiples of this.

    Returns:
        Ascending boundaries; the last one is at least the longest length.

    Example:
    >>> boundaries([10, 11, 12, 50, 52], buckets=2, unit=5)
    [15, 55]
    """
    if buckets < 1 or unit < 1:
        raise ValueError(f"`buckets` and `unit` must be at least 1. Received: buckets={buckets}, unit={unit}.")
    lengths = np.sort(np.asarray(lengths, dtype=np.int64))
    if not lengths.size:
        raise ValueError("`lengths` must not be empty. Received: no lengths.")
    rounded = -(-lengths // unit) * unit
    tops, counts = np.unique(rounded, return_counts=True)
    if len(tops) > _CANDIDATES:
        candidates = np.unique(np.quantile(tops, np.linspace(0, 1, _CANDIDATES), method="higher"))
        counts = np.diff(np.searchsorted(rounded, candidates, side="right"), prepend=0)
        tops = candidates
    chosen = _best_division(tops, counts, min(buckets, len(tops)))
    return [int(tops[i]) for i in chosen]


def _best_division(tops: np.ndarray, counts: np.ndarray, groups: int) -> list[int]:
    """Last index of each of `groups` runs of `tops` that minimize the padded total, `sum(top of run * count)`."""
    size = len(tops)
    total_counts = np.concatenate([[0], np.cumsum(counts)])
    cost = tops[None, :] * (total_counts[None, 1:] - total_counts[:-1, None]).astype(np.float64)  # (first, last)
    cost[np.tril_indices(size, -1)] = np.inf
    best, back = cost[0], []
    for _ in range(1, groups):
        total = np.full((size, size), np.inf)
        total[1:] = best[:-1, None] + cost[1:]
        back.append(np.argmin(total, axis=0))
        best = np.min(total, axis=0)
    chosen, last = [size - 1], size - 1
    for first in reversed(back):
        last = int(first[last]) - 1
        if last < 0:
            break
        chosen.append(last)
    return chosen[::-1]


def make_buckets(
    lengths: Sequence[int] | np.ndarray,
    *,
    batch_size: int | None = None,
    batch_budget: int | None = None,
    buckets: int = MAX_BUCKETS,
    unit: int = 1,
    shares: int = 1,
) -> list[Bucket]:
    """The buckets of an epoch: padded lengths, rows per batch, and numbers of batches.

    The remaining rows of a bucket move up to the next one if that needs less padding than filling a batch with copies.

    Args:
        lengths: Length of every example.
        batch_size: Rows in every batch; or else
        batch_budget: Maximum padded total of a batch, so that shorter buckets have more rows (at least one).
        buckets: Maximum number of boundaries.
        unit: Boundaries are multiples of this.
        shares: Number of processes that share each batch; rows are multiples of this.

    Returns:
        Buckets by ascending length, without empty ones.
    """
    if (batch_size is None) == (batch_budget is None):
        raise ValueError(f"Give one of `batch_size` and `batch_budget`. Received: {batch_size=}, {batch_budget=}.")
    if batch_size is not None and batch_size % shares:
        raise ValueError(f"`batch_size` must be a multiple of the {shares} processes. Received: {batch_size=}.")
    lengths = np.asarray(lengths, dtype=np.int64)
    tops = boundaries(lengths, buckets=buckets, unit=unit)
    groups = np.bincount(np.searchsorted(tops, lengths), minlength=len(tops))
    rows = [batch_size or max(1, (batch_budget or 0) // top // shares) * shares for top in tops]
    filled, remaining = [], 0
    for i, top in enumerate(tops):
        count = int(groups[i]) + remaining
        number, remaining = divmod(count, rows[i])
        promote = i + 1 < len(tops) and remaining * tops[i + 1] <= rows[i] * top
        if remaining and not promote:
            number, remaining = number + 1, 0
        if number:
            filled.append(Bucket(top, rows[i], number, count - remaining))
    return filled


def plan(lengths: np.ndarray, buckets: Sequence[Bucket], *, rng: np.random.Generator | None = None) -> list[Batch]:
    """Plan the batches of one epoch.

    The shortest examples go to the first bucket until it has its count, and so on. With `rng` the examples of each
    bucket, and then the batches, are shuffled; without it batches are ordered by length.

    Args:
        lengths: Length of every example in this epoch. A row may be longer than its bucket, since speed perturbation
            changes lengths; the caller must shorten it.
        buckets: From `make_buckets`, for the same number of examples.
        rng: Random generator of the order.
    """
    total = sum(bucket.count for bucket in buckets)
    if total != len(lengths):
        raise ValueError(f"`buckets` must hold as many examples as `lengths`. Received: {total} and {len(lengths)}.")
    order = np.argsort(lengths, kind="stable")
    batches: list[Batch] = []
    start = 0
    for bucket in buckets:
        members = order[start : start + bucket.count]
        start += bucket.count
        if rng is not None:
            members = rng.permutation(members)
        for first in range(0, bucket.count, bucket.batch_size):
            rows = members[first : first + bucket.batch_size]
            filled = bucket.batch_size - len(rows)
            batches.append(Batch(bucket.length, np.concatenate([rows, np.repeat(rows[:1], filled)]), filled))
    if rng is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


def padding_efficiency(lengths: np.ndarray, batches: Sequence[Batch]) -> float:
    """Share of the padded batches that is signal, in [0, 1]; copies that fill batches count as padding."""
    padded = sum(batch.length * len(batch.indices) for batch in batches)
    signal = sum(int(lengths[batch.indices[: len(batch.indices) - batch.filled]].sum()) for batch in batches)
    return signal / padded if padded else 1.0
