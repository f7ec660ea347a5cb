"""How sure a figure is, and the difference of two: the bootstrap over utterances, records, speakers or subjects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.metrics.edits import Edits

Interval = tuple[float, float]

_DRAWS_AT_ONCE = 1 << 18  # counts of a block of draws stay in a processor's cache


def bootstrap(
    tallies: Any,
    statistics: Callable[[np.ndarray], Mapping[str, Any]],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of figures that come from summed counts.

    Args:
        tallies: `(units, ...)`, such as the confusion matrix of each subject; units are drawn with replacement.
        statistics: Of summed counts `(draws, ...)`: figures `(draws,)` by name.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Of the draws; the same seed gives the same intervals.

    Returns:
        Lower and upper bound by name; NaN where the figure was never a number.
    """
    tallies = np.asarray(tallies, np.float64)
    found: dict[str, list[np.ndarray]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw may hold nothing that is counted
        if not len(tallies):
            return dict.fromkeys(statistics(np.zeros((1, *tallies.shape[1:]))), (math.nan, math.nan))
        for sums in _resampled(tallies, resamples, seed):
            for name, values in statistics(sums).items():
                found.setdefault(name, []).append(np.atleast_1d(values))
    return {name: bounds(np.concatenate(values), level) for name, values in found.items()}


def rate_interval(found: Sequence[Edits], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """`bootstrap` interval of an error rate (Bisani and Ney 2004).

    Args:
        found: The counts of each unit (utterance or speaker) that is drawn with replacement.
        level: Share of the replications between the bounds.
        resamples: Number of replications.
        seed: Of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper bound; NaN where there is no reference token.
    """
    tallies = np.reshape([(f.errors, f.reference_length) for f in found], (-1, 2))
    options: Any = {"level": level, "resamples": resamples, "seed": seed}
    return bootstrap(tallies, lambda sums: {"rate": ratio(sums[:, 0], sums[:, 1])}, **options)["rate"]


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
    counts = np.array([(b.errors - a.errors, a.reference_length) for a, b in zip(first, second, strict=True)])
    sums = np.concatenate([*_resampled(counts, resamples, seed)])
    differences = ratio(sums[:, 0], sums[:, 1])
    differences = differences[~np.isnan(differences)]  # a draw may have no reference token
    better = (differences < 0).mean() + 0.5 * (differences == 0).mean()
    return PairedDifference(float(counts[:, 0].sum() / sum(lengths)), bounds(differences, level), float(better))


def _resampled(tallies: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Float64 `(draws, ...)`: the tallies of so many units, drawn with replacement, summed; block by block."""
    draw, units = np.random.default_rng(seed), len(tallies)
    rows = max(1, _DRAWS_AT_ONCE // units)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        chosen = draw.integers(units, size=(count, units), dtype=np.int32)
        places = chosen + units * np.arange(count)[:, None]
        times = np.bincount(places.ravel(), minlength=count * units).reshape(count, units)
        yield (times.astype(np.float64) @ tallies.reshape(units, -1)).reshape(-1, *tallies.shape[1:])


def ratio(above: Any, below: Any) -> Any:
    """float64 `above / below`, NaN where that is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)[()]


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
