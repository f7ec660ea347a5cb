"""Dates and times of day as people write them.

Patterns say how moments are written. A date is three numbers, or two and the name of a month, whose meaning is one of
`ORDERS`: an order is possible if by it every cell of the column is a date. Where several are possible, an option, dots
or regular steps decide, or else the column is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.signals.options import TableOptions

SECOND = 10**9
DAY = 86400 * SECOND
"""Nanoseconds of a day."""
YEARS = (1678, 2261)
"""The first and the last whole year that 64 bits of nanoseconds around 1970 reach."""
ORDERS = {"year": (0, 1, 2), "day": (2, 1, 0), "month": (2, 0, 1)}
"""Where year, month and day stand, by what comes first."""
UNREAD = " that can be read. Write it as 2024-01-31 23:59:59, or say `date_format`"
"""What to do with a cell that says a time in a way that is not known."""
_MONTHS = {
    name[:size]: number
    for number, name in enumerate(
        ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
         "december"), start=1,
    )
    for size in range(3, len(name) + 1)
}  # fmt: skip
_WEEKDAY = r"(?:[A-Za-z]{3,9},? +(?=\d))?"
_MONTH = "[A-Za-z]{3,9}"
_DATES = (
    r"(?P<a>\d{1,4})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<c>\d{1,4})",
    rf"(?=.{{0,5}}{_MONTH})(?P<mark>)(?P<a>\d{{1,4}}|{_MONTH})[-/. ]+(?P<b>\d{{1,2}}|{_MONTH})[-/., ]+(?P<c>\d{{1,4}})",
    r"(?P<mark>)(?P<a>(?:19|20)\d\d)(?P<b>\d\d)(?P<c>\d\d)",
)
"""Dates in numbers, with the name of a month, and without marks."""
_CLOCK = (
    r"(?:(?P<days>\d+) ?d(?:ays?)?,? *)?(?P<hour>HOUR)(?P<colon>COLON)(?P<minute>[0-5]\d)"
    r"(?:(?:(?P=colon)|(?<=h\d\d):)(?P<second>[0-5]\d|60)(?:[.,:](?P<fraction>\d{1,9}))?|(?<=:\d\d)[.,](?P<tenths>\d{1,9}))?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_OF_DAY = _CLOCK.replace("HOUR", r"[01]?\d|2[0-4]").replace("COLON", r"[:.h]|(?<=\d\d)")
_ALONE = _CLOCK.replace("HOUR", r"\d{1,4}(?=[:h])|(?:[01]?\d|2[0-3])(?=\.)").replace("COLON", "[:.h]")
"""A time of day beside a date, where 1530 is one too, and one alone, which may be a length of time."""
_ZONE = r"(?P<zone> ?(?:[Zz]|UTC|GMT|(?(hour)[+-]|\+)\d{2}(?::?\d{2})?))?"
"""A zone; 2024/01/31-12:00 has none."""
_DATED = tuple(re.compile(rf"{_WEEKDAY}{date}(?:[T ,_]+{_OF_DAY})?{_ZONE}", re.ASCII) for date in _DATES)
_UNDATED = (re.compile(_ALONE + _ZONE, re.ASCII),)
_SAMPLE = 50


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

    def doubt(self, problem: str, index: int | None = None, why: str = "") -> DoubtError:
        """An error that names the column, the problem and, with the index of a cell, its line."""
        line = "" if index is None else f" in line {int(self.lines[index]):,}"
        return DoubtError(f"its column {self.name!r} {problem}{line}{why}.")


def shape(cell: str) -> str:
    """What a cell may say: "full" (date and time), "date", "clock", "either" of them, or "", as digits alone do."""
    if cell.isdigit():
        return ""
    date, clock = _match(_DATED, cell), _match(_UNDATED, cell)
    if date and clock:  # 18.00.00 is a time of day, and 10.11.12 may be either
        return "either" if 1 <= int(date["a"]) <= 31 and 1 <= int(date["b"]) <= 12 else "clock"
    if date:
        return "full" if date["hour"] else "date"
    return "clock" if clock else ""


def is_moment(cell: str) -> bool:
    """Whether a cell is a time of day, or begins as a date."""
    return bool(shape(cell)) or begins_as_date(cell)


def begins_as_date(cell: str) -> bool:
    """Whether a cell begins as a date, whatever follows it."""
    return any(re.match(_WEEKDAY + date, cell) for date in _DATES)


def days_since_1970(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, int64, and whether they are dates."""
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    return days.astype(np.int64), (month >= 1) & (month <= 12) & (days.astype("datetime64[M]") == months)


