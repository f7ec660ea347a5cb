"""What the plots share: colours, and axes without a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK = ("#2a6fbb", "#d1495b", "#3a8f5c", "#d98324", "#7b5ea7", "#4aa3a2", "#8a5a44")
"""Colours of lines, one after another."""
CLASSES = (*DARK, "#9dc3ee", "#f2b0b7", "#a3d9b8", "#f7d08a", "#cdbbe8")
"""Colours of areas: as many classes can be told from each other."""


def bare(*every: Axes) -> None:
    """Take the upper and the right line of the frame away."""
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
