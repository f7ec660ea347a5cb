"""Plots of sequence-to-sequence models: attention of each target symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.report.plots.style import blank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_attention(
    attention: np.ndarray,
    source: Sequence[str],
    target: Sequence[str],
    *,
    title: str = "",
    width: float | None = None,
    height: float | None = None,
) -> Figure:
    """Plot attention as an image: one column per source symbol, one row per target symbol, dark where it is high.

    Args:
        attention: float `(target symbols, source symbols)`, such as that of a `Translation`.
        source: Names of the source symbols.
        target: Names of the target symbols.
        title: Text above.
        width: Width of the figure in inches; None fits the names.
        height: Height of the figure in inches; None fits the names.

    Raises:
        ValueError: The shape does not fit the numbers of symbols.
    """
    attention = np.asarray(attention)
    if attention.shape != (len(target), len(source)):
        raise ValueError(
            "`attention` must have a row for each target symbol and a column for each source symbol. Received: "
            f"{attention.shape} for {len(target)} and {len(source)} symbols."
        )
    longest = max(map(len, source), default=1)
    figure = blank(width or 1.6 + max(0.32, 0.11 * longest) * len(source), height or 1.2 + 0.32 * len(target))
    axes = figure.subplots()
    image = axes.imshow(attention, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(source)), ["\N{OPEN BOX}" if symbol == " " else symbol for symbol in source])
    axes.set_yticks(range(len(target)), ["\N{OPEN BOX}" if symbol == " " else symbol for symbol in target])
    axes.tick_params(length=0)
    axes.set(xlabel="source", ylabel="target")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="attention", shrink=0.8)
    return figure
