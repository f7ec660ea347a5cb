"""Plots of classification: confusion matrices, reliability diagrams, and records with frame probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn.report.plots.style import CLASSES, blank, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from speechrnn.metrics.calibration import Bin

_LETTER = 0.085
"""Width of a letter of a label, in inches."""
_MAX_CLASSES_WITH_SHARES = 5
"""Maximum number of classes for which the cells of a confusion matrix show percentages too."""
_GREY = "#c9c9c9"


def plot_confusion(
    matrix: np.ndarray, classes: Sequence[str], *, width: float | None = None, height: float | None = None
) -> Figure:
    """Plot a confusion matrix: counts, shaded by the fraction of each true class.

    Args:
        matrix: int `(classes, classes)`, a row for each true class, as `ClassificationReport.matrix`.
        classes: Names of the classes.
        width: Width of the figure in inches; None fits the classes and their names.
        height: Height of the figure in inches.

    Raises:
        ValueError: The matrix has another shape.
    """
    from matplotlib.ticker import PercentFormatter

    size = len(classes)
    if np.shape(matrix) != (size, size):
        raise ValueError(f"`matrix` must be {size} x {size}. Received: {np.shape(matrix)}.")
    share = np.asarray(matrix) / np.maximum(np.sum(matrix, 1, keepdims=True), 1)
    longest, digits = max(map(len, classes)), len(f"{np.max(matrix):,}")
    cell = max(0.45, _LETTER * digits + 0.15, 2.6 / size)
    rotated = _LETTER * longest + 0.15 > cell
    label = _LETTER * longest
    needed = (size * cell + label + 1.8, size * cell + (0.75 * label if rotated else 0.2) + 0.8)
    figure = blank(width or needed[0], height or needed[1])
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.55 else "black"
            text = f"{count:,}\n{share[row, column]:.0%}" if size <= _MAX_CLASSES_WITH_SHARES else f"{count:,}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    rotation: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if rotated else {}
    axes.set_xticks(range(size), classes, **rotation)
    axes.set_yticks(range(size), classes)
    edges = np.arange(1, size) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="white", lw=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="true")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=25, ticks=(0, 0.5, 1), format=PercentFormatter(1))
    bar.set_label("of the true class", fontsize=9)
    bar.outline.set_visible(False)
    return figure


def plot_reliability(
    diagrams: Mapping[str, Sequence[Bin]], *, width: float | None = None, height: float = 4.0
) -> Figure:
    """Plot reliability diagrams: the accuracy and number of words or answers by confidence.

    Args:
        diagrams: Results of `speechrnn.metrics.reliability` or `ClassificationReport.reliability`, by name.
        width: Width of the figure in inches; None fits the diagrams.
        height: Height of the figure in inches.

    Raises:
        ValueError: There are no diagrams.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    if not diagrams:
        raise ValueError("`diagrams` must hold at least one diagram. Received: none.")
    figure = blank(width or 0.9 + 3.0 * len(diagrams), height)
    grid = figure.subplots(2, len(diagrams), squeeze=False, sharex=True, height_ratios=(4, 1))
    for (shares, counts), (name, bins) in zip(grid.T, diagrams.items(), strict=True):
        nonempty = [b for b in bins if b.words]
        middles, widths = [(b.low + b.high) / 2 for b in nonempty], [0.92 * (b.high - b.low) for b in nonempty]
        accuracies, confidences = [b.accuracy for b in nonempty], [b.confidence for b in nonempty]
        shares.plot([0, 1], [0, 1], color="#888888", ls=":", lw=1.2)
        shares.bar(middles, accuracies, widths, color=CLASSES[0], alpha=0.75, label="right")
        shares.vlines(middles, accuracies, confidences, color=CLASSES[1], lw=2, label="to the confidence")
        total = sum(b.words for b in nonempty)
        error = sum(b.words * abs(b.accuracy - b.confidence) for b in nonempty) / total if total else float("nan")
        shares.set_title(f"{name}: ECE {error:.3f}", fontsize=10)
        shares.set(ylim=(0, 1))
        shares.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        counts.bar(middles, [b.words for b in nonempty], widths, color="#999999")
        counts.set(xlabel="confidence", xlim=(0, 1), xticks=(0, 0.25, 0.5, 0.75, 1))
        counts.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        counts.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        without_frame(shares, counts)
    grid[0, 0].set(ylabel="share that is right")
    lines, names = grid[0, 0].get_legend_handles_labels()
    grid[0, 0].legend(lines[::-1], names[::-1], frameon=False, fontsize=8, loc="upper left")
    grid[1, 0].set(ylabel="number")
    return figure


