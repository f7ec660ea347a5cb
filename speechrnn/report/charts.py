"""Charts as SVG that takes its colours from the page, so they are right by day and by night."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from speechrnn.metrics.calibration import Bin
from speechrnn.report import pictures
from speechrnn.report.measuring import Clip
from speechrnn.tasks.recognition.transcript import Word

Points = Sequence[tuple[float, float]]

_LEAST_SHOWN = 0.08
"""Probability that a symbol must reach somewhere to get a curve."""


def lines(
    series: Mapping[str, Points], *, title: str, x_label: str = "epoch", percent: bool = False, from_zero: bool = True
) -> str:
    """A small chart of a few curves; points that are not finite are left out.

    Args:
        series: Curves by name; the first two have colours of their own.
        title: Above the chart.
        x_label: Below it.
        percent: The values are shares.
        from_zero: The vertical axis begins at 0.
    """
    curves = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in series.items()}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return ""
    xs, ys = zip(*(point for points in curves.values() for point in points), strict=True)
    across, up = ticks(min(xs), max(xs), 5, whole=True), ticks(0 if from_zero else min(ys), max(ys), 4)
    width, height, left, top, bottom = 360, 210, 46, 30, 178
    right = width - 12

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (x - across[0]) / (across[-1] - across[0]),
            bottom - (bottom - top) * (y - up[0]) / (up[-1] - up[0]),
        )

    body = [f'<text class="title" x="{left}" y="14">{html.escape(title)}</text>']
    for y in up:
        at = place(across[0], y)[1]
        body.append(f'<path class="grid" d="M{left} {at:.1f}H{right}"/>')
        body.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{_tick(y, percent)}</text>')
    for x in across:
        body.append(f'<text x="{place(x, up[0])[0]:.1f}" y="{bottom + 15}" text-anchor="middle">{_tick(x)}</text>')
    body.append(f'<text x="{(left + right) / 2}" y="{height - 3}" text-anchor="middle">{html.escape(x_label)}</text>')
    for number, (name, points) in enumerate(curves.items()):
        line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        body.append(f'<polyline class="line s{number % 6}" points="{line}"/>')
        if len(points) < 15:
            body += [
                '<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="2.6"/>'.format(number % 6, *place(*p))
                for p in points
            ]
        if len(curves) > 1:
            y = top + 4 + 15 * number
            body.append(
                f'<text class="name s{number % 6}" x="{right}" y="{y}" text-anchor="end">{html.escape(name)}</text>'
            )
    return svg(width, height, body, title)


def history(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Charts of a training run: loss, error rates, gradient norm, learning rate; what was not measured is left out."""

    def column(name: str) -> Points:
        return [(row["epoch"], row[name]) for row in rows if name in row]

    return [
        chart
        for chart in (
            lines({"training": column("loss"), "validation": column("val_loss")}, title="loss (nats an utterance)"),
            lines(
                {"words, validation": column("val_wer"), "tokens, training": column("token_error_rate")},
                title="error rates",
                percent=True,
            ),
            lines({"norm": column("gradient_norm")}, title="gradient norm (median of the epoch)"),
            lines({"rate": column("learning_rate")}, title="learning rate"),
        )
        if chart
    ]


