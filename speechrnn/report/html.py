"""Writes the report as one self-contained HTML page without scripts."""

from __future__ import annotations

import html
import itertools
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from speechrnn.metrics.calibration import reliability
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.errors import Comparison, ErrorReport, Utterance, compare
from speechrnn.metrics.intervals import PairedDifference, rate_interval
from speechrnn.report import pieces, plots
from speechrnn.report.measuring import SHOWN_SECONDS, Clip, Measured

TEMPLATE = Path(__file__).with_name("page.html")

_ROWS = 25
"""Visible rows of a table; the others are in a collapsed section."""

_LISTED = 300
"""Maximum number of utterances in the list of all errors."""


def page(measured: Measured, other: Measured | None = None, *, test: str = "the test set") -> str:
    """Create a page about a recognizer, optionally with a comparison to another one.

    Args:
        measured: From `speechrnn.report.measure`.
        other: A second recognizer, measured on the same examples.
        test: Name of the examples on the page.

    Returns:
        The HTML page.

    Raises:
        ValueError: No utterance was scored, or the two models have none in common.
    """
    report = measured.report
    if not report.utterances:
        raise ValueError(f"A report needs utterances that were scored. Received none; {len(report.faults)} failed.")
    comparison = compare(report, other.report) if other else None
    sections = [
        section
        for section in (
            ("compare", "Two models", _comparison(measured, other, comparison) if other and comparison else ""),
            ("worst", "The worst utterances", _worst(measured, other)),
            ("speakers", "Speakers", _speakers(report)),
            ("lengths", "Lengths", _lengths(report)),
            ("confusions", "Confusions", _confusions(report)),
            ("confidence", "Confidence", _confidence(measured, other)),
            ("training", "Training", _training(measured, other)),
            ("errors", "All errors", _errors(report)),
            ("faults", "What could not be scored", _faults(report)),
            ("card", "Model card", _card(measured, other)),
        )
        if section[2]
    ]
    return string.Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(f"{measured.name}: {pieces.percent(report.wer)} WER on {test}"),
        style=pieces.STYLE,
        heading=html.escape(measured.name if other is None else f"{measured.name} and {other.name}"),
        subtitle=html.escape(
            _subtitle(report, test) + (f". Figures without a name are those of {measured.name}" if other else "")
        ),
        headline=_headline(report),
        contents="".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections),
        sections="\n".join(f'<h2 id="{name}">{heading}</h2>\n{content}' for name, heading, content in sections),
    )


def _subtitle(report: ErrorReport, test: str) -> str:
    speakers = f", {_count(len(report.speakers), 'speaker')}" if report.speakers else ""
    failed = f"; {len(report.faults):,} more could not be scored" if report.faults else ""
    return (
        f"{test}: {len(report.utterances):,} utterances, {report.words.reference_length:,} words{speakers}, "
        f"{_duration(report.seconds)} of audio{failed}"
    )


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s"


def _headline(report: ErrorReport) -> str:
    correct = sum(not u.words.errors for u in report.utterances)
    tiles = [
        (pieces.percent(report.wer), "word error rate", f"95 % interval {pieces.interval(report.interval)}"),
        (
            pieces.percent(report.cer),
            "character error rate",
            f"95 % interval {pieces.interval(report.character_interval)}",
        ),
        (
            f"{correct:,} of {len(report.utterances):,}",
            "utterances without an error",
            f"{report.substitutions:,} substituted, {report.deletions:,} left out, {report.insertions:,} inserted",
        ),
    ]
    if report.speaker_interval:
        tiles[0] = (*tiles[0][:2], f"{tiles[0][2]}; over speakers {pieces.interval(report.speaker_interval)}")
    if report.real_time_factor:
        note = f"{_duration(report.elapsed)} in all, on the machine that made this page"
        tiles.append((f"{1 / report.real_time_factor:,.0f} ×", "as fast as real time", note))
    return "".join(f'<div><b>{b}</b>{label}<span class="soft">{more}</span></div>' for b, label, more in tiles)