def parsed(cells: Sequence[str], column: TimeColumn, *, dated: bool) -> tuple[np.ndarray, bool, list[str]]:
    """What the clocks on the wall showed.

    Args:
        cells: As they are written.
        column: What else is known of them.
        dated: Whether they are dates where they may be times of day as well.

    Returns:
        int64 nanoseconds since 1970 or, if the dates are not known, since some midnight; whether the dates are known;
        and the zones that the cells name, none or one each.

    Raises:
        DoubtError: A cell says no moment, or it is not clear which.
    """
    ways = (_DATED, _UNDATED) if dated else (_UNDATED, _DATED)
    way = max(ways, key=lambda way: sum(_match(way, cell) is not None for cell in cells[:_SAMPLE]))
    matches = [_match(way, cell) for cell in cells]
    clocks = [one and _time_of_day(one) for one in matches]
    for index, (one, clock) in enumerate(zip(matches, clocks, strict=True)):
        if one is None or clock is None:
            raise _unread(cells, index, clocks, column)
        if _is_unclear(one, dated=way is _DATED):
            why = ", which may be hours and minutes or minutes and seconds"
            advice = "Write them as hh:mm:ss, or say `date_format`, such as %H:%M"
            raise column.doubt(f"holds {cells[index]!r}", index, f"{why}. {advice}")
    there = [one for one in matches if one is not None]
    zones = [zone for one in there if (zone := one["zone"])]
    if len(zones) not in (0, len(cells)):
        raise column.doubt("says dates or zones in some lines and not in others")
    passed = np.array(clocks, np.int64)
    if way is _UNDATED:
        return over_midnight(passed), False, zones
    days, certain = _days(there, passed, column)
    return days * DAY + passed, certain, zones


