"""How often a recogniser is wrong: error rates, their intervals, and which words are to blame."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import edits, text
from speechrnn.edits import Edits
from speechrnn.faults import Fault, Faults
from speechrnn.manifest import Example
from speechrnn.transcribe import loaded, recognise

if TYPE_CHECKING:
    from rich.console import Console

    from speechrnn.decoding.options import Decoder
    from speechrnn.protocols import Recognizer

Interval = tuple[float, float]

_DRAWS_AT_ONCE = 1 << 22

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Utterance:
    """One utterance that was scored."""

    id: str
    reference: str
    hypothesis: str
    words: Edits
    """The alignment of the words."""
    characters: Edits
    """Counts over the characters, spaces included."""
    subject: str | None = None
    """The speaker, where known."""
    seconds: float = 0.0


@dataclass(frozen=True)
class ErrorReport:
    """Errors of a recogniser over a corpus; every rate comes from counts summed over the utterances."""

    utterances: tuple[Utterance, ...]
    """What was scored, in the order given."""
    words: Edits
    """Summed word counts."""
    characters: Edits
    """Summed character counts."""
    interval: Interval
    """95 % bootstrap interval of the word error rate, utterances drawn with replacement."""
    speakers: dict[str, Edits] = field(default_factory=dict)
    """Summed word counts of each known speaker."""
    speaker_interval: Interval | None = None
    """As `interval`, with speakers drawn; None with fewer than two known speakers."""
    faults: tuple[Fault, ...] = ()
    """What could not be scored; none of it is in the rates."""
    elapsed: float = 0.0
    """Wall time that recognition took, in seconds."""

    @property
    def wer(self) -> float:
        """Word error rate (0.08 is 8 %); NaN where nothing was scored."""
        return self.words.rate if self.utterances else math.nan

    @property
    def cer(self) -> float:
        """Character error rate, spaces counted; NaN where nothing was scored."""
        return self.characters.rate if self.utterances else math.nan

    @property
    def hits(self) -> int:
        """Words that were recognised."""
        return self.words.hits

    @property
    def substitutions(self) -> int:
        """Words that were taken for another."""
        return self.words.substitutions

    @property
    def deletions(self) -> int:
        """Words that were left out."""
        return self.words.deletions

    @property
    def insertions(self) -> int:
        """Words that nobody said."""
        return self.words.insertions

    @property
    def sentence_error_rate(self) -> float:
        """Share of the utterances with a word error; NaN where nothing was scored."""
        wrong = sum(utterance.words.errors > 0 for utterance in self.utterances)
        return wrong / len(self.utterances) if self.utterances else math.nan

    @property
    def seconds(self) -> float:
        """Length of the audio that was scored."""
        return sum(utterance.seconds for utterance in self.utterances)

    @property
    def real_time_factor(self) -> float | None:
        """Wall time for a second of audio; None where it was not measured."""
        return self.elapsed / self.seconds if self.seconds and self.elapsed else None

    def confusions(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent `(said, recognised, times)` of differing words."""
        pairs = ((a, b) for a, b in self._pairs() if a is not None and b is not None and a != b)
        return [(*pair, times) for pair, times in _most_frequent(pairs, most)]

    def deleted(self, most: int = 10) -> list[tuple[str, int]]:
        """The words most often left out, as `(word, times)`."""
        return _most_frequent((a for a, b in self._pairs() if b is None), most)

    def inserted(self, most: int = 10) -> list[tuple[str, int]]:
        """The words most often recognised where nobody said them, as `(word, times)`."""
        return _most_frequent((b for a, b in self._pairs() if a is None), most)

    def worst(self, most: int = 10) -> list[Utterance]:
        """The utterances with the most word errors, the worst first."""
        wrong = [utterance for utterance in self.utterances if utterance.words.errors]
        return sorted(wrong, key=lambda u: (-u.words.errors, -u.words.rate, u.id))[:most]

    def _pairs(self) -> Iterable[edits.Pair]:
        return (pair for utterance in self.utterances for pair in utterance.words.pairs)

    def to_dict(self, *, utterances: bool = False) -> dict[str, Any]:
        """The report as JSON can hold it; a rate that is not finite is None.

        Args:
            utterances: Add every utterance with its texts and counts.
        """
        report: dict[str, Any] = {
            "wer": _finite(self.wer),
            "wer_interval": [_finite(bound) for bound in self.interval],
            "wer_interval_by_speaker": self.speaker_interval and [_finite(bound) for bound in self.speaker_interval],
            "cer": _finite(self.cer),
            "sentence_error_rate": _finite(self.sentence_error_rate),
            "words": _counts(self.words),
            "characters": _counts(self.characters),
            "utterances": len(self.utterances),
            "failed": len(self.faults),
            "hours": self.seconds / 3600,
            "real_time_factor": self.real_time_factor,
            "confusions": [{"said": a, "recognised": b, "times": n} for a, b, n in self.confusions()],
            "deleted": [{"word": word, "times": n} for word, n in self.deleted()],
            "inserted": [{"word": word, "times": n} for word, n in self.inserted()],
            "speakers": {name: {"wer": _finite(found.rate), **_counts(found)} for name, found in self.speakers.items()},
            "faults": [{"where": f.where, "kind": f.kind, "message": f.message} for f in self.faults],
        }
        if utterances:
            report["details"] = [
                {
                    "id": u.id,
                    "subject": u.subject,
                    "reference": u.reference,
                    "hypothesis": u.hypothesis,
                    "words": _counts(u.words),
                    "characters": _counts(u.characters),
                }
                for u in self.utterances
            ]
        return report

    def __str__(self) -> str:
        if not self.utterances:
            return f"No utterance was scored; {len(self.faults)} failed."
        low, high = (100 * bound for bound in self.interval)
        said = (
            f"WER {100 * self.wer:.2f} % (95 % interval {low:.2f} to {high:.2f}), CER {100 * self.cer:.2f} %: "
            f"{self.hits} hits, {self.substitutions} substitutions, {self.deletions} deletions, "
            f"{self.insertions} insertions in {self.words.reference_length:,} words "
            f"of {len(self.utterances):,} utterances"
        )
        return said + (f"; {len(self.faults)} more FAILED and are in none of these rates." if self.faults else ".")


