"""Which examples go into which batch: padding boundaries and batch plans, NumPy only.

A plan is worked out from lengths alone, before anything is decoded. The number of batches is therefore known, every
epoch is reproducible from its number, and a run can be taken up again at any epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_BUCKETS = 8
"""Most bucket shapes unless told otherwise: XLA compiles once a shape."""
_CANDIDATES = 256


@dataclass(frozen=True)
class Bucket:
    """Batches of one shape.

    Attributes:
        length: Samples (or frames) that every row is padded to.
        batch_size: Rows in each batch.
        batches: Batches of this bucket in an epoch.
        count: Examples of this bucket in an epoch; fewer than `batches * batch_size` if its last batch needs filling.
    """

    length: int
    batch_size: int
    batches: int
    count: int


@dataclass(frozen=True)
class Batch:
    """Rows of one batch: `indices` into the examples, `filled` rows at the end being copies at weight 0."""

    length: int
    indices: np.ndarray
    filled: int


def boundaries(lengths: Sequence[int] | np.ndarray, *, buckets: int = MAX_BUCKETS, unit: int = 1) -> list[int]:
    """Padded lengths that waste least: the best cut of the sorted lengths into at most `buckets` groups.

    Exact dynamic programming over at most 256 quantiles of the lengths; each boundary is the longest length of its
    group rounded up to a multiple of `unit`.

    Args:
        lengths: Length of every example, in samples or frames.
        buckets: Largest number of boundaries.
        unit: Boundaries are multiples of it.

    Returns:
        Ascending boundaries; the last covers the longest example.

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
        kept = np.unique(np.quantile(tops, np.linspace(0, 1, _CANDIDATES), method="higher"))
        counts = np.diff(np.searchsorted(rounded, kept, side="right"), prepend=0)
        tops = kept
    chosen = _best_cut(tops, counts, min(buckets, len(tops)))
    return [int(tops[i]) for i in chosen]


def _best_cut(tops: np.ndarray, counts: np.ndarray, groups: int) -> list[int]:
    """Last position of each of `groups` runs of `tops` that minimize the padded total, `sum(top of run * count)`."""
    size = len(tops)
    seen = np.concatenate([[0], np.cumsum(counts)])
    cost = tops[None, :] * (seen[None, 1:] - seen[:-1, None]).astype(np.float64)  # (first, last)
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
    """Buckets of an epoch: boundaries, rows a batch, and how many batches of each.

    Rows left over in a bucket move up to the next one where that costs less than filling a batch with copies.

    Args:
        lengths: Length of every example.
        batch_size: Rows in every batch; or else
        batch_budget: Longest padded total of a batch, so that shorter buckets have more rows (at least one).
        buckets: Largest number of boundaries.
        unit: Boundaries are multiples of it.
        shares: Rows are multiples of it, for as many processes that share each batch.

    Returns:
        Buckets by ascending length, those without batches left out.
    """
    if (batch_size is None) == (batch_budget is None):
        raise ValueError(f"Give one of `batch_size` and `batch_budget`. Received: {batch_size=}, {batch_budget=}.")
    if batch_size is not None and batch_size % shares:
        raise ValueError(f"`batch_size` must be a multiple of the {shares} processes. Received: {batch_size=}.")
    lengths = np.asarray(lengths, dtype=np.int64)
    tops = boundaries(lengths, buckets=buckets, unit=unit)
    groups = np.bincount(np.searchsorted(tops, lengths), minlength=len(tops))
    rows = [batch_size or max(1, (batch_budget or 0) // top // shares) * shares for top in tops]
    made, carried = [], 0
    for i, top in enumerate(tops):
        count = int(groups[i]) + carried
        whole, carried = divmod(count, rows[i])
        promote = i + 1 < len(tops) and carried * tops[i + 1] <= rows[i] * top
        if carried and not promote:
            whole, carried = whole + 1, 0
        if whole:
            made.append(Bucket(top, rows[i], whole, count - carried))
    return made


def plan(lengths: np.ndarray, buckets: Sequence[Bucket], *, rng: np.random.Generator | None = None) -> list[Batch]:
    """Batches of one epoch.

    The shortest examples go to the first bucket until it has its count, and so on; with `rng` the examples of a
    bucket, and then the batches, are shuffled. Without, batches run from short to long, in a stable order.

    Args:
        lengths: Length of every example in this epoch. A row longer than its bucket (lengths change from epoch to
            epoch under speed perturbation) is for the caller to fit in.
        buckets: From `make_buckets`, for as many examples.
        rng: Source of the order.
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
    """Share of the padded batches that is signal, in [0, 1]; filling rows count as padding."""
    padded = sum(batch.length * len(batch.indices) for batch in batches)
    signal = sum(int(lengths[batch.indices[: len(batch.indices) - batch.filled]].sum()) for batch in batches)
    return signal / padded if padded else 1.0
