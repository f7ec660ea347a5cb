"""How sure an error rate is, and the difference of two: bootstrap over utterances or speakers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.metrics.edits import Edits

Interval = tuple[float, float]

_DRAWS_AT_ONCE = 1 << 22


def bootstrap(found: Sequence[Edits], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of an error rate (Bisani and Ney 2004).

    Args:
        found: The counts of each unit (utterance or speaker) that is drawn with replacement.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper bound; NaN where there is no reference token.
    """
    if sum(f.reference_length for f in found) == 0:
        return math.nan, math.nan
    sums = _resampled(np.array([(f.errors, f.reference_length) for f in found], np.int64), resamples, seed)
    return bounds(sums[:, 0] / sums[:, 1], level)


@dataclass(frozen=True)
class PairedDifference:
    """How much the error rate of a second system differs from that of a first one on the same references."""

    difference: float
    """The second rate minus the first: negative where the second is better; NaN without a reference token."""
    interval: Interval
    """Bootstrap interval of the difference; 0 outside of it is what is called significant."""
    second_better: float
    """Share of the replications in which the second makes fewer errors, ties counted half."""

    @property
    def significant(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval[0] > 0 or self.interval[1] < 0


def paired_bootstrap(
    first: Sequence[Edits], second: Sequence[Edits], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compare two systems on the same units, drawn together (Bisani and Ney 2004, section 4).

    What makes an utterance hard is hard for both, so the difference is known better than either rate: two intervals
    that overlap say little.

    Args:
        first: The counts of each unit (utterance or speaker) by one system.
        second: Those of the other system, in the same order.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Of the draws.

    Raises:
        ValueError: The two are not of the same references.

    Example:
    >>> better = paired_bootstrap([Edits(8, 2), Edits(7, 3)], [Edits(9, 1), Edits(8, 2)])
    >>> round(better.difference, 3), better.second_better, better.significant
    (-0.1, 1.0, True)
    """
    lengths = [f.reference_length for f in first]
    if lengths != [f.reference_length for f in second]:
        raise ValueError(
            "Two systems must be compared on the same references, in the same order. Received: "
            f"{len(first)} and {len(second)} units with {sum(lengths)} and "
            f"{sum(f.reference_length for f in second)} reference tokens."
        )
    if sum(lengths) == 0:
        return PairedDifference(math.nan, (math.nan, math.nan), math.nan)
    counts = np.array([(b.errors - a.errors, a.reference_length) for a, b in zip(first, second, strict=True)], np.int64)
    sums = _resampled(counts, resamples, seed)
    differences = sums[:, 0] / sums[:, 1]
    better = (differences < 0).mean() + 0.5 * (differences == 0).mean()
    return PairedDifference(float(counts[:, 0].sum() / sum(lengths)), bounds(differences, level), float(better))


def _resampled(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """int64 `(replications, 2)`: both columns summed over the units drawn, where the second sum is positive."""
    draw, sums = np.random.default_rng(seed), []
    rows = max(1, _DRAWS_AT_ONCE // len(counts))
    for start in range(0, resamples, rows):
        chosen = draw.integers(len(counts), size=(min(rows, resamples - start), len(counts)), dtype=np.int32)
        sums.append(np.stack([column[chosen].sum(axis=1) for column in counts.T], axis=1))
    found = np.concatenate(sums)
    return found[found[:, 1] > 0]


def finite(value: Any) -> Any:
    """A figure as JSON can hold it: None in the place of a number that is not finite; anything else as it is.

    Example:
    >>> finite(0.5), finite(math.nan), finite("a")
    (0.5, None, 'a')
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bounds(values: np.ndarray, level: float) -> Interval:
    """Quantiles with so much of the replications between them; NaN where none is a number."""
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
