"""Word and character errors of a recognizer over a corpus, with intervals, and comparison of two recognizers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from speechrnn.faults import Fault
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.intervals import Interval, PairedDifference, finite, paired_bootstrap, rate_interval


@dataclass(frozen=True)
class Utterance:
    """A scored utterance."""

    id: str
    reference: str
    hypothesis: str
    words: Edits
    """The alignment of the words."""
    characters: Edits
    """Counts over the characters, spaces included."""
    subject: str | None = None
    """The speaker, if known."""
    seconds: float = 0.0
    confidences: tuple[float, ...] = ()
    """The confidence of each word of the hypothesis, if known."""

    @property
    def judged(self) -> list[tuple[float, bool]]:
        """The confidence of each recognized word, and whether it is right; empty if confidences are not known."""
        right = [reference == word for reference, word in self.words.pairs if word is not None]
        return list(zip(self.confidences, right, strict=True)) if self.confidences else []


@dataclass(frozen=True)
class ErrorReport:
    """Errors of a recognizer over a corpus; every rate is computed from counts summed over the utterances."""

    utterances: tuple[Utterance, ...]
    """The scored utterances, in the order of the examples."""
    words: Edits
    """Summed word counts."""
    characters: Edits
    """Summed character counts."""
    interval: Interval
    """95 % bootstrap interval of the word error rate, utterances drawn with replacement."""
    speakers: dict[str, Edits] = field(default_factory=dict)
    """Summed word counts of each known speaker."""
    speaker_interval: Interval | None = None
    """Like `interval`, with speakers drawn; None with fewer than two known speakers."""
    faults: tuple[Fault, ...] = ()
    """Examples that could not be scored and are not in the rates."""
    elapsed: float = 0.0
    """Wall time of recognition in seconds."""
    character_interval: Interval = (math.nan, math.nan)
    """Like `interval`, for the character error rate."""

    @property
    def wer(self) -> float:
        """Word error rate (0.08 is 8 %); NaN if no utterance was scored."""
        return self.words.rate if self.utterances else math.nan

    @property
    def cer(self) -> float:
        """Character error rate, spaces counted; NaN if no utterance was scored."""
        return self.characters.rate if self.utterances else math.nan

    @property
    def hits(self) -> int:
        """Correctly recognized words."""
        return self.words.hits

    @property
    def substitutions(self) -> int:
        """Words recognized as another word."""
        return self.words.substitutions

    @property
    def deletions(self) -> int:
        """Words of the reference that the hypothesis lacks."""
        return self.words.deletions

    @property
    def insertions(self) -> int:
        """Words of the hypothesis that the reference lacks."""
        return self.words.insertions

    @property
    def sentence_error_rate(self) -> float:
        """Share of the utterances with a word error; NaN if no utterance was scored."""
        wrong = sum(utterance.words.errors > 0 for utterance in self.utterances)
        return wrong / len(self.utterances) if self.utterances else math.nan

    @property
    def seconds(self) -> float:
        """Length of the scored audio."""
        return sum(utterance.seconds for utterance in self.utterances)

    @property
    def real_time_factor(self) -> float | None:
        """Wall time per second of audio; None if it was not measured."""
        return self.elapsed / self.seconds if self.seconds and self.elapsed else None

    def confusions(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent `(said, recognized, times)` of differing words."""
        pairs = ((a, b) for a, b in self._pairs() if a is not None and b is not None and a != b)
        return [(*pair, times) for pair, times in _most_frequent(pairs, most)]

    def deleted(self, most: int = 10) -> list[tuple[str, int]]:
        """The most frequently deleted words, as `(word, times)`."""
        return _most_frequent((a for a, b in self._pairs() if b is None), most)

    def inserted(self, most: int = 10) -> list[tuple[str, int]]:
        """The most frequently inserted words, as `(word, times)`."""
        return _most_frequent((b for a, b in self._pairs() if a is None), most)

    def worst(self, most: int = 10) -> list[Utterance]:
        """The utterances with the most word errors, the worst first."""
        with_errors = [utterance for utterance in self.utterances if utterance.words.errors]
        return sorted(with_errors, key=lambda u: (-u.words.errors, -u.words.rate, u.id))[:most]

    def _pairs(self) -> Iterable[edits.Pair]:
        return (pair for utterance in self.utterances for pair in utterance.words.pairs)

    def to_dict(self, *, utterances: bool = False) -> dict[str, Any]:
        """The report as values for JSON; a rate that is not finite is None.

        Args:
            utterances: Whether to add every utterance with its texts and counts.
        """
        report: dict[str, Any] = {
            "wer": finite(self.wer),
            "wer_interval": [finite(bound) for bound in self.interval],
            "wer_interval_by_speaker": self.speaker_interval and [finite(bound) for bound in self.speaker_interval],
            "cer": finite(self.cer),
            "cer_interval": [finite(bound) for bound in self.character_interval],
            "sentence_error_rate": finite(self.sentence_error_rate),
            "words": self.words.to_dict(),
            "characters": self.characters.to_dict(),
            "utterances": len(self.utterances),
            "failed": len(self.faults),
            "hours": self.seconds / 3600,
            "real_time_factor": self.real_time_factor,
            "confusions": [{"said": a, "recognized": b, "times": n} for a, b, n in self.confusions()],
            "deleted": [{"word": word, "times": n} for word, n in self.deleted()],
            "inserted": [{"word": word, "times": n} for word, n in self.inserted()],
            "speakers": {name: {"wer": finite(words.rate), **words.to_dict()} for name, words in self.speakers.items()},
            "faults": [asdict(fault) for fault in self.faults],
        }
        if utterances:
            report["details"] = [
                {
                    "id": u.id,
                    "subject": u.subject,
                    "reference": u.reference,
                    "hypothesis": u.hypothesis,
                    "words": u.words.to_dict(),
                    "characters": u.characters.to_dict(),
                }
                for u in self.utterances
            ]
        return report

    def __str__(self) -> str:
        if not self.utterances:
            return f"No utterance was scored; {len(self.faults)} failed."
        low, high = (100 * bound for bound in self.interval)
        rates = (
            f"WER {100 * self.wer:.2f} % (95 % interval {low:.2f} to {high:.2f}), CER {100 * self.cer:.2f} %: "
            f"{self.hits} hits, {self.substitutions} substitutions, {self.deletions} deletions, "
            f"{self.insertions} insertions in {self.words.reference_length:,} words "
            f"of {len(self.utterances):,} utterances"
        )
        return rates + (f"; {len(self.faults)} more FAILED and are in none of these rates." if self.faults else ".")


