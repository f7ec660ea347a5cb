"""Figures of training and recognition; matplotlib is imported by the functions that draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.decoding import greedy
from speechrnn.decoding.alignment import log_softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechrnn.decoding.calibration import Bin
    from speechrnn.diagnostics import GradientFlow
    from speechrnn.text import Vocabulary
    from speechrnn.transcript import Word

__all__ = [
    "plot_confusion",
    "plot_ctc",
    "plot_gradient_flow",
    "plot_history",
    "plot_losses",
    "plot_record",
    "plot_reliability",
    "plot_words",
]

_LINES = ("#8fd3ff", "#ffd166", "#9be58a", "#ff9ecb", "#e9e2ff", "#ffa66b")
_LEAST_SHOWN = 0.1
"""Probability that a symbol must reach somewhere to get a curve."""
_DARK = ("#2a6fbb", "#d1495b", "#3a8f5c", "#d98324", "#7b5ea7", "#4aa3a2", "#8a5a44")


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
        colour = _DARK[count % len(_DARK)]
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
        values, colour = probabilities[:, symbol], _DARK[count % len(_DARK)]
        below.plot(times, np.where(_near(values > 0.01), values, np.nan), color=colour, lw=1.5)
        for peak in _peaks(values):
            text = vocabulary.spellings[symbol].replace(" ", "\N{OPEN BOX}")
            offset, centred = (0, 3), {"textcoords": "offset points", "ha": "center", "fontsize": 9}
            below.annotate(text, (times[peak], values[peak]), offset, color=colour, **centred)
    below.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.18), yticks=(0, 0.5, 1))
    below.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    below.spines[["top", "right"]].set_visible(False)
    return figure


def plot_reliability(diagrams: Mapping[str, Sequence[Bin]], *, width: float = 8.0, height: float = 3.6) -> Figure:
    """Reliability diagrams: of the words or answers at each confidence the share that is right, and how many they are.

    Args:
        diagrams: What `speechrnn.metrics.reliability` or `ClassificationReport.reliability` returns, under names.
        width: Of the figure, in inches.
        height: Of the figure, in inches.

    Raises:
        ValueError: There is no diagram.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    if not diagrams:
        raise ValueError("`diagrams` must hold at least one diagram. Received: none.")
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(2, len(diagrams), squeeze=False, sharex=True, sharey="row", height_ratios=(4, 1))
    for (shares, counts), (name, bins) in zip(grid.T, diagrams.items(), strict=True):
        known = [b for b in bins if b.words]
        middles, widths = [(b.low + b.high) / 2 for b in known], [0.9 * (b.high - b.low) for b in known]
        shares.bar(middles, [b.accuracy for b in known], widths, color="#2a6fbb", alpha=0.75, label="right")
        shares.vlines(
            middles, [b.accuracy for b in known], [b.confidence for b in known], color="#d1495b", lw=2, label="gap"
        )
        shares.plot([0, 1], [0, 1], color="#888888", ls=":", lw=1.2)
        total = sum(b.words for b in known)
        error = sum(b.words * abs(b.accuracy - b.confidence) for b in known) / total if total else float("nan")
        shares.set_title(f"{name}: ECE {error:.3f}", fontsize=10)
        counts.bar(middles, [b.words for b in known], widths, color="#999999")
        counts.set(xlabel="confidence", xlim=(0, 1))
        for axes in (shares, counts):
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    grid[0, 0].set(ylabel="share that is right", ylim=(0, 1))
    grid[0, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    grid[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    grid[1, 0].set(ylabel="number")
    return figure


def plot_gradient_flow(flows: Mapping[str, GradientFlow], *, width: float = 9.0, height: float = 4.6) -> Figure:
    """Norm of the gradient against time lag, over that at lag 0; where it is lost, and where it explodes, is shaded.

    Args:
        flows: What `speechrnn.diagnostics.gradient_flow` returns, or any of its values under names of one's own.
        width: Of the figure, in inches.
        height: Of the figure, in inches.

    Raises:
        ValueError: There is no flow.
    """
    from matplotlib.figure import Figure

    from speechrnn.diagnostics.verdicts import LOST

    if not flows:
        raise ValueError("`flows` must hold at least one layer. Received: none.")
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    low, high = LOST**4, LOST**-4
    axes.axhspan(1 / LOST, high, color="#d1495b", alpha=0.08, lw=0)
    axes.axhspan(low, LOST, color="#2a6fbb", alpha=0.08, lw=0)
    for count, (name, flow) in enumerate(flows.items()):
        values = np.array(flow.relative)
        values[~(values > 0)] = np.nan  # a logarithm has no place for what has underflown
        style = ("-", "--", ":")[count // len(_DARK) % 3]
        axes.plot(values, color=_DARK[count % len(_DARK)], ls=style, lw=1.8, label=f"{name}: {flow.verdict().state}")
    axes.set(yscale="log", ylim=(low, high), xlabel="time lag (steps)", ylabel="norm of d loss / d state, lag 0 = 1")
    axes.set_xlim(0, max(len(flow.norms) for flow in flows.values()) - 1 or 1)
    axes.text(0.99, 0.985, "explodes", transform=axes.transAxes, ha="right", va="top", color="#d1495b")
    axes.text(0.99, 0.015, "lost", transform=axes.transAxes, ha="right", va="bottom", color="#2a6fbb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_losses(
    curves: Mapping[str, Mapping[str, Mapping[int, float]]],
    *,
    naive: Mapping[str, float] | None = None,
    width: float = 11.0,
    height: float = 4.4,
) -> Figure:
    """Learning curves of several networks, a panel for each task.

    Args:
        curves: Loss after so many steps, by network, by task.
        naive: For each task the loss of a guess, drawn as a line.
        width: Of the figure, in inches.
        height: Of the figure, in inches.

    Raises:
        ValueError: There is no task.
    """
    from matplotlib.figure import Figure

    if not curves:
        raise ValueError("`curves` must hold at least one task. Received: none.")
    figure = Figure(figsize=(width, height), layout="constrained")
    for axes, (task, networks) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for count, (name, curve) in enumerate(networks.items()):
            marker = "o" if len(curve) == 1 else None
            axes.plot(
                list(curve), list(curve.values()), color=_DARK[count % len(_DARK)], lw=1.8, marker=marker, label=name
            )
        if naive and task in naive:
            axes.axhline(naive[task], color="#888888", ls=":", lw=1.2, label="a guess")
        axes.set(yscale="log", xlabel="steps", title=f"{task}: loss")
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def plot_confusion(matrix: np.ndarray, classes: Sequence[str], *, width: float = 5.0, height: float = 4.4) -> Figure:
    """A confusion matrix: counts, shaded by the share of each true class.

    Args:
        matrix: int `(classes, classes)`, a row for each true class, as `ClassificationReport.matrix`.
        classes: Their names.
        width: Of the figure, in inches.
        height: Of the figure, in inches.

    Raises:
        ValueError: The matrix is of another shape.
    """
    from matplotlib.figure import Figure

    if np.shape(matrix) != (len(classes), len(classes)):
        raise ValueError(f"`matrix` must be {len(classes)} x {len(classes)}. Received: {np.shape(matrix)}.")
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    share = np.asarray(matrix) / np.maximum(np.sum(matrix, 1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 3 else 0)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def plot_record(
    signal: np.ndarray,
    sample_rate: float,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    frame_period: float,
    truth: np.ndarray | None = None,
    title: str = "",
    width: float = 9.0,
    height: float = 4.4,
) -> Figure:
    """A record with what a classifier says of each frame under it.

    Args:
        signal: float `(samples[, channels])`; channels are drawn over each other.
        sample_rate: Samples per second.
        probabilities: float `(frames, classes)`.
        classes: Names of the classes.
        frame_period: Seconds between frames.
        truth: int `(frames,)`, the true class of each frame, -1 where there is none; drawn as a band between the two.
        title: Text above.
        width: Of the figure, in inches.
        height: Of the figure, in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    above, band, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 0.5, 2))
    columns = np.reshape(signal, (len(signal), -1))
    for count, column in enumerate(columns.T):
        above.plot(np.arange(len(column)) / sample_rate, column, color=_DARK[count % len(_DARK)], lw=0.7)
    edges = np.arange(len(probabilities) + 1) * frame_period
    colours = [_DARK[k % len(_DARK)] for k in range(len(classes))]
    rows = [("said", np.argmax(probabilities, -1)), *([] if truth is None else [("true", np.asarray(truth))])]
    for height_of, (_, row) in enumerate(rows):
        for k, colour in enumerate(colours):
            band.fill_between(edges, height_of, height_of + 1, np.append(row, row[-1:]) == k, color=colour, step="post")
    band.set(ylim=(0, len(rows)))
    band.set_yticks([place + 0.5 for place in range(len(rows))], [name for name, _ in rows])
    filled = np.vstack([probabilities, probabilities[-1:]]).T
    below.stackplot(edges, filled, labels=classes, colors=colours, step="post", lw=0)
    below.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), xlim=(0, edges[-1]))
    below.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    above.set_title(title, fontsize=10)
    for axes in (above, band, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _column(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """The epochs that have `name`, and its values."""
    rows = [(row["epoch"], row[name]) for row in history if row.get(name) is not None and np.isfinite(row[name])]
    return [epoch for epoch, _ in rows], [value for _, value in rows]


def _near(flags: np.ndarray) -> np.ndarray:
    """The flags with one more on each side, so that a curve rises from and falls to the axis."""
    return np.convolve(flags, np.ones(3), "same") > 0


def _peaks(values: np.ndarray) -> np.ndarray:
    """Where a probability is highest among its neighbours and worth a name."""
    padded = np.concatenate([[0.0], values, [0.0]])
    return np.flatnonzero((values > 2 * _LEAST_SHOWN) & (values > padded[:-2]) & (values >= padded[2:]))
