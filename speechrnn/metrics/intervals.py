"""Bootstrap intervals of metrics and of differences, over utterances, records, speakers or subjects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.metrics.edits import Edits

Interval = tuple[float, float]

_BLOCK = 1 << 18  # drawn units per block, so that its counts stay in the processor's cache


def bootstrap(
    tallies: Any,
    statistics: Callable[[np.ndarray], Mapping[str, Any]],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of metrics that are computed from summed counts.

    Args:
        tallies: `(units, ...)`, such as the confusion matrix of each subject; units are drawn with replacement.
        statistics: Takes summed counts `(draws, ...)` and returns values `(draws,)` by name.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Seed of the draws; the same seed gives the same intervals.

    Returns:
        Lower and upper bound by name; NaN if the value of every draw is NaN.
    """
    tallies = np.asarray(tallies, np.float64)
    draws: dict[str, list[np.ndarray]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):  # the counts of a draw may be zero
        if not len(tallies):
            return dict.fromkeys(statistics(np.zeros((1, *tallies.shape[1:]))), (math.nan, math.nan))
        for sums in _resampled(tallies, resamples, seed):
            for name, values in statistics(sums).items():
                draws.setdefault(name, []).append(np.atleast_1d(values))
    return {name: bounds(np.concatenate(values), level) for name, values in draws.items()}


def rate_interval(units: Sequence[Edits], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """`bootstrap` interval of an error rate (Bisani and Ney 2004).

    Args:
        units: The counts of each unit (utterance or speaker) that is drawn with replacement.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Seed of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper bound; NaN without reference tokens.
    """
    tallies = np.reshape([(unit.errors, unit.reference_length) for unit in units], (-1, 2))
    options: Any = {"level": level, "resamples": resamples, "seed": seed}
    return bootstrap(tallies, lambda sums: {"rate": ratio(sums[:, 0], sums[:, 1])}, **options)["rate"]


@dataclass(frozen=True)
class PairedDifference:
    """The difference between the error rates of two systems on the same references."""

    difference: float
    """The second rate minus the first: negative if the second is better; NaN without reference tokens."""
    interval: Interval
    """Bootstrap interval of the difference."""
    second_better: float
    """Share of the replications in which the second makes fewer errors, ties counted half."""

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


def paired_bootstrap(
    first: Sequence[Edits], second: Sequence[Edits], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compare two systems on the same units, drawn together (Bisani and Ney 2004, section 4).

    A hard utterance is hard for both systems, so the difference is known more precisely than either rate: that two
    intervals overlap does not mean that there is no difference.

    Args:
        first: The first system's counts for each unit (utterance or speaker).
        second: The second system's, in the same order.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Seed of the draws.

    Raises:
        ValueError: The references differ.

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
    counts = np.array([(b.errors - a.errors, a.reference_length) for a, b in zip(first, second, strict=True)])
    sums = np.concatenate([*_resampled(counts, resamples, seed)])
    differences = ratio(sums[:, 0], sums[:, 1])
    differences = differences[~np.isnan(differences)]  # of draws without reference tokens
    better = (differences < 0).mean() + 0.5 * (differences == 0).mean()
    return PairedDifference(float(counts[:, 0].sum() / sum(lengths)), bounds(differences, level), float(better))


def _resampled(tallies: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Sums of the tallies of units drawn with replacement, float64 `(draws, ...)`, block by block."""
    rng, units = np.random.default_rng(seed), len(tallies)
    rows = max(1, _BLOCK // units)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        chosen = rng.integers(units, size=(count, units), dtype=np.int32)
        indices = chosen + units * np.arange(count)[:, None]
        times = np.bincount(indices.ravel(), minlength=count * units).reshape(count, units)
        yield (times.astype(np.float64) @ tallies.reshape(units, -1)).reshape(-1, *tallies.shape[1:])


def ratio(numerator: Any, denominator: Any) -> Any:
    """float64 `numerator / denominator`, NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)[()]


def finite(value: Any) -> Any:
    """A value for JSON: None instead of a number that is not finite, anything else unchanged.

    Example:
    >>> finite(0.5), finite(math.nan), finite("a")
    (0.5, None, 'a')
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bounds(values: np.ndarray, level: float) -> Interval:
    """Quantiles with a share `level` of the finite replications between them; NaN if there are none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
