"""Plots of recognition: the network's output over the spectrogram, words at their times, and error rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn.decoding import greedy
from speechrnn.decoding.alignment import log_softmax
from speechrnn.metrics.intervals import Interval
from speechrnn.report.plots.sound import draw_spectrogram
from speechrnn.report.plots.style import DARK, PALETTE, blank, without_frame
from speechrnn.text import Phones

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechrnn.tasks.recognition.transcript import Word
    from speechrnn.text import Vocabulary

_LIGHT = ("#8fd3ff", "#ffd166", "#9be58a", "#ff9ecb", "#e9e2ff", "#ffa66b")
"""Colors of lines on a dark background."""
_MIN_PROBABILITY = 0.1
"""Symbols whose probability never exceeds this have no curve."""
_LETTER = 0.11
"""Width of a letter of a word, in inches."""


def plot_ctc(
    features: np.ndarray,
    logits: np.ndarray,
    vocabulary: Vocabulary,
    *,
    feature_period: float,
    frame_period: float,
    title: str = "",
    width: float = 8.0,
    height: float = 3.4,
) -> Figure:
    """Plot a spectrogram with the probability of each symbol and the greedily decoded symbols over it.

    Args:
        features: float `(frames, features)`, such as one row of `LogMel`.
        logits: float `(logit frames, vocabulary)` of the same utterance.
        vocabulary: Names of the symbols.
        feature_period: Seconds between frames of features.
        frame_period: Seconds between frames of logits.
        title: Text above.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
    """
    figure = blank(width, height)
    axes = figure.subplots()
    seconds = len(features) * feature_period
    low, high = np.quantile(features, [0.02, 0.99])
    axes.imshow(
        np.asarray(features).T,
        origin="lower",
        aspect="auto",
        cmap="bone",
        extent=(0, seconds, 0, features.shape[1]),
        vmin=low,
        vmax=high + 0.6 * (high - low),  # dimmed, so that the curves are visible
    )
    axes.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds))
    axes.set_title(title, fontsize=10, pad=22)
    curves = axes.twinx()
    times = (np.arange(len(logits)) + 0.5) * frame_period
    probabilities = np.exp(log_softmax(logits))
    letters = list(_letters(logits))
    for count, symbol in enumerate(dict.fromkeys(symbol for symbol, _ in letters)):
        curves.plot(times, probabilities[:, symbol], color=_LIGHT[count % len(_LIGHT)], lw=1.5)
    for symbol, frame in letters:
        text = _name(vocabulary, symbol)
        offset: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "annotation_clip": False}
        curves.annotate(text, (times[frame], 1.0), (0, 5), **offset)
        curves.axvline(times[frame], color="white", lw=0.5, alpha=0.35)
    curves.set(ylim=(0, 1), ylabel="probability")
    return figure


def plot_words(
    signal: np.ndarray,
    sample_rate: int,
    logits: np.ndarray,
    words: Sequence[Word],
    vocabulary: Vocabulary,
    *,
    frame_period: float,
    right: Sequence[bool] | None = None,
    title: str = "",
    width: float | None = None,
    height: float = 4.2,
) -> Figure:
    """Plot a spectrogram with words at their times, and below it the probability of each symbol.

    Letters are at the frames where the symbols of the best path are most likely.

    Args:
        signal: float32 `(samples,)`.
        sample_rate: Samples per second.
        logits: float `(frames, vocabulary)` of the signal.
        words: Words with times, as `transcribe.spell` returns for a decoded or aligned path.
        vocabulary: Names of the symbols.
        frame_period: Seconds between frames of logits.
        right: Whether each word is right: wrong words are red, and the others have the same color.
        title: Text above.
        width: Width of the figure in inches; None fits the words.
        height: Of the figure, in inches.
    """
    seconds = len(signal) / sample_rate
    figure = blank(width or 1.0 + max(3.6, seconds * _inches_per_second(words)), height)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1))
    draw_spectrogram(above, signal, sample_rate)
    above.set_xlabel("")
    above.set_title(title, fontsize=10, pad=20)
    for count, word in enumerate(words):
        color = DARK[count % len(DARK)]
        if right is not None:
            color = PALETTE["ink"] if right[count] else PALETTE["wrong"]
        for axes in (above, below):
            axes.axvspan(word.start, word.end, color=color, alpha=0.14, lw=0)
        for edge in (word.start, word.end):
            above.axvline(edge, color="white", lw=0.8, alpha=0.7)
        middle = ((word.start + word.end) / 2, above.get_ylim()[1])
        name: dict[str, Any] = {
            "textcoords": "offset points",
            "ha": "center",
            "weight": "bold",
            "annotation_clip": False,
        }
        above.annotate(word.word, middle, (0, 4), color=color, **name)
    probabilities, times = np.exp(log_softmax(logits)), (np.arange(len(logits)) + 0.5) * frame_period
    below.plot(times, probabilities[:, 0], color="#999999", lw=1, ls=":")
    likely = (np.flatnonzero(probabilities[:, 1:].max(axis=0, initial=0) > _MIN_PROBABILITY) + 1).tolist()
    for symbol in likely:
        values = probabilities[:, symbol]
        visible = np.where(_dilated(values > 0.01), values, np.nan)
        below.plot(times, visible, color=DARK[likely.index(symbol) % len(DARK)], lw=1.5)
    for symbol, frame in _letters(logits):
        text = _name(vocabulary, symbol)
        color = DARK[likely.index(symbol) % len(DARK)] if symbol in likely else PALETTE["ink"]
        position = (times[frame], probabilities[frame, symbol])
        below.annotate(text, position, (0, 3), textcoords="offset points", ha="center", fontsize=9, color=color)
    below.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.18), yticks=(0, 0.5, 1))
    without_frame(below)
    return figure


def _name(vocabulary: Vocabulary, symbol: int) -> str:
    """A symbol as it is shown; phones are spelled with a space before each, which tells nothing."""
    spelling = vocabulary.spellings[symbol]
    return (spelling.strip() if isinstance(vocabulary, Phones) else spelling).replace(" ", "\N{OPEN BOX}")


def plot_intervals(rates: Mapping[str, tuple[float, Interval]], *, width: float = 5.0) -> Figure:
    """Plot error rates with their intervals, below each other on one scale.

    Args:
        rates: Rate and bounds by name; those that are not finite are left out.
        width: Of the figure, in inches.
    """
    from matplotlib.ticker import PercentFormatter

    known = {name: (rate, bounds) for name, (rate, bounds) in rates.items() if np.isfinite([rate, *bounds]).all()}
    figure = blank(width, 0.6 + 0.45 * max(1, len(known)))
    axes = figure.subplots()
    for row, (name, (rate, bounds)) in enumerate(known.items()):
        color = DARK[row % len(DARK)]
        axes.plot(bounds, [-row, -row], color=color, lw=4, alpha=0.5, solid_capstyle="round")
        axes.plot([rate], [-row], color=color, marker="o")
        coordinates: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(name, (0, -row), (2, 6), color=color, fontsize=9, **coordinates)
    axes.set(ylim=(0.4 - max(1, len(known)), 0.8), yticks=[])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", color=PALETTE["line"])
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


def _letters(logits: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the symbols of the best path, each with the frame in which it is most likely."""
    path, values = greedy(logits), log_softmax(logits)
    for symbol, start, end in zip(path.ids.tolist(), path.start_frames, path.end_frames, strict=True):
        yield symbol, int(start) + int(values[start:end, symbol].argmax())


def _dilated(flags: np.ndarray) -> np.ndarray:
    """Extend flags by one on each side, so that a curve starts and ends at the axis."""
    return np.convolve(flags, np.ones(3), "same") > 0


def _inches_per_second(words: Sequence[Word]) -> float:
    """Inches per second that keep the words apart, from 1.5 to 5."""
    inches = 1.5
    for word, after in pairwise(words):
        apart = (after.start + after.end - word.start - word.end) / 2
        inches = max(inches, _LETTER * ((len(word.word) + len(after.word)) / 2 + 1) / max(apart, 1e-3))
    return min(inches, 5.0)
