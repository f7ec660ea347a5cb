"""Where moments lie in the day, the week and the year, as columns that a network can read."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable, Iterable, Sequence

import numpy as np

__all__ = ["CYCLES", "calendar_columns", "checked_cycles"]

_SECONDS = 86400.0


def _of_day(moment: dt.datetime) -> float:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return (moment - midnight).total_seconds() / _SECONDS


def _of_week(moment: dt.datetime) -> float:
    return (moment.weekday() + _of_day(moment)) / 7


def _of_year(moment: dt.datetime) -> float:
    days = 366 if calendar.isleap(moment.year) else 365
    return (moment.timetuple().tm_yday - 1 + _of_day(moment)) / days


CYCLES: dict[str, Callable[[dt.datetime], float]] = {"day": _of_day, "week": _of_week, "year": _of_year}
"""Which part of each has passed, in [0, 1): of the day, of the week since Monday, of the year."""


def checked_cycles(cycles: Iterable[str]) -> tuple[str, ...]:
    """The names of cycles, each once.

    Raises:
        ValueError: One is unknown, or comes twice.
    """
    checked = tuple(cycles)
    if len({*checked}) < len(checked) or {*checked} - {*CYCLES}:
        raise ValueError(f"A calendar is of {', '.join(CYCLES)}, each once. Received: {', '.join(map(str, checked))}.")
    return checked


def calendar_columns(moments: Sequence[dt.datetime], cycles: Sequence[str]) -> np.ndarray:
    """Sine and cosine of how much of each cycle has passed: float32 `(moments, 2 * cycles)`.

    Args:
        moments: By the clock of the place that the series is of.
        cycles: Of `CYCLES`, in order.

    Example:
    >>> calendar_columns([dt.datetime(2024, 1, 1, 6)], ["day"]).round(3).tolist()
    [[1.0, 0.0]]
    """
    passed = np.array([[CYCLES[name](moment) for name in cycles] for moment in moments]).reshape(-1, len(cycles))
    angle = 2 * np.pi * passed
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(passed), 2 * len(cycles)).astype(np.float32)