def _comparison(one: Measured, two: Measured, comparison: Comparison) -> str:
    rows = [
        (m.name, m.report.wer, pieces.interval(m.report.interval), m.report.cer, m.report.sentence_error_rate)
        for m in (one, two)
    ]
    differences = [("WER, over utterances", comparison.words), ("CER, over utterances", comparison.characters)]
    if comparison.speakers:
        differences.append(("WER, over speakers", comparison.speakers))
    table = pieces.table(
        ("difference", "points", "95 % interval", "the second is better in"),
        [(name, _points(d.difference), _span(d), d.second_better) for name, d in differences],
    )
    whiskers = plots.svg(
        plots.plot_intervals(
            {f"{m.name}: {pieces.percent(m.report.wer)}": (m.report.wer, m.report.interval) for m in (one, two)}
        ),
        "word error rates with 95 % intervals",
    )
    rates = pieces.table(("model", "WER", "95 % interval", "CER", "utterances with errors"), rows)
    return (
        f"<p>{html.escape(_sentence(one, two, comparison))}</p>"
        f'<div class="card wide">{rates}</div><div class="card chart">{whiskers}</div>'
        f'<div class="card wide">{table}</div>'
        f'<p class="soft">Paired bootstrap: both models are scored on the same 10,000 resamples of '
        f"{comparison.utterances:,} utterances. A difference is the second model's rate minus the first's.</p>"
        f"{_changes(one, two)}"
    )


def _sentence(one: Measured, two: Measured, comparison: Comparison) -> str:
    difference = comparison.words
    if not difference.difference:
        return f"{two.name} and {one.name} make the same number of errors."
    better, worse = (two, one) if difference.difference < 0 else (one, two)
    chance = "more than chance explains" if difference.significant else "which may well be chance"
    sentence = (
        f"{better.name} has {100 * abs(difference.difference):.1f} points fewer word errors than {worse.name}, {chance}"
    )
    if comparison.speakers and comparison.speakers.significant != difference.significant:
        return f"{sentence}; over speakers it is {'not ' if difference.significant else ''}significant."
    return f"{sentence}."


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _span(difference: PairedDifference) -> str:
    return f"{_points(difference.interval[0])} to {_points(difference.interval[1])}"


def _changes(one: Measured, two: Measured) -> str:
    """The utterances on which the models differ most, in both directions."""
    others = {(u.id, u.reference): u for u in two.report.utterances}
    pairs = [(u, others[u.id, u.reference]) for u in one.report.utterances if (u.id, u.reference) in others]
    gains = sorted(pairs, key=lambda p: (p[1].words.errors - p[0].words.errors, p[0].id))
    chosen = [p for p in gains if p[1].words.errors < p[0].words.errors][:8]
    chosen += [p for p in gains[::-1] if p[1].words.errors > p[0].words.errors][:8]
    cards = "".join(
        f'<div class="card"><div class="soft">{html.escape(one.name)}: {_errors_of(a)}</div>{pieces.aligned(a)}'
        f'<div class="soft">{html.escape(two.name)}: {_errors_of(b)}</div>{pieces.aligned(b)}</div>'
        for a, b in chosen
    )
    return f"<details><summary>Where they differ most</summary>{pieces.LEGEND}{cards}</details>" if cards else ""


def _worst(measured: Measured, other: Measured | None) -> str:
    if not measured.clips:
        return ""
    others = {u.id: u for u in other.report.utterances} if other else {}
    cards = "".join(_clip(clip, other, others.get(clip.utterance.id)) for clip in measured.clips)
    return (
        '<p class="soft">Above the spectrogram are the recognized words at their times. The curves below it are the '
        "probabilities of the symbols; the dotted line is the “blank”, and the names "
        "at the peaks are those of greedy decoding."
        f"</p>{pieces.LEGEND}{cards}"
    )


