"""How often a recognizer is wrong: error rates, their intervals, and which words are to blame."""

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
from speechrnn.tasks.recognition import carried
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
def evaluate(  # noqa: D417 - `takes` adds the options
    model: Any,
    examples: Iterable[Example],
    *,
    options: RecognizerEvaluation,
    decoder: Decoder | None = None,
    faults: Faults | None = None,
    progress: Callable[[str], None] | None = None,
) -> ErrorReport:
    """Transcribe examples and compare with their texts.

    An example without a text, or whose audio cannot be read, is left out of the rates and listed in the report's
    `faults`.

    Args:
        model: A recognizer, or the path of one.
        examples: From a manifest.
        decoder: Turns logits into a path; by default the search that the model's file carries, or the best path.
        faults: Where faults found before this call are, if any; new ones are added.
        progress: Called with the path of each example once it is done.
    """
    faults = Faults() if faults is None else faults
    written = text.normalize if options.normalize else str
    listed = [e if e.text is None else replace(e, text=written(e.text)) for e in examples]
    given = [example for example in listed if example.text is not None]
    model = open_model(model, "recognizer")
    decoder = decoder or carried.decoder(model)
    _warn_of_texts(model, given, decoder)
    started = time.perf_counter()
    scored = []
    found = outcomes(model, given, batch_seconds=options.batch_seconds, decoder=decoder, progress=progress)
    for example in listed:
        if example.text is None:
            message = f"{example.path}: has no `text` to compare with. Add it to the manifest."
            faults.add(example.path, "without a text", message)
            continue
        outcome = next(found)
        if isinstance(outcome, Fault):
            faults.extend([outcome])
        else:
            scored.append(
                score(
                    example.text,
                    written(outcome.text),
                    id=example.id,
                    subject=example.subject,
                    seconds=outcome.duration,
                    confidences=[word.confidence for word in outcome.words],
                )
            )
    elapsed = time.perf_counter() - started
    return error_report(scored, faults=tuple(faults), elapsed=elapsed, seed=options.seed)


def _warn_of_texts(model: Recognizer, examples: Sequence[Example], decoder: Decoder) -> None:
    """Say how many texts could not be written even if every word were understood."""
    texts = [" ".join((example.text or "").split()) for example in examples]
    search = getattr(decoder, "search", decoder)  # of what rescores the n best
    words = set(search.words) if isinstance(search, LexiconSearch) else None
    what = "characters that the model cannot write" if words is None else "words that the lexicon lacks"
    if words is None and isinstance(model.vocabulary, Phones):
        what = "words, where the model writes phones, since it has no lexicon"

    def lacking(said: str) -> set[str]:
        return model.vocabulary.missing(said) if words is None else set(said.split()) - words

    missing = [lacking(said) for said in texts]
    if any(missing):
        count, plain = sum(map(bool, missing)), sum(bool(lacking(text.normalize(said))) for said in texts)
        shown = " ".join(map(repr, sorted(set().union(*missing))[:20]))
        advice = f" With `normalize` (--normalize-texts) {plain} have." if plain < count else ""
        _log.warning("%d of %d texts have %s (%s); they count as errors.%s", count, len(texts), what, shown, advice)


def print_report(report: ErrorReport, console: Console | None = None, *, per_speaker: bool = False) -> None:
    """Print a report as tables; to standard output unless a console is given."""
    console = reports.print_summary(report, console)
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


def _speaker_table(report: ErrorReport) -> Table:
    rows = []
    for name, found in sorted(report.speakers.items(), key=lambda item: -item[1].rate):
        numbers = (found.reference_length, found.substitutions, found.deletions, found.insertions)
        rows.append((name, f"{100 * found.rate:.2f}", *map(str, numbers)))
    return reports.table(("Speaker", "WER %", "Words", "Substituted", "Deleted", "Inserted"), rows)
