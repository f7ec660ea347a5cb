"""Plots of training: curves over epochs, gradients over time lags, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.report.plots.style import DARK, blank, without_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechrnn.training.diagnostics import GradientFlow


PANELS: dict[str, dict[str, str]] = {
    "loss": {"training": "loss", "validation": "val_loss"},
    "error rate": {
        "words, validation": "val_wer",
        "tokens, validation": "val_token_error_rate",
        "tokens, training": "token_error_rate",
    },
    "gradient norm (median of the epoch)": {"norm": "gradient_norm"},
    "learning rate": {"rate": "learning_rate"},
}
"""Panels of `plot_history` for all kinds, by title, each with the columns of a history by their labels.

Other quantities that a kind measures have panels with their own names: "accuracy", "perplexity", "mae".
"""
_NO_CURVES = {"epoch", "seconds"}
_RATES = {"error rate", "accuracy", "macro f1", "symbol error", "sequence error"}


def plot_history(
    history: Sequence[Mapping[str, float]],
    *,
    panels: Sequence[str] | None = None,
    width: float = 4.0,
    height: float = 2.8,
) -> Figure:
    """Plot loss, error rates, gradient norm and learning rate over epochs; quantities without values are left out.

    Args:
        history: Rows of `TrainingRun.history`; values may be missing.
        panels: Which of `measured_panels` to draw; None for all.
        width: Width of each panel in inches.
        height: Height of each panel in inches.

    Raises:
        ValueError: There are no epochs, or nothing to draw.
    """
    if not history:
        raise ValueError("`history` must hold at least one epoch. Received: none.")
    measured = _measured(history)
    panels = list(measured) if panels is None else list(panels)
    if not panels:
        raise ValueError(f"`history` must hold a loss or an error rate. Received: {', '.join(history[-1])}.")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = blank(width * columns, height * rows)
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for index, title in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, index)
        for count, (name, column) in enumerate(measured[title].items()):
            epochs, values = _column(history, column)
            if epochs:
                marker = "o" if len(epochs) < 15 else None
                axes.plot(epochs, values, color=DARK[count], label=name, marker=marker, ms=3.5)
        axes.set(xlabel="epoch", title=title)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title in _RATES:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        if len(measured[title]) > 1:
            axes.legend(frameon=False, fontsize=8)
        without_frame(axes)
    return figure


def measured_panels(history: Sequence[Mapping[str, float]]) -> list[str]:
    """Titles of the panels for which a history has values: some of `PANELS`, and other quantities of its kind."""
    return list(_measured(history))


def _measured(history: Sequence[Mapping[str, float]]) -> dict[str, dict[str, str]]:
    """Panels by title, each with the columns that have values."""
    panels = {title: dict(columns) for title, columns in PANELS.items()}
    known = {column for columns in PANELS.values() for column in columns.values()} | _NO_CURVES
    for column in dict.fromkeys(column for row in history for column in row if column not in known):
        name = column.removeprefix("val_")
        panels.setdefault(name.replace("_", " "), {})["training" if name == column else "validation"] = column
    with_values = {
        title: {name: column for name, column in columns.items() if _column(history, column)[0]}
        for title, columns in panels.items()
    }
    return {title: columns for title, columns in with_values.items() if columns}


def plot_gradient_flow(flows: Mapping[str, GradientFlow], *, width: float = 9.0, height: float = 4.6) -> Figure:
    """Plot gradient norms relative to lag 0 against the time lag; regions of vanishing and explosion are shaded.

    Args:
        flows: Result of `speechrnn.training.diagnostics.gradient_flow`, or some of its values by other names.
        width: Width of the figure in inches.
        height: Height of the figure in inches.

    Raises:
        ValueError: There are no flows.
    """
    from speechrnn.training.diagnostics.verdicts import LOST

    if not flows:
        raise ValueError("`flows` must hold at least one layer. Received: none.")
    figure = blank(width, height)
    axes = figure.subplots()
    low, high = LOST**4, LOST**-4
    axes.axhspan(1 / LOST, high, color=DARK[1], alpha=0.08, lw=0)
    axes.axhspan(low, LOST, color=DARK[0], alpha=0.08, lw=0)
    for count, (name, flow) in enumerate(flows.items()):
        values = np.array(flow.relative)
        values[~(values > 0)] = np.nan  # values that have underflown have no logarithm
        style = ("-", "--", ":")[count // len(DARK) % 3]
        axes.plot(values, color=DARK[count % len(DARK)], ls=style, lw=1.8, label=f"{name}: {flow.verdict().state}")
    axes.set(yscale="log", ylim=(low, high), xlabel="time lag (steps)", ylabel="norm of d loss / d state, lag 0 = 1")
    axes.set_xlim(0, max(len(flow.norms) for flow in flows.values()) - 1 or 1)
    axes.text(0.99, 0.985, "explodes", transform=axes.transAxes, ha="right", va="top", color=DARK[1])
    axes.text(0.99, 0.015, "lost", transform=axes.transAxes, ha="right", va="bottom", color=DARK[0])
    without_frame(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_losses(
    curves: Mapping[str, Mapping[str, Mapping[int, float]]],
    *,
    naive: Mapping[str, float] | None = None,
    width: float = 11.0,
    height: float = 4.4,
) -> Figure:
    """Plot learning curves of several networks, one panel per task.

    Args:
        curves: Loss by number of steps, by network, by task.
        naive: Loss of a guess for each task, drawn as a line.
        width: Width of the figure in inches.
        height: Height of the figure in inches.

    Raises:
        ValueError: There are no tasks.
    """
    if not curves:
        raise ValueError("`curves` must hold at least one task. Received: none.")
    figure = blank(width, height)
    for axes, (task, networks) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for count, (name, curve) in enumerate(networks.items()):
            marker = "o" if len(curve) == 1 else None
            axes.plot(
                list(curve), list(curve.values()), color=DARK[count % len(DARK)], lw=1.8, marker=marker, label=name
            )
        if naive and task in naive:
            axes.axhline(naive[task], color="#888888", ls=":", lw=1.2, label="a guess")
        axes.set(yscale="log", xlabel="steps", title=f"{task}: loss")
        without_frame(axes)
        axes.title.set_fontsize(10)
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def _column(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """The epochs with a value of `name`, and the values."""
    rows = [(row["epoch"], row[name]) for row in history if row.get(name) is not None and np.isfinite(row[name])]
    return [epoch for epoch, _ in rows], [value for _, value in rows]
