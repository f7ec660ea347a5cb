"""Recognition: what the network gives over the spectrogram, and where the words stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.decoding import greedy
from speechrnn.decoding.alignment import log_softmax
from speechrnn.report.plots.style import DARK, bare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechrnn.tasks.recognition.transcript import Word
    from speechrnn.text import Vocabulary

_LINES = ("#8fd3ff", "#ffd166", "#9be58a", "#ff9ecb", "#e9e2ff", "#ffa66b")
_LEAST_SHOWN = 0.1
"""Probability that a symbol must reach somewhere to get a curve."""


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
    """A spectrogram with the network's output over it: each symbol's probability, and what greedy decoding reads.

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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
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
        vmax=high + 0.6 * (high - low),  # dimmed, so that the curves stand out
    )
    axes.set(xlabel="seconds", ylabel="mel band", xlim=(0, seconds))
    axes.set_title(title, fontsize=10, pad=22)
    curves = axes.twinx()
    times = (np.arange(len(logits)) + 0.5) * frame_period
    probabilities = np.exp(log_softmax(logits))
    path = greedy(logits)
    for count, symbol in enumerate(dict.fromkeys(path.ids.tolist())):
        curves.plot(times, probabilities[:, symbol], color=_LINES[count % len(_LINES)], lw=1.5)
    for index, start, end in zip(path.ids, path.start_frames, path.end_frames, strict=True):
        middle = start + int(probabilities[start:end, index].argmax())
        text = vocabulary.spellings[index].replace(" ", "\N{OPEN BOX}")
        curves.annotate(
            text, (times[middle], 1.0), (0, 5), textcoords="offset points", ha="center", annotation_clip=False
        )
        curves.axvline(times[middle], color="white", lw=0.5, alpha=0.35)
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
    title: str = "",
    width: float = 8.0,
    height: float = 4.6,
) -> Figure:
    """A spectrogram with the words where they stand, and below it the probability of each symbol.

    Args:
        signal: float32 `(samples,)`.
        sample_rate: Samples per second.
        logits: float `(frames, vocabulary)` of the signal.
        words: With their times, as `transcribe.spell` gives them for a decoded or an aligned path.
        vocabulary: Names of the symbols.
        frame_period: Seconds between frames of logits.
        title: Text above.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
    """
    from matplotlib.figure import Figure

    from speechrnn.report.pictures import log_mel

    figure = Figure(figsize=(width, height), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.25, 1))
    energies, seconds = log_mel(signal, sample_rate, bands=80, step=0.01), len(signal) / sample_rate
    low, high = np.quantile(energies, [0.05, 0.998])
    extent = (0, len(energies) * 0.01, 0, 80)
    above.imshow(energies.T, origin="lower", aspect="auto", cmap="magma", extent=extent, vmin=low, vmax=high)
    for count, word in enumerate(words):
        colour = DARK[count % len(DARK)]
        for axes in (above, below):
            axes.axvspan(word.start, word.end, color=colour, alpha=0.14, lw=0)
        for edge in (word.start, word.end):
            above.axvline(edge, color="white", lw=0.8, alpha=0.7)
        middle = ((word.start + word.end) / 2, 80)
        above.annotate(
            word.word,
            middle,
            (0, 4),
            textcoords="offset points",
            ha="center",
            color=colour,
            weight="bold",
            clip_on=False,
        )
    above.set(ylabel="mel band", xlim=(0, seconds))
    above.set_title(title, fontsize=10, pad=20)
    probabilities, times = np.exp(log_softmax(logits)), (np.arange(len(logits)) + 0.5) * frame_period
    below.plot(times, probabilities[:, 0], color="#bbbbbb", lw=1, ls=":", label="blank")
    for count, symbol in enumerate(np.flatnonzero(probabilities[:, 1:].max(axis=0, initial=0) > _LEAST_SHOWN) + 1):
        values, colour = probabilities[:, symbol], DARK[count % len(DARK)]
        below.plot(times, np.where(_near(values > 0.01), values, np.nan), color=colour, lw=1.5)
        for peak in _peaks(values):
            text = vocabulary.spellings[symbol].replace(" ", "\N{OPEN BOX}")
            offset, centred = (0, 3), {"textcoords": "offset points", "ha": "center", "fontsize": 9}
            below.annotate(text, (times[peak], values[peak]), offset, color=colour, **centred)
    below.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.18), yticks=(0, 0.5, 1))
    below.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    bare(below)
    return figure


def _near(flags: np.ndarray) -> np.ndarray:
    """The flags with one more on each side, so that a curve rises from and falls to the axis."""
    return np.convolve(flags, np.ones(3), "same") > 0


def _peaks(values: np.ndarray) -> np.ndarray:
    """Where a probability is highest among its neighbours and worth a name."""
    padded = np.concatenate([[0.0], values, [0.0]])
    return np.flatnonzero((values > 2 * _LEAST_SHOWN) & (values > padded[:-2]) & (values >= padded[2:]))
