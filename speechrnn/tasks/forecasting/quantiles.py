"""Quantiles of a forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def nearest_half(quantiles: Sequence[float]) -> int:
    """Index of the quantile that is nearest to one half: the forecast, where one number is wanted.

    Example:
    >>> nearest_half((0.1, 0.5, 0.9))
    1
    """
    return int(np.abs(np.asarray(quantiles) - 0.5).argmin())
