"""Days of dates: which number is the day and which the month, and how many days have passed since 1970."""

from dataclasses import dataclass

import numpy as np

from speechrnn.signals.options import TableOptions

DAY = 86400 * 10**9
"""Nanoseconds of a day."""
YEARS = (1678, 2261)
"""The first and the last whole year that 64 bits of nanoseconds around 1970 reach."""


class DoubtError(ValueError):
    """Times cannot be read, or in more than one way."""


@dataclass(frozen=True, eq=False)
class TimeColumn:
    """What is known of a column of times besides its cells."""

    name: str
    """What the table calls it; both names, if dates and times of day stand in two columns."""
    lines: np.ndarray
    """int64: the line of the file where each cell stands."""
    options: TableOptions
    """How the table is to be read."""

    def doubt(self, told: str, place: int | None = None, why: str = "") -> DoubtError:
        """The error that names the column and what it does or, with the place of a cell, has in its line."""
        line = "" if place is None else f" in line {int(self.lines[place]):,}"
        return DoubtError(f"its column {self.name!r} {told}{line}{why}.")


def days_since_1970(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray | None:
    """Days since 1970, int64; `None` if any is no date of the years `YEARS`."""
    if ((month < 1) | (month > 12) | (day < 1) | (day > 31) | (year < YEARS[0]) | (year > YEARS[1])).any():
        return None
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    found = months.astype("datetime64[D]") + (day - 1)
    return found.astype(np.int64) if (found.astype("datetime64[M]") == months).all() else None


def ordered(
    dates: np.ndarray, named: np.ndarray, widths: set[tuple[int, int]], marks: set[str | None], clocks: np.ndarray,
    column: TimeColumn,
) -> tuple[np.ndarray, bool]:  # fmt: skip
    """Days since 1970, and whether they are the dates and not only days apart.

    Raises:
        DoubtError: It is not clear which number is the day.
    """
    if named.all():
        return _checked(dates, column), True
    if named.any() or len({last for _, last in widths} & {4}) != len({last for _, last in widths}):
        if any(first > 2 or last not in (1, 2) for first, last in widths):
            raise column.doubt("writes dates in several ways. Say `date_format`")
        return _short_years(dates, clocks, column)
    first, second, year = dates.T
    return _which_day(first, second, year, marks, clocks, column)


def _which_day(
    first: np.ndarray, second: np.ndarray, year: np.ndarray, marks: set[str | None], clocks: np.ndarray,
    column: TimeColumn,
) -> tuple[np.ndarray, bool]:  # fmt: skip
    """Days of dates whose year is known: the day comes first, or the month."""
    day_first = np.stack([year, second, first], axis=1)
    month_first = np.stack([year, first, second], axis=1)
    if column.options.day_first is not None:
        return _checked(day_first if column.options.day_first else month_first, column), True
    if first.max() > 12 or marks == {"."}:  # dots are not used with the month in front
        return _checked(day_first, column), True
    if second.max() > 12:
        return _checked(month_first, column), True
    if (first == second).all():
        return _checked(day_first, column), True
    if len(set(zip(first.tolist(), second.tolist(), strict=True))) == 1:  # one day, whichever it is
        return _checked(day_first, column), False
    one, other = (_checked(dates, column) * DAY + clocks for dates in (day_first, month_first))
    even, uneven = (_largest_step(nanoseconds) for nanoseconds in (one, other))
    if even <= 1.5 and uneven > 5:  # the other reading leaves out a month at each midnight
        return (one - clocks) // DAY, True
    if uneven <= 1.5 and even > 5:
        return (other - clocks) // DAY, True
    told = f"{first[0]:02d}/{second[0]:02d}/{year[0]}"
    raise column.doubt(
        f"holds dates such as {told}, of which day and month are not clear. Say `day_first` "
        "(--day-first or --no-day-first)"
    )


def _largest_step(nanoseconds: np.ndarray) -> float:
    """The largest step in median steps; infinite if the moments do not rise."""
    steps = np.diff(nanoseconds)
    if len(steps) < 2 or (steps <= 0).any():
        return np.inf
    return float(steps.max() / np.median(steps))


def _short_years(dates: np.ndarray, clocks: np.ndarray, column: TimeColumn) -> tuple[np.ndarray, bool]:
    """Days of dates whose year has two digits, which may stand first or last."""
    first, second, last = dates.T
    century = np.where(last < 69, 2000, 1900)
    if column.options.day_first is not None or (last.max() > 31 and first.max() <= 31):
        return _which_day(first, second, last + century, set(), clocks, column)
    if len(np.unique(dates, axis=0)) == 1:
        return np.zeros(len(dates), np.int64), False
    raise column.doubt(
        f"holds dates with two-digit years, such as {first[0]:02d}-{second[0]:02d}-{last[0]:02d}. "
        "Say `date_format`, such as %d/%m/%y"
    )


def _checked(dates: np.ndarray, column: TimeColumn) -> np.ndarray:
    """Days since 1970 of years, months and days.

    Raises:
        DoubtError: One is no date.
    """
    days = days_since_1970(*dates.T)
    if days is not None:
        return days
    for place, (year, month, day) in enumerate(dates.tolist()):
        if days_since_1970(*np.array([[year], [month], [day]])) is None:
            raise column.doubt("holds no date", place)
    raise column.doubt("holds no dates")