def error_report(
    utterances: Iterable[Utterance],
    *,
    faults: Sequence[Fault] = (),
    elapsed: float = 0.0,
    resamples: int = 10_000,
    seed: int = 0,
) -> ErrorReport:
    """Sum up scored utterances; needs no model.

    Args:
        utterances: Results of `score`.
        faults: Examples that could not be scored.
        elapsed: Wall time of recognition in seconds.
        resamples: Number of bootstrap replications.
        seed: Seed of the bootstrap.

    Example:
    >>> report = error_report([score("one two", "one too"), score("three", "three")])
    >>> round(report.wer, 3), report.confusions()
    (0.333, [('two', 'too', 1)])
    """
    utterances = tuple(utterances)
    speakers = _by_speaker(utterances)
    return ErrorReport(
        utterances,
        sum((u.words for u in utterances), Edits()),
        sum((u.characters for u in utterances), Edits()),
        rate_interval([u.words for u in utterances], resamples=resamples, seed=seed),
        dict(sorted(speakers.items())),
        rate_interval(list(speakers.values()), resamples=resamples, seed=seed) if len(speakers) > 1 else None,
        tuple(faults),
        elapsed,
        rate_interval([u.characters for u in utterances], resamples=resamples, seed=seed),
    )


def score(
    reference: str,
    hypothesis: str,
    *,
    id: str = "",
    subject: str | None = None,
    seconds: float = 0.0,
    confidences: Sequence[float] = (),
) -> Utterance:
    """Compare a hypothesis with its reference; words are separated by any white space.

    Confidences are used if there is one for each word of the hypothesis.
    """
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    words = edits.align(reference.split(), hypothesis.split())
    known = tuple(confidences) if len(confidences) == len(hypothesis.split()) else ()
    return Utterance(id, reference, hypothesis, words, edits.counts(reference, hypothesis), subject, seconds, known)


def _by_speaker(utterances: Iterable[Utterance]) -> dict[str, Edits]:
    """Summed word counts of each known speaker."""
    speakers: dict[str, Edits] = {}
    for utterance in utterances:
        if utterance.subject is not None:
            speakers[utterance.subject] = speakers.get(utterance.subject, Edits()) + utterance.words
    return speakers


@dataclass(frozen=True)
class Comparison:
    """Two recognizers compared on the utterances that both were scored on."""

    utterances: int
    """Number of these utterances."""
    words: PairedDifference
    """Difference of the word error rates, utterances drawn with replacement."""
    characters: PairedDifference
    """Difference of the character error rates, utterances drawn."""
    speakers: PairedDifference | None = None
    """Difference of the word error rates, speakers drawn; None with fewer than two known speakers."""


def compare(first: ErrorReport, second: ErrorReport, *, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Compare two reports on the same examples by paired bootstrap; differences are the second's minus the first's.

    Utterances are matched by id and reference; utterances of only one report are left out.

    Raises:
        ValueError: The reports have no utterance in common.
    """
    others = {(u.id, u.reference): u for u in second.utterances}
    pairs = [(u, others[u.id, u.reference]) for u in first.utterances if (u.id, u.reference) in others]
    if not pairs:
        raise ValueError("Two reports must have utterances in common, by id and reference. Received: none.")
    options: Any = {"resamples": resamples, "seed": seed}
    by_speaker = [_by_speaker(side) for side in zip(*pairs, strict=True)]
    return Comparison(
        len(pairs),
        paired_bootstrap([a.words for a, _ in pairs], [b.words for _, b in pairs], **options),
        paired_bootstrap([a.characters for a, _ in pairs], [b.characters for _, b in pairs], **options),
        paired_bootstrap(*(list(side.values()) for side in by_speaker), **options) if len(by_speaker[0]) > 1 else None,
    )


def _most_frequent(items: Iterable[Any], most: int) -> list[tuple[Any, int]]:
    """Items and their counts, the most frequent first, ties in alphabetical order."""
    return sorted(Counter(items).items(), key=lambda entry: (-entry[1], entry[0]))[:most]
