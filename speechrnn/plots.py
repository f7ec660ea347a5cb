"""Figures of training and recognition; matplotlib is imported by the functions that draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.decoding import greedy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechrnn.text import Vocabulary

__all__ = ["plot_ctc", "plot_history"]

_LINES = ("#8fd3ff", "#ffd166", "#9be58a", "#ff9ecb", "#e9e2ff", "#ffa66b")


def plot_history(history: Sequence[Mapping[str, float]], *, width: float = 8.0, height: float = 3.4) -> Figure:
    """Loss and word error rate over the epochs.

    Args:
        history: Rows of `TrainingRun.history`; validation may be missing from some.
        width: Of the figure, in inches.
        height: Of the figure, in inches.

    Raises:
        ValueError: There is no epoch.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    if not history:
        raise ValueError("`history` must hold at least one epoch. Received: none.")
    figure = Figure(figsize=(width, height), layout="constrained")
    losses, errors = figure.subplots(1, 2)
    for name, label, colour in (("loss", "training", "#2a6fbb"), ("val_loss", "validation", "#d1495b")):
        epochs, values = _column(history, name)
        if epochs:
            losses.plot(epochs, values, color=colour, label=label, marker="o" if len(epochs) < 15 else None, ms=3.5)
    losses.set(xlabel="epoch", title="CTC loss (nats an utterance)")
    losses.set_ylim(bottom=0)
    losses.legend(frameon=False)
    epochs, values = _column(history, "val_wer")
    errors.plot(epochs, values, color="#d1495b", marker="o", ms=3.5)
    errors.set(xlabel="epoch", title="word error rate, validation voices")
    errors.set_ylim(0, max([*values, 0.05]) * 1.05)
    errors.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (losses, errors):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
    return figure


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
    probabilities = _softmax(logits)
    path = greedy(logits)
    for count, symbol in enumerate(dict.fromkeys(path.ids.tolist())):
        curves.plot(times, probabilities[:, symbol], color=_LINES[count % len(_LINES)], lw=1.5)
    for index, start, end in zip(path.ids, path.start_frames, path.end_frames, strict=True):
        middle = start + int(probabilities[start:end, index].argmax())
        text = vocabulary.decode([int(index)]).replace(" ", "\N{OPEN BOX}")
        curves.annotate(
            text, (times[middle], 1.0), (0, 5), textcoords="offset points", ha="center", annotation_clip=False
        )
        curves.axvline(times[middle], color="white", lw=0.5, alpha=0.35)
    curves.set(ylim=(0, 1), ylabel="probability")
    return figure


def _column(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """The epochs that have `name`, and its values."""
    rows = [(row["epoch"], row[name]) for row in history if row.get(name) is not None and np.isfinite(row[name])]
    return [epoch for epoch, _ in rows], [value for _, value in rows]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
