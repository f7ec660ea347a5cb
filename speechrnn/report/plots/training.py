"""Training: curves over the epochs, and gradients over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.report.plots.style import DARK, bare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechrnn.training.diagnostics import GradientFlow


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
        bare(axes)
        axes.title.set_fontsize(10)
    return figure


def plot_gradient_flow(flows: Mapping[str, GradientFlow], *, width: float = 9.0, height: float = 4.6) -> Figure:
    """Norm of the gradient against time lag, over that at lag 0; where it is lost, and where it explodes, is shaded.

    Args:
        flows: What `speechrnn.training.diagnostics.gradient_flow` returns, or any of its values under
            other names.
        width: Of the figure, in inches.
        height: Of the figure, in inches.

    Raises:
        ValueError: There is no flow.
    """
    from matplotlib.figure import Figure

    from speechrnn.training.diagnostics.verdicts import LOST

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
        style = ("-", "--", ":")[count // len(DARK) % 3]
        axes.plot(values, color=DARK[count % len(DARK)], ls=style, lw=1.8, label=f"{name}: {flow.verdict().state}")
    axes.set(yscale="log", ylim=(low, high), xlabel="time lag (steps)", ylabel="norm of d loss / d state, lag 0 = 1")
    axes.set_xlim(0, max(len(flow.norms) for flow in flows.values()) - 1 or 1)
    axes.text(0.99, 0.985, "explodes", transform=axes.transAxes, ha="right", va="top", color="#d1495b")
    axes.text(0.99, 0.015, "lost", transform=axes.transAxes, ha="right", va="bottom", color="#2a6fbb")
    bare(axes)
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
                list(curve), list(curve.values()), color=DARK[count % len(DARK)], lw=1.8, marker=marker, label=name
            )
        if naive and task in naive:
            axes.axhline(naive[task], color="#888888", ls=":", lw=1.2, label="a guess")
        axes.set(yscale="log", xlabel="steps", title=f"{task}: loss")
        bare(axes)
        axes.title.set_fontsize(10)
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def _column(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    """The epochs that have `name`, and its values."""
    rows = [(row["epoch"], row[name]) for row in history if row.get(name) is not None and np.isfinite(row[name])]
    return [epoch for epoch, _ in rows], [value for _, value in rows]