def over_midnight(clocks: np.ndarray) -> np.ndarray:
    """Times of day that go on after midnight: where they fall by more than half a day, a day has passed."""
    if not len(clocks) or clocks.max() >= DAY:
        return clocks
    return clocks + DAY * np.concatenate([[0], np.cumsum(np.diff(clocks) < -DAY // 2)])


def _match(way: Sequence[re.Pattern[str]], cell: str) -> re.Match[str] | None:
    return next((match for pattern in way if (match := pattern.fullmatch(cell))), None)


def _unread(cells: Sequence[str], index: int, clocks: Sequence[int | None], column: TimeColumn) -> DoubtError:
    """The error for a cell that is not a time; where other cells are numbers, the first that is not a number."""
    words = (
        at for at in range(index, len(cells)) if clocks[at] is None and not re.fullmatch(r"[\d.,eE+-]+", cells[at])
    )
    other = next(words, index)
    return column.doubt(f"holds {cells[other]!r}", other, ", which is no time" + (UNREAD if other == index else ""))


def _time_of_day(match: re.Match[str]) -> int | None:
    """Nanoseconds since midnight, or of a length of time; `None` if it is none."""
    days, hour, minute, second = (int(part or 0) for part in match.group("days", "hour", "minute", "second"))
    fraction = match["fraction"]
    if match["tenths"]:  # minutes, seconds and their fraction
        hour, minute, second, fraction = 0, hour, minute, match["tenths"]
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * SECOND + int((fraction or "").ljust(9, "0"))


def _is_unclear(match: re.Match[str], *, dated: bool) -> bool:
    """Whether two numbers may be hours and minutes, or minutes and seconds."""
    if not match["hour"] or match["second"]:
        return False
    if match["tenths"]:
        return dated
    return not (dated or match["colon"] == "h" or match["half"])


def _days(matches: Sequence[re.Match[str]], clocks: np.ndarray, column: TimeColumn) -> tuple[np.ndarray, bool]:
    """Days since 1970, and whether they are the dates and not only days apart.

    Raises:
        DoubtError: They are no dates, or it is not clear which number is the day.
    """
    words = [one.group("a", "b", "c") for one in matches]
    dates = {three: index for index, three in enumerate(dict.fromkeys(words))}  # lines may be many, and days few
    indices = np.array([dates[three] for three in words])
    read = np.array([[_number_and_width(word) for word in three] for three in dates])[indices]
    numbers, widths = read[..., 0], read[..., 1]
    short = bool(widths.max() < 3)
    possible, wrong = {}, []
    for first, order in ORDERS.items():
        (year, month, day), (wide, *others) = numbers[:, order].T, widths[:, order].T
        years = year + np.where(year < 69, 2000, 1900) if short else year
        days, valid = days_since_1970(years, month, day)
        valid &= (wide == 4) | (short & (wide > 0))
        valid &= (others[0] < 3) & (others[1] < 3) & (others[1] > 0)  # the name of a month has no width
        wrong.append(int(np.argmin(valid)))
        if valid.all():
            check_years(years, column)
            possible[first] = days
    if column.options.day_first is not None:
        if short:
            possible.pop("year", None)
        if widths.all():  # where the month has a name, it stands where it stands
            possible.pop("month" if column.options.day_first else "day", None)
    if not possible:
        index = max(wrong)
        raise column.doubt(f"holds {matches[index][0]!r}", index, ", which is no date")
    return _chosen(possible, matches, clocks, column, short)


def _number_and_width(word: str) -> tuple[int, int]:
    """What a part of a date says, and its digits; the name of a month has none."""
    return (int(word), len(word)) if word.isdigit() else (_MONTHS.get(word.lower(), 0), 0)


def _chosen(
    possible: dict[str, np.ndarray],
    matches: Sequence[re.Match[str]],
    clocks: np.ndarray,
    column: TimeColumn,
    short: bool,
) -> tuple[np.ndarray, bool]:
    """Which of the orders that are possible is meant; days are uncertain where all lines have one date."""
    days = next(iter(possible.values()))
    unclear = short and "year" in possible
    if not unclear and all((days == other).all() for other in possible.values()):
        return days, True
    if not unclear and {one["mark"] for one in matches} == {"."}:  # not used with the month in front
        return possible["day"], True
    if len({one.group("a", "b", "c") for one in matches}) == 1:
        return days, False
    if unclear:
        problem = f"holds dates with two-digit years, such as {matches[0][0]}"
        raise column.doubt(f"{problem}. Say `date_format`, such as %d/%m/%y")
    steps = {first: _largest_step(days * DAY + clocks) for first, days in possible.items()}
    even = min(steps, key=lambda first: steps[first])
    if steps[even] <= 1.5 and all(step > 5 for first, step in steps.items() if first != even):
        return possible[even], True  # the other reading leaves out a month at each midnight
    problem = f"holds dates such as {matches[0][0]}, of which day and month are not clear"
    raise column.doubt(f"{problem}. Say `day_first` (--day-first or --no-day-first)")


def _largest_step(nanoseconds: np.ndarray) -> float:
    """The largest step in median steps; infinite if the moments do not rise."""
    steps = np.diff(nanoseconds)
    if len(steps) < 2 or (steps <= 0).any():
        return np.inf
    return float(steps.max() / np.median(steps))


def check_years(years: np.ndarray, column: TimeColumn) -> None:
    """Refuse moments that 64 bits of nanoseconds do not reach.

    Raises:
        DoubtError: There is one.
    """
    if years.min() < YEARS[0] or years.max() > YEARS[1]:
        raise column.doubt(f"holds dates before {YEARS[0]} or after {YEARS[1]}")
