"""Evaluate recognizers: word and character error rates, their intervals, and the most frequent errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speechrnn import text
from speechrnn.data.manifest import Example
from speechrnn.decoding.lexicon import LexiconSearch
from speechrnn.faults import Fault, Faults, options_as_keywords
from speechrnn.metrics.errors import ErrorReport, error_report, score
from speechrnn.models import reports
from speechrnn.models.loading import open_model
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.options import RecognizerEvaluation
from speechrnn.tasks.recognition.transcription import outcomes
from speechrnn.text import Phones

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from speechrnn.decoding.options import Decoder
    from speechrnn.models.protocols import Recognizer

_log = logging.getLogger(__name__)


@options_as_keywords(RecognizerEvaluation)
def evaluate(  # noqa: D417 - the decorator adds the options
    model: Any,
    examples: Iterable[Example],
    *,
    options: RecognizerEvaluation,
    decoder: Decoder | None = None,
    faults: Faults | None = None,
    progress: Callable[[str], None] | None = None,
) -> ErrorReport:
    """Transcribe examples and compare the results with their texts.

    An example without a text, or whose audio cannot be read, is excluded from the rates and listed in the report's
    `faults`.

    Args:
        model: A recognizer, or its path.
        examples: Examples of a manifest.
        decoder: Decodes logits; by default the search attached to the model's file, or the best path.
        faults: Earlier faults, such as those of reading the manifest; new ones are added.
        progress: Called with the path of each example once it is done.
    """
    faults = Faults() if faults is None else faults
    normalize = text.normalize if options.normalize else str
    normalized = [e if e.text is None else replace(e, text=normalize(e.text)) for e in examples]
    with_text = [example for example in normalized if example.text is not None]
    model = open_model(model, "recognizer")
    decoder = decoder or attachments.decoder(model)
    _warn_of_texts(model, with_text, decoder)
    started = time.perf_counter()
    scored = []
    results = outcomes(model, with_text, batch_seconds=options.batch_seconds, decoder=decoder, progress=progress)
    for example in normalized:
        if example.text is None:
            message = f"{example.path}: has no `text` to compare with. Add it to the manifest."
            faults.add(example.path, "without a text", message)
            continue
        outcome = next(results)
        if isinstance(outcome, Fault):
            faults.extend([outcome])
        else:
            scored.append(
                score(
                    example.text,
                    normalize(outcome.text),
                    id=example.id,
                    subject=example.subject,
                    seconds=outcome.duration,
                    confidences=[word.confidence for word in outcome.words],
                )
            )
    elapsed = time.perf_counter() - started
    return error_report(scored, faults=tuple(faults), elapsed=elapsed, seed=options.seed)


def _warn_of_texts(model: Recognizer, examples: Sequence[Example], decoder: Decoder) -> None:
    """Log how many texts contain characters or words that the model cannot write."""
    texts = [" ".join((example.text or "").split()) for example in examples]
    search = getattr(decoder, "search", decoder)  # the search of a decoder that rescores its results
    words = set(search.words) if isinstance(search, LexiconSearch) else None
    what = "characters that the model cannot write" if words is None else "words that the lexicon lacks"
    if words is None and isinstance(model.vocabulary, Phones):
        what = "words, where the model writes phones, since it has no lexicon"

    def missing_in(line: str) -> set[str]:
        return model.vocabulary.missing(line) if words is None else set(line.split()) - words

    missing = [missing_in(line) for line in texts]
    if any(missing):
        count, normalized_count = sum(map(bool, missing)), sum(bool(missing_in(text.normalize(line))) for line in texts)
        sample = " ".join(map(repr, sorted(set().union(*missing))[:20]))
        advice = f" With `normalize` (--normalize-texts) {normalized_count} have." if normalized_count < count else ""
        _log.warning("%d of %d texts have %s (%s); they count as errors.%s", count, len(texts), what, sample, advice)


def print_report(report: ErrorReport, console: Console | None = None, *, per_speaker: bool = False) -> None:
    """Print a report as tables, by default to standard output."""
    console = reports.print_summary(report, console)
    if not report.utterances:
        return
    console.print(_summary(report), markup=False, soft_wrap=True)
    for title, rows in (
        ("Confusions", [(f"{word} > {hypothesis}", times) for word, hypothesis, times in report.confusions()]),
        ("Deleted", report.deleted()),
        ("Inserted", report.inserted()),
    ):
        if rows:
            console.print(
                f"{title}: " + ", ".join(f"{word} ({times})" for word, times in rows), markup=False, soft_wrap=True
            )
    if per_speaker and report.speakers:
        console.print(_speaker_table(report))


def _summary(report: ErrorReport) -> str:
    line = f"Sentence errors {100 * report.sentence_error_rate:.1f} %; {report.seconds / 3600:.3f} h of audio"
    if report.real_time_factor:
        line += f"; {1 / report.real_time_factor:,.0f} times real time"
    if report.speaker_interval:
        low, high = (100 * bound for bound in report.speaker_interval)
        line += f"; interval over {len(report.speakers)} speakers {low:.2f} to {high:.2f} %"
    return line + "."


def _speaker_table(report: ErrorReport) -> Table:
    rows = []
    for name, counts in sorted(report.speakers.items(), key=lambda item: -item[1].rate):
        numbers = (counts.reference_length, counts.substitutions, counts.deletions, counts.insertions)
        rows.append((name, f"{100 * counts.rate:.2f}", *map(str, numbers)))
    return reports.table(("Speaker", "WER %", "Words", "Substituted", "Deleted", "Inserted"), rows)