def _clip(clip: Clip, other: Measured | None, theirs: Utterance | None) -> str:
    utterance = clip.utterance
    marks = [reference == recognized for reference, recognized in utterance.words.pairs if recognized is not None]
    if len(marks) != len(clip.words):  # a long utterance is truncated, or words are in normal form
        known = set(utterance.reference.split())
        marks = [word.word in known for word in clip.words]
    note = f"{_errors_of(utterance)} in {_count(utterance.words.reference_length, 'word')}, {utterance.seconds:.1f} s"
    if not clip.whole:
        note += f"; the first {SHOWN_SECONDS:g} s are shown"
    below = drawn(clip, marks)
    if other and theirs:
        below += f'<div class="soft">{html.escape(other.name)}: {_errors_of(theirs)}</div>{pieces.aligned(theirs)}'
    return pieces.utterance_card(utterance, pieces.sound(clip.signal, clip.sample_rate), more=below, note=note)


def drawn(clip: Clip, right: Sequence[bool]) -> str:
    """Draw an utterance's spectrogram with its words, and the network's output.

    Args:
        clip: From `clip_of`.
        right: Whether each of its words is right.
    """
    figure = plots.plot_words(
        clip.signal, clip.sample_rate, clip.logits, clip.words, clip.vocabulary, frame_period=clip.frame_period,
        right=right,
    )  # fmt: skip
    label = f"spectrogram and symbol probabilities of: {clip.utterance.reference}"
    return f'<div class="wide figure">{plots.svg(figure, label, least=80 * figure.get_figwidth())}</div>'


def history(rows: Sequence[Mapping[str, float]]) -> Iterable[str]:
    """Draw charts of a training run, one per measured quantity."""
    for title in plots.measured_panels(rows):
        yield plots.svg(plots.plot_history(rows, panels=[title]), f"{title} by epoch")


def _errors_of(utterance: Utterance) -> str:
    return _count(utterance.words.errors, "error")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _speakers(report: ErrorReport) -> str:
    edits_of: dict[str, list[Edits]] = {}
    for utterance in report.utterances:
        if utterance.subject is not None:
            edits_of.setdefault(utterance.subject, []).append(utterance.words)
    worst_first = sorted(edits_of, key=lambda name: (-report.speakers[name].rate, name))
    return _rates("speaker", [(name, edits_of[name]) for name in worst_first])


def _lengths(report: ErrorReport) -> str:
    words = [(u.words.reference_length, u.words) for u in report.utterances]
    seconds = [(u.seconds, u.words) for u in report.utterances if u.seconds]
    by_words = _bins(words, (1, 2, 3, 5, 9, 17, 33), lambda a, b: f"{a}" if b == a + 1 else f"{a} to {b - 1}")
    by_duration = _bins(seconds, (1, 2, 4, 8, 16, 32), lambda a, b: f"{a} to {b} s")
    return _rates("words said", by_words) + _rates("duration", by_duration)


def _bins(
    sized: Sequence[tuple[float, Edits]], edges: Sequence[int], name: Callable[[int, int], str]
) -> list[tuple[str, list[Edits]]]:
    """Group counts by bins of size."""
    rows = [(f"under {edges[0]}", [counts for size, counts in sized if size < edges[0]])]
    for low, high in itertools.pairwise(edges):
        rows.append((name(low, high), [counts for size, counts in sized if low <= size < high]))
    rows.append((f"{edges[-1]} and more", [counts for size, counts in sized if size >= edges[-1]]))
    return [row for row in rows if row[1]]


def _rates(heading: str, groups: Sequence[tuple[str, list[Edits]]]) -> str:
    """Table of the error rates of groups of utterances, with intervals."""
    if not groups:
        return ""
    rows = []
    for name, counts in groups:
        total = sum(counts, Edits())
        bounds = pieces.interval(rate_interval(counts, resamples=2000)) if len(counts) > 1 else ""
        rows.append((name, len(counts), total.reference_length, total.errors, total.rate, bounds, total.rate))
    headings = (heading, "utterances", "words", "errors", "WER", "95 % interval")
    return f'<div class="card wide">{_collapsed(partial(pieces.table, headings, shares=True), rows)}</div>'