def plot_record(
    signal: np.ndarray,
    sample_rate: float,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    frame_period: float,
    truth: np.ndarray | None = None,
    channels: Sequence[str] = (),
    title: str = "",
    width: float = 10.0,
    height: float | None = None,
) -> Figure:
    """Plot a record with a classifier's probabilities of each frame.

    Args:
        signal: float `(samples[, channels])`; several channels are drawn below each other, each at its own scale.
        sample_rate: Samples per second.
        probabilities: float `(frames, classes)`.
        classes: Names of the classes.
        frame_period: Seconds between frames.
        truth: int `(frames,)`, the true class of each frame, -1 where unknown; drawn as a band between the two.
        channels: Names of the channels.
        title: Text above.
        width: Width of the figure in inches.
        height: Height of the figure in inches; None is what the channels need.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    columns = np.reshape(signal, (len(signal), -1))
    ratio = 1.4 + 0.35 * columns.shape[1]
    figure = blank(width, height or ratio + 2.6)
    above, band, below = figure.subplots(3, 1, sharex=True, height_ratios=(ratio, 0.25 if truth is None else 0.5, 1.3))
    _draw_signal(above, columns, sample_rate, channels)
    above.set_title(title, fontsize=10)
    shares, names, colors = _grouped(probabilities, classes)
    edges = np.arange(len(shares) + 1) * frame_period
    rows = {"said": np.argmax(probabilities, -1), **({} if truth is None else {"true": np.asarray(truth)})}
    columns_of = np.array([colors[k] for k in range(len(classes))])
    class_rows = np.ma.masked_less(np.stack([np.where(row < 0, -1, columns_of[row]) for row in rows.values()]), 0)
    palette = [CLASSES[k] if k < len(CLASSES) else _GREY for k in range(len(names))]
    band.pcolormesh(edges, np.arange(len(rows) + 1), class_rows, cmap=ListedColormap(palette), vmin=-0.5,
                    vmax=len(names) - 0.5)  # fmt: skip
    band.set_yticks(np.arange(len(rows)) + 0.5, rows)
    band.tick_params(length=0)
    band.spines[:].set_visible(False)
    below.stackplot(edges, np.vstack([shares, shares[-1:]]).T, colors=palette, step="post", lw=0)
    below.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), xlim=(0, edges[-1]), yticks=(0, 0.5, 1))
    without_frame(above, below)
    handles = [Patch(color=color, label=name) for name, color in zip(names, palette, strict=True)]
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
    return figure


def _draw_signal(axes: Axes, columns: np.ndarray, sample_rate: float, names: Sequence[str]) -> None:
    """Draw one channel with its values, or several below each other."""
    times, count = np.arange(len(columns)) / sample_rate, columns.shape[1]
    if count == 1:
        axes.plot(times, columns[:, 0], color="#333333", lw=0.6)
        axes.set_ylabel(names[0] if names else "")
        return
    for index, column in enumerate(columns.T):
        low, high = np.nanmin(column), np.nanmax(column)
        lane = 0.9 * (column - (low + high) / 2) / (high - low or 1) - index
        axes.plot(times, lane, color=("#333333", "#777777")[index % 2], lw=0.6)
    axes.set(ylim=(0.5 - count, 0.5))
    axes.set_yticks(-np.arange(count), names or map(str, range(count)))
    axes.tick_params(axis="y", length=0)


def _grouped(probabilities: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, list[str], list[int]]:
    """Probabilities, names, and column of each class; if there are more classes than colors, only the most likely."""
    if len(classes) <= len(CLASSES):
        return np.asarray(probabilities), list(classes), list(range(len(classes)))
    most_likely = np.sort(np.argsort(-np.mean(probabilities, 0))[: len(CLASSES)])
    rest = np.delete(probabilities, most_likely, axis=1).sum(1, keepdims=True)
    columns = {int(k): column for column, k in enumerate(most_likely)}
    names = [*(classes[k] for k in columns), f"{len(classes) - len(columns)} others"]
    column_of = [columns.get(k, len(columns)) for k in range(len(classes))]
    return np.hstack([np.asarray(probabilities)[:, most_likely], rest]), names, column_of