def reliability(bins: Sequence[Bin], title: str) -> str:
    """A reliability diagram: of the words at each confidence, the share that is right, and how many there are."""
    width, height, left, top, size = 330, 330, 46, 30, 226
    bottom, most = top + size, max((b.words for b in bins), default=0)
    body = [f'<text class="title" x="{left}" y="14">{html.escape(title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = bottom - size * share
        body.append(f'<path class="grid" d="M{left} {at}H{left + size}"/>')
        body.append(f'<text x="{left - 6}" y="{at + 4}" text-anchor="end">{share:.0%}</text>')
        body.append(f'<text x="{left + size * share}" y="{bottom + 15}" text-anchor="middle">{share:.0%}</text>')
    for b in bins:
        if not b.words:
            continue
        x, step = left + size * b.low, size * (b.high - b.low)
        said = f"{b.words} words at {b.confidence:.0%}: {b.accuracy:.0%} are right"
        top_of, gap = bottom - size * b.accuracy, bottom - size * b.confidence
        body.append(
            f'<rect class="bar" x="{x + 1.5:.1f}" y="{top_of:.1f}" width="{step - 3:.1f}" '
            f'height="{bottom - top_of:.1f}"><title>{said}</title></rect>'
            f'<path class="gap" d="M{x + step / 2:.1f} {top_of:.1f}V{gap:.1f}"/>'
        )
        tall = 34 * b.words / most
        body.append(
            f'<rect class="count" x="{x + 1.5:.1f}" y="{height - 14 - tall:.1f}" width="{step - 3:.1f}" '
            f'height="{tall:.1f}"><title>{said}</title></rect>'
        )
    body.append(f'<path class="ideal" d="M{left} {bottom}L{left + size} {top}"/>')
    label = f"confidence; below: words, at most {most:,}"
    body.append(f'<text x="{left + size / 2}" y="{height - 2}" text-anchor="middle">{label}</text>')
    return svg(width, height, body, title)


def intervals(rows: Sequence[tuple[str, float, tuple[float, float]]], *, title: str) -> str:
    """Error rates with their intervals, one below the other on one scale."""
    rows = [row for row in rows if all(map(math.isfinite, (row[1], *row[2])))]
    if not rows:
        return ""
    scale = ticks(0, max(high for *_, (_, high) in rows), 5)
    width, left = 420, 12
    height, right = 34 + 40 * len(rows), width - 24

    def place(value: float) -> float:
        return left + (right - left) * value / scale[-1]

    body = []
    for value in scale:
        body.append(f'<path class="grid" d="M{place(value):.1f} 4V{height - 18}"/>')
        body.append(f'<text x="{place(value):.1f}" y="{height - 3}" text-anchor="middle">{_tick(value, True)}</text>')
    for number, (name, rate, (low, high)) in enumerate(rows):
        y = 30 + 40 * number
        body.append(
            f'<text class="name s{number}" x="{left}" y="{y - 12}">{html.escape(name)}</text>'
            f'<path class="whisker s{number}" d="M{place(low):.1f} {y}H{place(high):.1f}"/>'
            f'<circle class="dot s{number}" cx="{place(rate):.1f}" cy="{y}" r="4.5"/>'
        )
    return svg(width, height, body, title)


def clip(found: Clip, marks: Sequence[bool]) -> str:
    """Spectrogram of an utterance, the network's output below it, and the words where they were heard.

    Args:
        found: The utterance.
        marks: Whether each of its words is right.
    """
    seconds = len(found.signal) / found.sample_rate
    left, right_margin = 34, 6
    width = round(max(330, left + right_margin + _pixels_a_second(found.words) * seconds))
    scale = (width - left - right_margin) / max(seconds, 1e-3)
    words_at, picture, curves, bottom = 14, 22, 152, 242
    body = [
        f'<image x="{left}" y="{picture}" width="{scale * seconds:.1f}" height="{curves - picture - 18}" '
        f'preserveAspectRatio="none" href="{pictures.spectrogram(found.signal, found.sample_rate)}"/>'
    ]
    for word, right in zip(found.words, marks, strict=True):
        start, end = left + scale * word.start, left + scale * word.end
        kind = "" if right else " wrong"
        body.append(f'<path class="span{kind}" d="M{start:.1f} {words_at + 5}H{max(end, start + 2):.1f}"/>')
        body.append(
            f'<text class="word{kind}" x="{(start + end) / 2:.1f}" y="{words_at}" text-anchor="middle">'
            f"{html.escape(word.word)}</text>"
        )
    for share in (0, 0.5, 1):
        y = bottom - (bottom - curves) * share
        body.append(f'<path class="grid" d="M{left} {y}H{width - right_margin}"/>')
        body.append(f'<text x="{left - 5}" y="{y + 4}" text-anchor="end">{share:g}</text>')
    step = next((s for s in (0.1, 0.2, 0.5, 1.0) if seconds < 8 * s), 2.0)
    for count in range(int(seconds / step) + 1):
        x = left + scale * step * count
        body.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{step * count:g} s</text>')
    body += _curves(found, lambda frame: left + scale * (frame + 0.5) * found.frame_period, curves, bottom)
    label = f"spectrogram and symbol probabilities of: {found.utterance.reference}"
    return svg(width, bottom + 20, body, label, least=width)


def _pixels_a_second(words: Sequence[Word]) -> float:
    """150, or as many as keep one word's name from the next one's, 400 at most."""
    pixels = 150.0
    for word, after in pairwise(words):
        apart = (after.start + after.end - word.start - word.end) / 2
        needed = 7 * (len(word.word) + len(after.word)) / 2 + 6
        pixels = max(pixels, needed / max(apart, 1e-3))
    return min(pixels, 400.0)


def _curves(found: Clip, place: Callable[[int], float], top: float, bottom: float) -> list[str]:
    """The probability of each symbol that is ever likely, and its letter on each of its peaks."""
    body = []
    likely = [
        s for s in range(1, found.probabilities.shape[1]) if found.probabilities[:, s].max(initial=0) > _LEAST_SHOWN
    ]
    for count, symbol in enumerate(likely):
        values = found.probabilities[:, symbol]
        kept = _near(values > 0.004)
        for run in _runs(kept):
            line = " ".join(f"{place(frame):.1f},{bottom - (bottom - top) * values[frame]:.1f}" for frame in run)
            body.append(f'<polyline class="line thin s{count % 6}" points="{line}"/>')
    best = found.probabilities.argmax(axis=1) if len(found.probabilities) else np.zeros(0, int)
    for start, end in _stretches(best):
        symbol = int(best[start])
        if symbol:
            peak = start + int(found.probabilities[start:end, symbol].argmax())
            letter = found.letters[symbol].replace(" ", "\N{OPEN BOX}")
            y = bottom - (bottom - top) * found.probabilities[peak, symbol] - 4
            body.append(
                f'<text class="letter s{likely.index(symbol) % 6}" x="{place(peak):.1f}" y="{y:.1f}" '
                f'text-anchor="middle">{html.escape(letter)}</text>'
            )
    return body


def svg(width: float, height: float, body: Sequence[str], label: str, *, least: float = 0) -> str:
    """An SVG element as wide as its container; with `least` no fewer pixels, and no more than its text bears."""
    narrow = f' style="min-width:{least:g}px;max-width:{1.4 * least:g}px"' if least else ""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(label)}"{narrow}>'
        + "".join(body)
        + "</svg>"
    )


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Round numbers, about `count` steps of them, of which the first is at most `low` and the last at least `high`."""
    span = high - low if high > low else abs(high) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _tick(value: float, percent: bool = False) -> str:
    if percent:
        return f"{100 * value:.3g}%"
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:,.6g}"


def _near(flags: np.ndarray) -> np.ndarray:
    """The flags with one more on each side, so that a curve rises from and falls to the axis."""
    wide = flags.copy()
    wide[:-1] |= flags[1:]
    wide[1:] |= flags[:-1]
    return wide


def _runs(flags: np.ndarray) -> list[range]:
    return [range(a, b) for a, b in _stretches(flags) if flags[a]]


def _stretches(values: np.ndarray) -> list[tuple[int, int]]:
    """Where values stay the same: (first, one past the last)."""
    edges = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [(a, b) for a, b in pairwise(edges) if a < b]
