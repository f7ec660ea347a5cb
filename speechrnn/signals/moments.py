"""Cells that say when: dates in the ways people write them, times of day, numbers since some moment.

What can be read in one way is read; day and month, two-digit years and units of numbers that are not clear are refused
with the option that decides.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.signals.cells import MISSING, is_number, unquoted
from speechrnn.signals.days import DAY, YEARS, DoubtError, TimeColumn, days_since_1970, ordered
from speechrnn.signals.options import UNITS, TableOptions, zone
from speechrnn.signals.record import need

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SECOND = 10**9
_WEEKDAY = r"(?:[A-Za-z]{3,9},? +(?=\d))?"
_DATE = re.compile(
    rf"{_WEEKDAY}(?:(?P<a>\d{{1,4}})(?P<mark>[-/.])(?P<b>\d{{1,2}})(?P=mark)(?P<c>\d{{1,4}})"
    r"|(?P<day>\d{1,2})[-/. ](?P<month>[A-Za-z]{3,9})[-/., ]+(?P<year>\d{4})"
    r"|(?P<month2>[A-Za-z]{3,9})[-/. ]+(?P<day2>\d{1,2}),?[-/ ]+(?P<year2>\d{4})"
    r"|(?P<year3>\d{4})[-/ ](?P<month3>[A-Za-z]{3,9})[-/ ](?P<day3>\d{1,2})"
    r"|(?P<compact>(?:19|20)\d{6}))"
)
_CLOCK = re.compile(
    r"(?:(?P<days>\d+) ?d(?:ays?)?,? *)?(?P<hour>\d{1,4})(?P<mark>[:.h])(?P<minute>\d{2})"
    r"(?:(?P=mark)(?P<second>\d{2})(?:[.,:](?P<fraction>\d{1,9}))?|:(?P<second2>\d{2})|[.,](?P<tenths>\d{1,9}))?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"|(?P<compact>\d{6}|\d{4})"
)
_ZONE = re.compile(r" ?(Z|z|UTC|GMT)| ?([+-])(\d{2})(?::?(\d{2}))?")
_ISO_DATE, _ISO_CLOCK = r"\d{4}-\d{2}-\d{2}", r"[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?"
_OFFSET = r" ?(Z|[+-]\d{2}(:?\d{2})?)"
EPOCHS = {"s": (9e8, 4e9), "ms": (9e11, 4e12), "us": (9e14, 4e15), "ns": (9e17, 4e18)}
"""Numbers that are moments between 1998 and 2096, by unit."""
UNREAD = " that can be read. Write it as 2024-01-31 23:59:59, or say `date_format`"
"""What to do with a cell that says a time in a way that is not known."""
_DAY_COUNTS = {"Excel's": (32874, 51136), "MATLAB's": (726834, 745096), "Julian": (2447892.5, 2466154.5),
               "modified Julian": (47892, 66154)}  # fmt: skip
"""Numbers that are days between 1990 and 2040, by how they are counted."""


@dataclass(frozen=True, eq=False)
class Moments:
    """When the lines of a table were taken."""

    nanoseconds: np.ndarray
    """int64 `(lines,)`; since 1970 in UTC where the zone is known, of the clock on the wall where it is not."""
    dated: bool
    """Whether the dates are known; otherwise only the time between lines is."""
    zone: dt.tzinfo | None = None
    """Zone in which to write dates, where it is known."""

    def __getitem__(self, part: slice) -> "Moments":
        return Moments(self.nanoseconds[part], self.dated, self.zone)

    def at(self, line: int) -> dt.datetime | None:
        """The moment of a line, where dates are known."""
        if not self.dated:
            return None
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(self.nanoseconds[line]) // 1000)
        return moment.astimezone(self.zone) if self.zone else moment.replace(tzinfo=None)


def shape(cell: str) -> str:
    """What a cell may say: "full" (date and time of day), "date", "clock", "either" of them, "number", or ""."""
    cell = unquoted(cell)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", cell):
        return "number"
    found = _DATE.match(cell)
    dotted = re.fullmatch(r"(\d\d?)\.(\d\d)\.(\d\d)", cell)
    if dotted:  # 18.00.00 is a time of day, 31.12.24 a date, and 10.11.12 may be either
        one, two, three = map(int, dotted.groups())
        clock, date = one < 24 and two < 60 and three < 60, 1 <= one <= 31 and 1 <= two <= 12
        return "either" if clock and date else "clock" if clock else "date" if date else ""
    if found:
        rest = cell[found.end() :].lstrip("T ,_")
        if not rest or _ZONE.fullmatch(rest):
            return "date"
        return "full" if _clock_and_zone(rest) else ""
    return "clock" if _clock_and_zone(cell) else ""


def begins_as_date(cell: str) -> bool:
    """Whether a cell begins as a date, whatever follows it."""
    return _DATE.match(unquoted(cell)) is not None


def from_text(cells: Any, column: TimeColumn, *, clock: Any = None, dated: bool = True) -> Moments:
    """Moments of dates in text, or of dates in one column and times of day in another.

    Args:
        cells: pandas series of text, without missing ones.
        column: Its name, its lines, and the options of the table.
        clock: The times of day, if they stand in a column of their own.
        dated: Whether the cells may be dates; otherwise they are times of day.

    Raises:
        DoubtError: A cell says no moment, or several are possible.
    """
    text = cells.astype("str").map(unquoted)
    if clock is not None:
        text = text + " " + clock.astype("str").map(unquoted)
    if column.options.date_format is not None:
        return _by_format(text, column)
    if (
        text.str.fullmatch(f"{_ISO_DATE}({_ISO_CLOCK})?").all()
        or text.str.fullmatch(_ISO_DATE + _ISO_CLOCK + _OFFSET).all()
    ):
        return _iso(text, column)
    return _parsed(text.tolist(), column, dated=dated)


def from_numbers(values: np.ndarray, column: TimeColumn, unit: str | None, *, dates: bool) -> Moments:
    """Moments of numbers in a column of times.

    Args:
        values: int64 or float64 `(lines,)`, all finite.
        column: Its name, its lines, and the options of the table.
        unit: Their unit, where the name of the column says it.
        dates: Whether that name promises dates.

    Raises:
        DoubtError: The unit is not known.
    """
    unit, options = column.options.time_unit or unit, column.options
    low, high = float(values.min()), float(values.max())
    steps = np.diff(values)
    step = float(np.median(np.abs(steps))) if len(steps) else 1.0
    if unit is None and (compact := _compact(values, days=dates)) is not None:
        return Moments(compact, dated=True)
    epochs = [name for name, (least, most) in EPOCHS.items() if least <= low <= high <= most]
    if unit is None and epochs and (epochs[0] != "s" or step <= 1 or 86400 % step == 0 or step % 86400 == 0):
        unit = epochs[0]
    counted = next((name for name, (least, most) in _DAY_COUNTS.items() if least <= low <= high <= most), "")
    if unit is None and (dates or not 0 < step < 1 or (counted and _is_part_of_a_day(step))):
        message = f"holds numbers such as {values[0]:.12g} and does not say their unit."
        message += f" They may be {counted} days." if counted else ""
        raise column.doubt(f"{message} Say `time_unit`: {', '.join(UNITS)}")
    unit = unit or "s"
    if not (float(high) - float(low)) * (UNITS[unit] * 1e9) < 9e18:
        raise column.doubt(f"holds numbers that are no times, from {low:g} to {high:g}")
    if values.dtype.kind in "iu" and unit in ("s", "ms", "us", "ns"):
        whole = values.astype(np.int64)
        dated = unit in epochs
        return Moments((whole if dated else whole - whole[0]) * round(UNITS[unit] * 1e9), dated, _utc(dated, options))
    if unit in epochs:
        whole = np.floor(values)
        scale = round(UNITS[unit] * 1e9)
        found = whole.astype(np.int64) * scale + np.rint((values - whole) * scale).astype(np.int64)
        return Moments(found, True, _utc(True, options))
    relative = (values.astype(np.float64) - float(values[0])) * (UNITS[unit] * 1e9)
    return Moments(np.rint(relative).astype(np.int64), dated=False)


def _is_part_of_a_day(step: float) -> bool:
    """Whether a step in days is one of whole hours, minutes or seconds."""
    seconds = step * 86400
    units = seconds / (3600 if seconds > 3599 else 60 if seconds > 59 else 1)
    return seconds > 0.9 and abs(units - round(units)) < 0.01


def from_parts(parts: Sequence[np.ndarray], column: TimeColumn) -> Moments:
    """Moments of columns of years, months, days and, if they go on, hours, minutes and seconds.

    Raises:
        DoubtError: They are no dates.
    """
    year, month, day, *clock = parts
    days = days_since_1970(year, month, day)
    if days is None or any((part < 0).any() or (part > 60).any() for part in clock):
        raise DoubtError(f"its columns {column.name} hold no dates.")
    seconds = sum((part * unit for part, unit in zip(clock, (3600, 60, 1), strict=False)), np.zeros_like(days))
    return Moments(days * DAY + seconds * _SECOND, dated=True)


def _utc(dated: bool, options: TableOptions) -> dt.tzinfo | None:
    if not dated:
        return None
    return zone(options.time_zone) if options.time_zone else dt.UTC


def _compact(values: np.ndarray, *, days: bool) -> np.ndarray | None:
    """Moments of whole numbers such as 202401312359, or `days` such as 20240131; `None` if they are none."""
    if not (values == np.floor(values)).all():
        return None
    for size, scale in ((8, 1), (10, 100), (12, 10_000), (14, 1_000_000))[0 if days else 1 :]:
        if not (10 ** (size - 1) <= values.min() and values.max() < 10**size):
            continue
        whole = values.astype(np.int64)
        day, rest = whole // scale, whole % scale * (1_000_000 // scale)
        found = days_since_1970(day // 10_000, day // 100 % 100, day % 100)
        hour, minute, second = rest // 10_000, rest // 100 % 100, rest % 100
        years = (day // 10_000 >= 1900) & (day // 10_000 < 2100)
        if found is None or not years.all() or hour.max() > 24 or max(minute.max(), second.max()) > 59:
            return None
        return found * DAY + (hour * 3600 + minute * 60 + second) * _SECOND
    return None


def _by_format(text: Any, column: TimeColumn) -> Moments:
    pandas: Any = need("pandas", column.name)
    form = str(column.options.date_format)
    aware = "%z" in form
    try:
        found = pandas.to_datetime(text, format=form, errors="coerce", utc=aware)
    except ValueError as error:
        raise DoubtError(f"`date_format` {form!r} cannot be used: {error}.") from error
    if found.isna().any():
        place = int(np.argmax(found.isna().to_numpy()))
        raise column.doubt(f"holds {text.iloc[place]!r}", place, f", which is not of `date_format` {form!r}")
    if not any(code in form for code in ("%Y", "%y", "%c", "%x", "%G")):
        return Moments(_over_midnight(nanoseconds(found, column) % DAY), dated=False)
    return located(nanoseconds(found, column), dt.UTC if aware else None, column)


def nanoseconds(moments: Any, column: TimeColumn) -> np.ndarray:
    """int64 of a series of moments since 1970, in UTC if they have a zone.

    Raises:
        DoubtError: One lies outside the years that can be counted so.
    """
    moments = moments.dt.tz_convert("UTC").dt.tz_localize(None) if moments.dt.tz is not None else moments
    if not moments.dt.year.between(*YEARS).all():
        raise column.doubt(f"holds dates before {YEARS[0]} or after {YEARS[1]}")
    return moments.to_numpy("datetime64[ns]").astype(np.int64)


def _iso(text: Any, column: TimeColumn) -> Moments:
    pandas: Any = need("pandas", column.name)
    aware = bool(re.search(rf":\d+([.,]\d+)?{_OFFSET}$", text.iloc[0]))
    found = pandas.to_datetime(text.str.replace(",", ".", regex=False), format="ISO8601", errors="coerce", utc=aware)
    if found.isna().any():
        place = int(np.argmax(found.isna().to_numpy()))
        raise column.doubt(f"holds {text.iloc[place]!r}", place, ", which is no date")
    if not aware:
        return located(nanoseconds(found, column), None, column)
    moments = located(nanoseconds(found, column), _offset(text.iloc[-1]), column)
    shifts = [_offset(cell).utcoffset(None).total_seconds() for cell in text]  # type: ignore[union-attr]
    return or_days(moments.nanoseconds + np.array(shifts, np.int64) * _SECOND, moments)


def or_days(local: np.ndarray, moments: Moments) -> Moments:
    """Moments, or days without a zone, if clocks were changed between days on which they show the same time.

    Such days have 23, 24 and 25 hours; without a zone a day after one of them is the next day.

    Args:
        local: int64 `(lines,)`: the moments in nanoseconds of the clock on the wall.
        moments: The same in UTC.
    """
    changed = (np.diff(moments.nanoseconds) % DAY).any() and not (np.diff(local) % DAY).any()
    return Moments(local, True) if changed else moments


def _offset(cell: str) -> dt.tzinfo:
    """The zone at the end of a cell."""
    found = re.search(r"(Z|z|UTC|GMT)$|([+-])(\d{2}):?(\d{2})?$", cell.strip())
    if found is None or found[1]:
        return dt.UTC
    sign = -1 if found[2] == "-" else 1
    return dt.timezone(sign * dt.timedelta(hours=int(found[3]), minutes=int(found[4] or 0)))


def located(moments: np.ndarray, own: dt.tzinfo | None, column: TimeColumn) -> Moments:
    """Moments, int64 nanoseconds, in the zone that they say, or else in the one that the options say.

    Raises:
        DoubtError: That zone does not have them.
    """
    given = zone(column.options.time_zone) if column.options.time_zone else None
    if own is not None:
        return Moments(moments, True, given or own)
    if given is None:
        return Moments(moments, True)
    try:
        return or_days(moments, Moments(_at(moments, given, column), True, given))
    except DoubtError:
        if (np.diff(moments) % DAY).any():
            raise
        return Moments(moments, True)  # days, of which clocks tell no more, whatever is done to midnight


def _at(local: np.ndarray, place: dt.tzinfo, column: TimeColumn) -> np.ndarray:
    """int64 nanoseconds in UTC of what the clocks of a zone show.

    Raises:
        DoubtError: They never show it, or twice.
    """
    pandas: Any = need("pandas", column.name)
    cells = pandas.Series(local.astype("datetime64[ns]"))
    skipped = cells.dt.tz_localize(place, ambiguous=np.zeros(len(cells), bool), nonexistent="NaT").isna().to_numpy()
    zone_name = column.options.time_zone
    if skipped.any():
        line = int(np.argmax(skipped))
        told, why = (
            f"holds {cells[line]}",
            f", an hour that the clocks of {zone_name} skipped. Say the zone of its times",
        )
        raise column.doubt(told, line, f"{why}, such as UTC, or mend the line")
    try:
        return nanoseconds(cells.dt.tz_localize(place, ambiguous="infer"), column)
    except ValueError as error:  # what pandas raises for hours that are there twice is one
        twice = cells.dt.tz_localize(place, ambiguous="NaT").isna().to_numpy()
        line = int(np.argmax(twice))
        told, why = (
            f"holds {cells[line]}",
            f", an hour that the clocks of {zone_name} showed twice and the table does not",
        )
        advice = "Leave the hour out if it is not known which it was, or write times with their offset from UTC"
        raise column.doubt(told, line, f"{why}. {advice}") from error


def _clock_and_zone(text: str) -> tuple[re.Match[str], str] | None:
    found = _CLOCK.match(text)
    if not found:
        return None
    rest = text[found.end() :]
    return (found, rest) if not rest or _ZONE.fullmatch(rest) else None


def _parsed(cells: list[str], column: TimeColumn, *, dated: bool) -> Moments:
    """Moments of dates that are not ISO's, or of times of day alone."""
    dates = np.zeros((len(cells), 3), np.int64)
    named = np.zeros(len(cells), bool)  # year, month and day are known from how they are written
    clocks, offsets = np.zeros(len(cells), np.int64), np.zeros(len(cells), np.int64)
    widths, marks, zones, kinds = set(), set(), 0, set()
    for place, cell in enumerate(cells):
        date = _DATE.match(cell) if dated else None
        rest = cell[date.end() :].lstrip("T ,_") if date else cell
        zoned = _ZONE.fullmatch(rest) if date and not rest.startswith("-") else None  # 2024/01/31-12:00 is no zone
        clock = None if not rest or zoned else _clock_and_zone(rest)
        if (
            (not date and not clock)
            or (rest and not clock and not zoned)
            or (clock and clock[0]["compact"] and not date)
        ):
            if is_number(cell):  # it is among numbers that one that is none stands
                place, cell = next(((at, one) for at, one in enumerate(cells) if not is_number(one)), (place, cell))
                raise column.doubt(f"holds {cell!r}", place, ", which is no time")
            raise column.doubt(f"holds {cell!r}", place, f", which is no time{UNREAD}")
        kinds.add(bool(date))
        if date:
            dates[place], named[place], width = _date(date)
            widths.add(width)
            marks.add(date["mark"])
        if clock:
            clocks[place] = _time_of_day(clock[0], cell, place, column, dated=bool(date))
        tail = clock[1] if clock else (rest if zoned else "")
        if tail:
            zones += 1
            offsets[place] = round(_offset(tail).utcoffset(None).total_seconds()) * _SECOND  # type: ignore[union-attr]
    if len(kinds) > 1 or zones not in (0, len(cells)):
        raise column.doubt("says dates or zones in some lines and not in others")
    if not kinds.pop():
        return Moments(_over_midnight(clocks), dated=False)
    days, certain = ordered(dates, named, widths, marks, clocks, column)
    own = _offset(cells[-1]) if zones else None
    found = located(days * DAY + clocks - offsets, own, column)
    return found if certain else Moments(found.nanoseconds, dated=False)