def error_report(
    utterances: Iterable[Utterance],
    *,
    faults: Sequence[Fault] = (),
    elapsed: float = 0.0,
    resamples: int = 10_000,
    seed: int = 0,
) -> ErrorReport:
    """Sum scored utterances up; needs no model.

    Args:
        utterances: From `score`.
        faults: What could not be scored.
        elapsed: Wall time that recognition took, in seconds.
        resamples: Bootstrap replications.
        seed: Of the bootstrap.

    Example:
    >>> report = error_report([score("one two", "one too"), score("three", "three")])
    >>> round(report.wer, 3), report.confusions()
    (0.333, [('two', 'too', 1)])
    """
    utterances = tuple(utterances)
    speakers: dict[str, Edits] = {}
    for utterance in utterances:
        if utterance.subject is not None:
            speakers[utterance.subject] = speakers.get(utterance.subject, Edits()) + _without_pairs(utterance.words)
    return ErrorReport(
        utterances,
        sum((_without_pairs(u.words) for u in utterances), Edits()),
        sum((u.characters for u in utterances), Edits()),
        bootstrap([u.words for u in utterances], resamples=resamples, seed=seed),
        dict(sorted(speakers.items())),
        bootstrap(list(speakers.values()), resamples=resamples, seed=seed) if len(speakers) > 1 else None,
        tuple(faults),
        elapsed,
    )


