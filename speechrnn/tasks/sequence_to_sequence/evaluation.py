"""Evaluate encoder-decoders: error rates of symbols and of whole sequences, with intervals."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from speechrnn.faults import Fault, Faults, options_as_keywords
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.intervals import Interval, finite, rate_interval
from speechrnn.models import reports
from speechrnn.models.loading import open_model
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions, SequenceEvaluation
from speechrnn.tasks.sequence_to_sequence.pairs import encoded, pairs_of
from speechrnn.tasks.sequence_to_sequence.translation import EncoderDecoder, outcomes

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Scored:
    """A source that was scored."""

    source: str
    reference: str
    """The true target that is nearest to the result."""
    found: str
    symbols: Edits


@dataclass(frozen=True)
class SequenceReport:
    """Errors of an encoder-decoder; every rate comes from counts summed over the sources."""

    sequences: tuple[Scored, ...]
    """What was scored, in the order given."""
    symbols: Edits
    """Summed counts of symbols."""
    interval: Interval
    """95 % bootstrap interval of the symbol error rate, sources drawn with replacement."""
    sequence_interval: Interval
    """The same of the sequence error rate."""
    faults: tuple[Fault, ...] = ()
    """What could not be scored; none of it is in the rates."""
    elapsed: float = 0.0
    """Wall time that searching took, in seconds."""

    @property
    def symbol_error_rate(self) -> float:
        """Substituted, missing and additional symbols per symbol of the truth; NaN without sources."""
        return self.symbols.rate if self.sequences else math.nan

    @property
    def sequence_error_rate(self) -> float:
        """Share of the sources whose result is none of the true targets; NaN without sources."""
        wrong = sum(one.symbols.errors > 0 for one in self.sequences)
        return wrong / len(self.sequences) if self.sequences else math.nan

    def worst(self, most: int = 10) -> list[Scored]:
        """The sources with the most errors, the worst first."""
        wrong = [one for one in self.sequences if one.symbols.errors]
        return sorted(wrong, key=lambda one: (-one.symbols.errors, -one.symbols.rate, one.source))[:most]

    def __str__(self) -> str:
        if not self.sequences:
            return f"No sequence was scored; {len(self.faults)} failed."
        intervals = self.interval, self.sequence_interval
        (low, high), (least, most) = ([100 * bound for bound in pair] for pair in intervals)
        line = (
            f"symbol error {100 * self.symbol_error_rate:.2f} % (95 % interval {low:.2f} to {high:.2f}), "
            f"sequence error {100 * self.sequence_error_rate:.2f} % ({least:.2f} to {most:.2f}): "
            f"{self.symbols.substitutions} substitutions, {self.symbols.deletions} deletions, "
            f"{self.symbols.insertions} insertions in {self.symbols.reference_length:,} symbols of "
            f"{len(self.sequences):,} sequences"
        )
        return line + (f"; {len(self.faults)} more FAILED and are in none of these rates." if self.faults else ".")

    def to_dict(self, *, details: bool = False) -> dict[str, Any]:
        """As JSON can hold it, with every source where `details` are wanted."""
        counts = self.symbols
        report: dict[str, Any] = {
            "symbol_error_rate": finite(self.symbol_error_rate),
            "symbol_interval": [finite(bound) for bound in self.interval],
            "sequence_error_rate": finite(self.sequence_error_rate),
            "sequence_interval": [finite(bound) for bound in self.sequence_interval],
            "symbols": counts.reference_length,
            "substitutions": counts.substitutions,
            "deletions": counts.deletions,
            "insertions": counts.insertions,
            "sequences": len(self.sequences),
            "failed": len(self.faults),
            "seconds": self.elapsed,
            "faults": [str(fault) for fault in self.faults],
        }
        if details:
            report["details"] = [
                {"source": one.source, "reference": one.reference, "found": one.found, "errors": one.symbols.errors}
                for one in self.sequences
            ]
        return report

    def print(self, console: Console | None = None) -> None:
        """Print the report and its worst sequences; to standard output unless a console is given."""
        console = reports.print_summary(self, console)
        if rows := [(one.source, one.reference, one.found, str(one.symbols.errors)) for one in self.worst()]:
            console.print(reports.table(("Source", "Reference", "Found", "Errors"), rows, names=3))


@options_as_keywords(SequenceEvaluation)
def evaluate(  # noqa: D417 - the decorator adds the options
    model: EncoderDecoder | str | os.PathLike[str],
    examples: Iterable[Any],
    *,
    options: SequenceEvaluation,
    faults: Faults | None = None,
    progress: Callable[[str], object] | None = None,
    resamples: int = 10_000,
) -> SequenceReport:
    """Translate sources and compare with their targets.

    A source with several targets, in several pairs, counts once, and is compared with the nearest target, as is usual
    for words with several pronunciations.

    Args:
        model: An encoder-decoder, or its path.
        examples: Pairs, see `pairs_of`.
        faults: Collects pairs that cannot be scored; they are also in the report.
        progress: Called with each source once it is done.
        resamples: Bootstrap replications.
    """
    collected = Faults() if faults is None else faults
    loaded: EncoderDecoder = open_model(model, "sequence to sequence")
    targets: dict[str, list[tuple[str, list[int]]]] = {}
    limit = loaded.max_length if options.max_length is None else options.max_length
    for pair in pairs_of(examples):
        try:
            truth = encoded(loaded.target, pair.target, what="target", where=pair.id, limit=limit)
        except ValueError as error:
            collected.add_error(pair.id, error)
        else:
            targets.setdefault(pair.source, []).append((pair.target, truth))
    scored, started = [], time.perf_counter()
    search = {one.name: getattr(options, one.name) for one in fields(SearchOptions)}
    results = outcomes(loaded, targets, progress=progress, **search)
    for (source, truths), outcome in zip(targets.items(), results, strict=True):
        if isinstance(outcome, Fault):
            collected.add(outcome.where, outcome.kind, outcome.message)
            continue
        ids = loaded.target.encode(outcome.text) if outcome.text else []
        counts = [edits.counts(truth, ids) for _, truth in truths]
        best = min(range(len(truths)), key=[(one.errors, one.rate) for one in counts].__getitem__)
        scored.append(Scored(source, truths[best][0], outcome.text, counts[best]))
    elapsed = time.perf_counter() - started
    each = [one.symbols for one in scored]
    whole = [Edits(substitutions=1) if one.errors else Edits(hits=1) for one in each]
    return SequenceReport(
        tuple(scored),
        sum(each, Edits()),
        rate_interval(each, resamples=resamples, seed=options.seed),
        rate_interval(whole, resamples=resamples, seed=options.seed),
        tuple(collected),
        elapsed,
    )
