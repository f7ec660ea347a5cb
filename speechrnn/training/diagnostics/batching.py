"""A manifest looked over before training: durations, the batches that would be made, and what to change. NumPy only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, options_as_keywords
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.selection import Framing, select
from speechrnn.pipeline.targets import Texts
from speechrnn.text import Vocabulary
from speechrnn.training.diagnostics.options import BatchingOptions

_EFFICIENT = 0.85
"""Share of signal below which another plan is looked for; eight buckets give more on AN4 and LibriSpeech."""
_GAIN = 0.02
"""Least gain in that share that makes another plan worth naming."""
_UNEVEN = 4.0
"""Longest over shortest batch, in padded seconds, from which a fixed number of rows wastes memory."""


@dataclass(frozen=True)
class Plan:
    """The batches of an epoch under some options."""

    options: dict[str, Any]
    """Arguments of `speechrnn.pipeline.batches`."""
    efficiency: float
    """Share of the padded samples that is signal, in [0, 1]."""
    batches: int
    """Batches in an epoch."""
    shapes: tuple[tuple[int, float, int], ...]
    """For each shape: rows, padded seconds, batches."""

    @property
    def sizes(self) -> int:
        """Different numbers of rows, each of which the scan on a CPU compiles for once."""
        return len({rows for rows, _, _ in self.shapes})

    @property
    def largest(self) -> float:
        """Padded seconds in the largest batch, which decides the memory."""
        return max(rows * seconds for rows, seconds, _ in self.shapes)


@dataclass(frozen=True)
class BatchingReport:
    """What `examine_batches` found."""

    examples: int
    """Examples given, unreadable lines counted."""
    usable: int
    """Examples that would be trained on."""
    hours: float
    """Hours of those."""
    durations: dict[str, float]
    """Seconds: `shortest`, `median`, `mean`, `p95`, `longest`."""
    counts: dict[str, int]
    """Number of faults of each kind."""
    faults: tuple[str, ...]
    """Every fault, in a sentence."""
    plan: Plan | None
    """The batches under the options given; None if no example can be used."""
    alternatives: tuple[Plan, ...]
    """The same under other options."""
    advice: tuple[str, ...]
    """What to change."""
    right_padded: bool = True
    """The pipeline pads rows on the right with zeros, and drops examples without a frame: what cuDNN needs."""

    @property
    def ok(self) -> bool:
        """Whether every example would be trained on."""
        return not self.counts

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        plans = {
            "plan": self.plan and _plan_dict(self.plan),
            "alternatives": [_plan_dict(plan) for plan in self.alternatives],
        }
        return {**vars(self), "ok": self.ok, **plans}


def _plan_dict(plan: Plan) -> dict[str, Any]:
    return {**vars(plan), "sizes": plan.sizes, "largest": plan.largest}


@options_as_keywords(BatchingOptions)
def examine_batches(  # noqa: D417 - `takes` adds the options
    examples: Sequence[Example],
    *,
    options: BatchingOptions,
    vocabulary: Vocabulary | None = None,
    frame_count: Callable[[int], int] | None = None,
    batch_size: int = 16,
    faults: Faults | None = None,
) -> BatchingReport:
    """Plan the batches of a manifest, and of a few other options beside, from its durations alone.

    Args:
        examples: From `manifest.read`.
        vocabulary: Characters the recognizer can write; those of the texts by default.
        frame_count: Frames of features for a number of samples; those of `window` and `hop` by default.
        batch_size: Examples in a batch.
        faults: Those of reading the manifest, to be part of the report.
    """
    sample_rate, buckets = options.sample_rate, options.buckets
    examples, collected = list(examples), Faults() if faults is None else faults
    total = len(examples) + len(collected)
    framing = Framing(sample_rate, frame_count or options.frame_count, options.stride)
    texts = [example.text for example in examples if example.text]
    letters = vocabulary or (Vocabulary.from_texts(texts) if texts else None)
    targets = Texts(letters, longer=options.longer_texts)
    entries = select(examples, framing, targets=targets, max_duration=options.max_duration, faults=collected)
    seconds = np.array([entry.example.duration for entry in entries])

    def planned(**sizes: Any) -> Plan:
        chosen: Any = {name: sizes.get(name) for name in ("batch_size", "batch_seconds")}
        planner = Planner(entries=entries, framing=framing, most_buckets=sizes["buckets"], **chosen)
        shapes = tuple((b.batch_size, b.length / sample_rate, b.batches) for b in planner.buckets)
        return Plan(sizes, planner.padding_efficiency(), planner.steps, shapes)

    plan, others = None, []
    if entries:
        seconds_given = options.batch_seconds
        rows = {"batch_size": batch_size} if seconds_given is None else {"batch_seconds": seconds_given}
        plan = planned(**rows, buckets=buckets)
        others = [planned(**rows, buckets=n) for n in (buckets // 2, buckets * 2) if n]
        if seconds_given is None:  # as many seconds as the largest batch has now, so that the memory is the same
            others.append(planned(batch_seconds=round(plan.largest, 1), buckets=buckets))
    return BatchingReport(
        examples=total,
        usable=len(entries),
        hours=float(seconds.sum()) / 3600,
        durations=_durations(seconds),
        counts=collected.counts(),
        faults=tuple(str(fault) for fault in collected),
        plan=plan,
        alternatives=tuple(others),
        advice=tuple(_advice(plan, others, seconds, collected)),
    )


def _durations(seconds: np.ndarray) -> dict[str, float]:
    if not seconds.size:
        return {}
    names = {"shortest": 0.0, "median": 0.5, "p95": 0.95, "longest": 1.0}
    found = {name: float(np.quantile(seconds, q)) for name, q in names.items()}
    return {**found, "mean": float(seconds.mean())}


def _advice(plan: Plan | None, others: Sequence[Plan], seconds: np.ndarray, faults: Faults) -> list[str]:
    found = []
    if faults.counts():
        found.append(f"look at the {len(faults):,} examples that would be dropped: `speechrnn check-manifest`")
    if plan is None:
        return found
    best = max(others, key=lambda other: other.efficiency)
    if plan.efficiency < _EFFICIENT and best.efficiency > plan.efficiency + _GAIN:
        options = ", ".join(f"{name}={value}" for name, value in best.options.items())
        found.append(
            f"{1 - plan.efficiency:.0%} of the batches is padding; with {options} it would be "
            f"{1 - best.efficiency:.0%}, in {best.batches:,} batches of {len(best.shapes)} shapes"
        )
    sizes = [rows * length for rows, length, _ in plan.shapes]
    if "batch_size" in plan.options and max(sizes) > _UNEVEN * min(sizes):
        found.append(
            f"the largest batch has {max(sizes) / min(sizes):.0f} times the seconds of the smallest: "
            f"batch_seconds={max(sizes):.0f} fills all to what the largest needs"
        )
    longest, usual = float(seconds.max()), float(np.quantile(seconds, 0.95))
    if longest > 2 * usual:
        over = int((seconds > 2 * usual).sum())
        found.append(
            f"{over:,} examples last more than twice the 95th percentile ({usual:.1f} s) and decide the memory: "
            f"max_duration={2 * usual:.1f} drops them"
        )
    return found