def _date(found: re.Match[str]) -> tuple[tuple[int, int, int], bool, tuple[int, int]]:
    """The parts of a date; whether they are year, month and day; and the widths of its first and its last number."""
    if found["compact"]:
        text = found["compact"]
        return (int(text[:4]), int(text[4:6]), int(text[6:])), True, (4, 2)
    if found["mark"]:
        parts = (int(found["a"]), int(found["b"]), int(found["c"]))
        return parts, len(found["a"]) == 4, (len(found["a"]), len(found["c"]))
    suffix = next(suffix for suffix in ("", "2", "3") if found[f"year{suffix}"])
    name = found[f"month{suffix}"].lower()
    month = next((number for number, full in enumerate(_MONTHS, start=1) if full.startswith(name)), 0)
    return (int(found[f"year{suffix}"]), month, int(found[f"day{suffix}"])), True, (4, 2)


def _time_of_day(found: re.Match[str], cell: str, place: int, column: TimeColumn, *, dated: bool) -> int:
    """Nanoseconds since midnight, or of a length of time."""
    if found["compact"]:
        text = found["compact"].ljust(6, "0")
        hour, minute, second, fraction = int(text[:2]), int(text[2:4]), int(text[4:]), ""
    else:
        hour, minute = int(found["hour"]), int(found["minute"])
        second, fraction = int(found["second"] or found["second2"] or 0), found["fraction"] or ""
        if found["second"] is None and found["second2"] is None:
            if found["tenths"] and not dated and found["mark"] == ":":  # minutes, seconds and their fraction
                hour, minute, second, fraction = 0, hour, minute, found["tenths"]
            elif found["tenths"] or (not dated and found["mark"] != "h" and not found["half"]):
                why = ", which may be hours and minutes or minutes and seconds"
                advice = "Write them as hh:mm:ss, or say `date_format`, such as %H:%M"
                raise column.doubt(f"holds {cell!r}", place, f"{why}. {advice}")
    if found["half"]:
        if not 1 <= hour <= 12:
            raise column.doubt(f"holds {cell!r}", place, ", which is no time")
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    if second > 60 or (minute > 59 and found["tenths"] is None) or (dated and hour > 24):
        raise column.doubt(f"holds {cell!r}", place, ", which is no time")
    days = int(found["days"] or 0)
    return ((days * 24 + hour) * 3600 + minute * 60 + second) * _SECOND + int(fraction.ljust(9, "0") or 0)


def _over_midnight(clocks: np.ndarray) -> np.ndarray:
    """Times of day that go on after midnight: where they fall by more than half a day, a day has passed."""
    if not len(clocks) or clocks.max() >= DAY:
        return clocks
    return clocks + DAY * np.concatenate([[0], np.cumsum(np.diff(clocks) < -DAY // 2)])


def is_missing(cells: Any) -> np.ndarray:
    """Which cells of a column of times are empty."""
    return (cells.isna() | cells.astype("str").str.strip().isin(MISSING)).to_numpy(bool)
