"""Evaluate session-based recommendation: how often the next item of a session is among the likeliest predictions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.faults import Fault, Faults
from speechrnn.metrics.intervals import Interval, bootstrap
from speechrnn.tasks.language.methods import LanguageMethods

NextItems = Callable[[Sequence[str], int], list[list[str]]]
"""`ranked(session, k)` returns the `k` likeliest next items after each item of a session except the last."""


@dataclass(frozen=True)
class NextReport:
    """Recall and mean reciprocal rank of the next items, as for GRU4Rec (Hidasi et al., ICLR 2016, section 4)."""

    k: int
    recall: float
    """Share of the items that were among the `k` likeliest."""
    recall_interval: Interval
    """95 % bootstrap interval, sessions drawn with replacement."""
    mrr: float
    """Mean of 1 / rank, and 0 for items that were not among the `k` likeliest."""
    mrr_interval: Interval
    """The same of `mrr`."""
    items: int
    """Number of items predicted."""
    sessions: int
    faults: tuple[Fault, ...] = ()
    """Sessions that have no next item; none of them is in the figures."""

    def __str__(self) -> str:
        (low, high), (least, most) = self.recall_interval, self.mrr_interval
        line = (
            f"recall@{self.k} {100 * self.recall:.1f} % ({100 * low:.1f} to {100 * high:.1f}), "
            f"MRR@{self.k} {self.mrr:.3f} ({least:.3f} to {most:.3f}); {self.items:,} items of "
            f"{self.sessions:,} sessions"
        )
        return line + (f"; {len(self.faults)} more left out." if self.faults else ".")


def next_items(
    model: Any,
    sessions: Iterable[str],
    *,
    k: int = 20,
    faults: Faults | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> NextReport:
    """Predict each item of sessions but the first from those before it, and score the predictions.

    An item that is not in the model's vocabulary is skipped as an input, and counts as missed as a target.

    Args:
        model: A language model of words (`LanguageModel.for_manifest` with `symbols="words"`); or a `NextItems`, such
            as `most_popular` and `bigram` give.
        sessions: Items with spaces between, a text for each session.
        k: Length of the lists.
        faults: Collects sessions of one item, which have no next one; they are in the report as well.
        resamples: Bootstrap replications.
        seed: Of the bootstrap.

    Raises:
        ValueError: `k` is not positive, or no session has two items.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1. Received: {k}.")
    collected = Faults() if faults is None else faults
    ranked = _of_model(model) if isinstance(model, LanguageMethods) else model
    tallies: list[tuple[int, float, int]] = []
    for number, session in enumerate(sessions, 1):
        items = session.split()
        if len(items) < 2:
            where = f"session {number}"
            message = f"{where}: has {len(items)} item{'s' * (len(items) != 1)}, so that none follows. Leave it out."
            collected.add(where, "without a next item", message)
            continue
        ranks = [
            1 + best.index(item) if item in best else 0 for item, best in zip(items[1:], ranked(items, k), strict=True)
        ]
        tallies.append((sum(rank > 0 for rank in ranks), sum(1 / rank for rank in ranks if rank), len(ranks)))
    if not tallies:
        first = next((f" First: {fault.message}" for fault in collected), "")
        raise ValueError(f"No session has two items or more.{first}")
    sums = np.sum(tallies, axis=0)
    intervals = bootstrap(tallies, _rates, resamples=resamples, seed=seed)
    rates = {name: (float(rate), intervals[name]) for name, rate in _rates(sums).items()}
    return NextReport(k, *rates["recall"], *rates["mrr"], int(sums[2]), len(tallies), tuple(collected))


def _rates(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {"recall": sums[..., 0] / sums[..., 2], "mrr": sums[..., 1] / sums[..., 2]}


def most_popular(sessions: Iterable[str]) -> NextItems:
    """A baseline that always predicts the most frequent items of sessions."""
    popular = [item for item, _ in Counter(item for session in sessions for item in session.split()).most_common()]
    return lambda items, k: [popular[:k]] * (len(items) - 1)


def bigram(sessions: Iterable[str]) -> NextItems:
    """A baseline that predicts the items that most often followed the last one in sessions, then the most frequent."""
    counts: Counter[str] = Counter()
    after: dict[str, Counter[str]] = {}
    for session in sessions:
        items = session.split()
        counts.update(items)
        for item, following in itertools.pairwise(items):
            after.setdefault(item, Counter())[following] += 1
    popular = [item for item, _ in counts.most_common()]

    def ranked(items: Sequence[str], k: int) -> list[list[str]]:
        seen = [[item for item, _ in after.get(item, Counter()).most_common(k)] for item in items[:-1]]
        return [list(dict.fromkeys([*best, *popular[: k + len(best)]]))[:k] for best in seen]

    return ranked


def _of_model(model: Any) -> NextItems:
    symbols = model.vocabulary.symbols
    numbers = {symbol: i + 1 for i, symbol in enumerate(symbols)}

    def ranked(items: Sequence[str], k: int) -> list[list[str]]:
        known = np.array([item in numbers for item in items[:-1]])
        ids = np.array([[0, *(numbers[item] for item in items[:-1] if item in numbers)]], np.int32)
        logits = model.logits(ids, np.array([ids.shape[1]], np.int32))[0][np.cumsum(known)]
        best = np.argsort(-logits[:, 1:], axis=1, kind="stable")[:, :k]
        return [[symbols[index] for index in row] for row in best]

    return ranked
