"""Examine a manifest before training: durations, the planned batches, and what to change. Needs NumPy only."""

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
"""Efficiency below which another plan may be advised; eight buckets exceed it on AN4 and LibriSpeech."""
_GAIN = 0.02
"""Smallest gain in efficiency for which another plan is advised."""
_UNEVEN = 4.0
"""Ratio of the largest to the smallest batch, in padded seconds, above which a fixed number of rows wastes memory."""


@dataclass(frozen=True)
class Plan:
    """The batches of an epoch under given options."""

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
        """Number of different batch sizes; on a CPU the scan is compiled once for each."""
        return len({rows for rows, _, _ in self.shapes})

    @property
    def largest(self) -> float:
        """Padded seconds in the largest batch, which determines the memory."""
        return max(rows * seconds for rows, seconds, _ in self.shapes)


@dataclass(frozen=True)
class BatchingReport:
    """The result of `examine_batches`."""

    examples: int
    """Number of examples, including unreadable lines."""
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
    """The batches under the given options; None if no example can be used."""
    alternatives: tuple[Plan, ...]
    """The batches under other options."""
    advice: tuple[str, ...]
    """What to change."""
    right_padded: bool = True
    """The pipeline pads rows on the right with zeros, and drops examples without a frame: what cuDNN needs."""

    @property
    def ok(self) -> bool:
        """Whether every example would be trained on."""
        return not self.counts

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        plans = {
            "plan": self.plan and _plan_dict(self.plan),
            "alternatives": [_plan_dict(plan) for plan in self.alternatives],
        }
        return {**vars(self), "ok": self.ok, **plans}


def _plan_dict(plan: Plan) -> dict[str, Any]:
    return {**vars(plan), "sizes": plan.sizes, "largest": plan.largest}


@options_as_keywords(BatchingOptions)
def examine_batches(  # noqa: D417 - the decorator adds the options
    examples: Sequence[Example],
    *,
    options: BatchingOptions,
    vocabulary: Vocabulary | None = None,
    frame_count: Callable[[int], int] | None = None,
    batch_size: int = 16,
    faults: Faults | None = None,
) -> BatchingReport:
    """Plan the batches of a manifest, under the given options and a few others, from its durations alone.

    Args:
        examples: From `manifest.read`.
        vocabulary: The recognizer's vocabulary; by default the characters of the texts.
        frame_count: Frames of features for a number of samples; by default follows from `window` and `hop`.
        batch_size: Examples in a batch.
        faults: Faults of reading the manifest, which become part of the report.
    """
    sample_rate, buckets = options.sample_rate, options.buckets
    examples, collected = list(examples), Faults() if faults is None else faults
    total = len(examples) + len(collected)
    framing = Framing(sample_rate, frame_count or options.frame_count, options.stride)
    texts = [example.text for example in examples if example.text]
    vocabulary = vocabulary or (Vocabulary.from_texts(texts) if texts else None)
    targets = Texts(vocabulary, longer=options.longer_texts)
    entries = select(examples, framing, targets=targets, max_duration=options.max_duration, faults=collected)
    seconds = np.array([entry.example.duration for entry in entries])

    def make_plan(buckets: int, **size: Any) -> Plan:
        sizes: Any = {"batch_size": None, "batch_seconds": None, **size}
        planner = Planner(entries=entries, framing=framing, max_buckets=buckets, **sizes)
        shapes = tuple((b.batch_size, b.length / sample_rate, b.batches) for b in planner.buckets)
        return Plan({**size, "buckets": buckets}, planner.padding_efficiency(), planner.steps, shapes)

    plan, others = None, []
    if entries:
        batch_seconds = options.batch_seconds
        size = {"batch_size": batch_size} if batch_seconds is None else {"batch_seconds": batch_seconds}
        plan = make_plan(buckets, **size)
        others = [make_plan(n, **size) for n in (buckets // 2, buckets * 2) if n]
        if batch_seconds is None:  # as many seconds as the largest batch has now, so that the memory is the same
            others.append(make_plan(buckets, batch_seconds=round(plan.largest, 1)))
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
    quantiles = {name: float(np.quantile(seconds, q)) for name, q in names.items()}
    return {**quantiles, "mean": float(seconds.mean())}


def _advice(plan: Plan | None, others: Sequence[Plan], seconds: np.ndarray, faults: Faults) -> list[str]:
    advice = []
    if faults.counts():
        advice.append(f"look at the {len(faults):,} examples that would be dropped: `speechrnn check-manifest`")
    if plan is None:
        return advice
    best = max(others, key=lambda other: other.efficiency)
    if plan.efficiency < _EFFICIENT and best.efficiency > plan.efficiency + _GAIN:
        options = ", ".join(f"{name}={value}" for name, value in best.options.items())
        advice.append(
            f"{1 - plan.efficiency:.0%} of the batches is padding; with {options} it would be "
            f"{1 - best.efficiency:.0%}, in {best.batches:,} batches of {len(best.shapes)} shapes"
        )
    sizes = [rows * length for rows, length, _ in plan.shapes]
    if "batch_size" in plan.options and max(sizes) > _UNEVEN * min(sizes):
        advice.append(
            f"the largest batch has {max(sizes) / min(sizes):.0f} times the seconds of the smallest: "
            f"batch_seconds={max(sizes):.0f} fills all to what the largest needs"
        )
    p95 = float(np.quantile(seconds, 0.95))
    if over := int((seconds > 2 * p95).sum()):
        advice.append(
            f"{over:,} examples last more than twice the 95th percentile ({p95:.1f} s) and decide the memory: "
            f"max_duration={2 * p95:.1f} drops them"
        )
    return advice