def score(
    reference: str, hypothesis: str, *, id: str = "", subject: str | None = None, seconds: float = 0.0
) -> Utterance:
    """Compare one hypothesis with its reference; white space separates words, and runs of it count once."""
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    words = edits.align(reference.split(), hypothesis.split())
    return Utterance(id, reference, hypothesis, words, edits.counts(reference, hypothesis), subject, seconds)


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
    counts = np.array([(f.errors, f.reference_length) for f in found], np.int64)
    draw, rates = np.random.default_rng(seed), []
    rows = max(1, _DRAWS_AT_ONCE // len(counts))
    for start in range(0, resamples, rows):
        chosen = draw.integers(len(counts), size=(min(rows, resamples - start), len(counts)), dtype=np.int32)
        errors, lengths = counts[:, 0][chosen].sum(axis=1), counts[:, 1][chosen].sum(axis=1)
        rates.append(errors[lengths > 0] / lengths[lengths > 0])
    low, high = np.quantile(np.concatenate(rates), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def evaluate(
    model: Recognizer | str | os.PathLike[str],
    examples: Iterable[Example],
    *,
    normalize: bool = False,
    batch_seconds: float = 120.0,
    decoder: Decoder | None = None,
    faults: Faults | None = None,
    progress: Callable[[str], None] | None = None,
    seed: int = 0,
) -> ErrorReport:
    """Transcribe examples and compare with their texts.

    An example without a text, or whose audio cannot be read, is left out of the rates and
    listed in the report's `faults`.

    Args:
        model: A recogniser, or the path of one.
        examples: From a manifest.
        normalize: Bring both texts to their normal form first: lower case, no punctuation.
        batch_seconds: Audio recognised at once, padding counted.
        decoder: Turns logits into a path; the best path is taken by default.
        faults: Where faults found before this call are, if any; new ones are added.
        progress: Called with the path of each example once it is done.
        seed: Of the bootstrap.
    """
    faults = Faults() if faults is None else faults
    given = []
    for example in examples:
        if normalize and example.text is not None:
            example = replace(example, text=text.normalize(example.text))
        if example.text is None:
            message = f"{example.path}: has no `text` to compare with. Add it to the manifest."
            faults.add(example.path, "without a text", message)
        else:
            given.append(example)
    model = loaded(model)
    _warn_of_characters(model, given)
    started = time.perf_counter()
    scored = []
    outcomes = recognise(model, given, batch_seconds=batch_seconds, decoder=decoder, progress=progress)
    for example, outcome in zip(given, outcomes, strict=True):
        if isinstance(outcome, Fault):
            faults.add(outcome.where, outcome.kind, outcome.message)
        else:
            scored.append(
                score(
                    example.text or "",
                    text.normalize(outcome.text) if normalize else outcome.text,
                    id=example.id,
                    subject=example.subject,
                    seconds=outcome.duration,
                )
            )
    elapsed = time.perf_counter() - started
    return error_report(scored, faults=tuple(faults), elapsed=elapsed, seed=seed)


def _warn_of_characters(model: Recognizer, examples: Sequence[Example]) -> None:
    """Say how many texts the model could not write even if it heard every word."""
    missing = [model.vocabulary.missing(" ".join((example.text or "").split())) for example in examples]
    if any(missing):
        shown = " ".join(map(repr, sorted(set().union(*missing))[:20]))
        _log.warning(
            "%d of %d texts have characters that the model cannot write (%s); they count as errors.",
            sum(map(bool, missing)),
            len(examples),
            shown,
        )


def print_report(report: ErrorReport, console: Console | None = None, *, per_speaker: bool = False) -> None:
    """Print a report as tables; to standard output unless a console is given."""
    from rich.console import Console

    console = console or Console(highlight=False)
    console.print(str(report), style="bold", markup=False, soft_wrap=True)
    if not report.utterances:
        return
    console.print(_summary(report), markup=False, soft_wrap=True)
    for title, rows in (
        ("Confusions", [(f"{said} > {heard}", times) for said, heard, times in report.confusions()]),
        ("Deleted", report.deleted()),
        ("Inserted", report.inserted()),
    ):
        if rows:
            console.print(
                f"{title}: " + ", ".join(f"{what} ({times})" for what, times in rows), markup=False, soft_wrap=True
            )
    if per_speaker and report.speakers:
        console.print(_speaker_table(report))


def _summary(report: ErrorReport) -> str:
    said = f"Sentence errors {100 * report.sentence_error_rate:.1f} %; {report.seconds / 3600:.3f} h of audio"
    if report.real_time_factor:
        said += f"; {1 / report.real_time_factor:,.0f} times real time"
    if report.speaker_interval:
        low, high = (100 * bound for bound in report.speaker_interval)
        said += f"; interval over {len(report.speakers)} speakers {low:.2f} to {high:.2f} %"
    return said + "."


def _speaker_table(report: ErrorReport) -> Any:
    from rich.table import Table

    table = Table("Speaker", box=None)
    for heading in ("WER %", "Words", "Substituted", "Deleted", "Inserted"):
        table.add_column(heading, justify="right")
    for name, found in sorted(report.speakers.items(), key=lambda item: -item[1].rate):
        numbers = (found.reference_length, found.substitutions, found.deletions, found.insertions)
        table.add_row(name, f"{100 * found.rate:.2f}", *map(str, numbers))
    return table


def _without_pairs(found: Edits) -> Edits:
    return Edits(found.hits, found.substitutions, found.deletions, found.insertions)


def _counts(found: Edits) -> dict[str, int]:
    return {
        "reference": found.reference_length,
        "hits": found.hits,
        "substitutions": found.substitutions,
        "deletions": found.deletions,
        "insertions": found.insertions,
    }


def _most_frequent(items: Iterable[Any], most: int) -> list[tuple[Any, int]]:
    """Items with their numbers, the most frequent first, ties in alphabetical order."""
    return sorted(Counter(items).items(), key=lambda entry: (-entry[1], entry[0]))[:most]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