def _collapsed(table: Callable[..., str], rows: Sequence[Sequence[pieces.Cell]]) -> str:
    if len(rows) <= _ROWS + 5:
        return table(rows)
    rest = f"<details><summary>{len(rows) - _ROWS:,} more</summary>{table(rows[_ROWS:])}</details>"
    return table(rows[:_ROWS]) + rest


def _confusions(report: ErrorReport) -> str:
    totals = Counter(word for utterance in report.utterances for word in utterance.reference.split())
    tables = (
        (("correct", "recognized", "times", "of"), [(*c, totals[c[0]]) for c in report.confusions(_ROWS)]),
        (("left out", "times", "of"), [(word, n, totals[word]) for word, n in report.deleted(_ROWS)]),
        (("inserted", "times"), report.inserted(_ROWS)),
    )
    cards = [f'<div class="card wide">{pieces.table(headings, rows)}</div>' for headings, rows in tables if rows]
    return f'<div class="grid">{"".join(cards)}</div>' if cards else "<p>There are none.</p>"


def _confidence(measured: Measured, other: Measured | None) -> str:
    diagrams = [d for m in (measured, other) if m is not None for d in _diagrams(m, named=other is not None)]
    if not diagrams:
        return ""
    more = "" if measured.calibration else " <code>speechrnn calibrate</code> fits a correction on validation data."
    return (
        '<p class="soft">Of the words that the model is sure of to 80 %, eight in ten should be right: bars should end '
        "on the dotted line, and the lines from there to the bars are what is missing. The expected calibration error "
        f"(ECE) is their mean length over all words.{more}</p>"
        f"{_grid(diagrams)}"
    )


def _grid(drawn: Iterable[str]) -> str:
    return '<div class="grid">' + "".join(f'<div class="card chart">{chart}</div>' for chart in drawn) + "</div>"


def _diagrams(measured: Measured, *, named: bool) -> Iterable[str]:
    judged = [pair for utterance in measured.report.utterances for pair in utterance.judged]
    if not judged:
        return
    confidences, correct = [p for p, _ in judged], [hit for _, hit in judged]
    name = f"<h3>{html.escape(measured.name)}</h3>" if named else ""
    diagrams = {f"{len(judged):,} words": confidences}
    if measured.calibration:
        diagrams["calibrated"] = measured.calibration(np.array(confidences)).tolist()
    for title, values in diagrams.items():
        figure = plots.plot_reliability({title: reliability(values, correct)})
        yield name + plots.svg(figure, f"reliability diagram, {title}")


def _training(measured: Measured, other: Measured | None) -> str:
    parts = []
    for model in filter(None, (measured, other)):
        if model.history:
            name = f"<h3>{html.escape(model.name)}</h3>" if other else ""
            parts.append(name + _grid(history(model.history)))
    return "".join(parts)


def _errors(report: ErrorReport) -> str:
    wrong = report.worst(len(report.utterances))
    if not wrong:
        return ""
    rest = f"<p>The {len(wrong) - _LISTED:,} with the fewest errors are left out.</p>" if len(wrong) > _LISTED else ""
    rows = "".join(
        f'<tr><td>{pieces.aligned(u)}</td><td class="soft">{html.escape(u.id)}</td></tr>' for u in wrong[:_LISTED]
    )
    return (
        f"<details><summary>{len(wrong):,} utterances with errors, the worst first</summary>{pieces.LEGEND}"
        f'<div class="card wide"><table>{rows}</table></div>{rest}</details>'
    )


def _faults(report: ErrorReport) -> str:
    rows = [(str(fault), fault.kind) for fault in report.faults]
    return f'<div class="card wide">{_collapsed(partial(pieces.table, ("what", "kind")), rows)}</div>' if rows else ""


def _card(measured: Measured, other: Measured | None) -> str:
    cards = []
    for model in filter(None, (measured, other)):
        if model.card:
            rows = pieces.table(("", ""), model.card)
            cards.append(f'<div class="card wide"><h3>{html.escape(model.name)}</h3>{rows}</div>')
    return "".join(cards)
