"""When the lines of a table were taken: dates in text, numbers since some moment, columns of years and months.

What can be read in one way is read; units of numbers and hours of clocks that are not clear are refused with the option
that decides.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.signals.datetimes import (
    DAY,
    SECOND,
    DoubtError,
    TimeColumn,
    check_years,
    over_midnight,
    parsed,
)
from speechrnn.signals.options import UNITS, zone
from speechrnn.signals.record import need

EPOCHS = {"s": (9e8, 4e9), "ms": (9e11, 4e12), "us": (9e14, 4e15), "ns": (9e17, 4e18)}
"""Numbers that are moments between 1998 and 2096, by unit."""
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


def from_text(cells: Sequence[str], column: TimeColumn, *, dated: bool = True) -> Moments:
    """Moments of dates and times of day in text.

    Args:
        cells: As they are written, none of them empty.
        column: Its name, its lines, and the options of the table.
        dated: Whether the cells are dates where they may be times of day as well.

    Raises:
        DoubtError: A cell says no moment, or several are possible.
    """
    if column.options.date_format is not None:
        return _by_format(cells, column)
    local, certain, zones = parsed(cells, column, dated=dated)
    if not certain:
        return Moments(local, dated=False)
    if not zones:
        return located(local, column)
    offsets = {name: _offset(name) for name in {*zones}}
    shifts = [round(offsets[name].utcoffset(None).total_seconds()) * SECOND for name in zones]
    return aware(local, local - np.array(shifts, np.int64), offsets[zones[-1]], column)


def from_index(series: Any, column: TimeColumn) -> Moments:
    """Moments of a Parquet column of dates or of lengths of time."""
    if series.dtype.kind == "m":
        return Moments(series.to_numpy("timedelta64[ns]").astype(np.int64), dated=False)
    if series.dt.tz is None:
        return located(_nanoseconds(series, column), column)
    local, utc = series.dt.tz_localize(None), series.dt.tz_convert("UTC").dt.tz_localize(None)
    return aware(_nanoseconds(local, column), _nanoseconds(utc, column), series.dt.tz, column)


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
    unit = column.options.time_unit or unit
    low, high = float(values.min()), float(values.max())
    if unit is None and (compact := _compact(values, column, days=dates)) is not None:
        return Moments(compact, dated=True)
    epochs = [name for name, (least, most) in EPOCHS.items() if least <= low <= high <= most]
    unit = unit or _likely_unit(values, epochs, column, dates=dates)
    scale = round(UNITS[unit] * SECOND)
    if not (high - low) * scale < 9e18:
        raise column.doubt(f"holds numbers that are no times, from {low:g} to {high:g}")
    dated = unit in epochs
    whole, part = np.divmod(values if dated else values - values[0], 1)
    nanoseconds = whole.astype(np.int64) * scale + np.rint(part * scale).astype(np.int64)
    zone_name = column.options.time_zone
    return Moments(nanoseconds, dated, None if not dated else zone(zone_name) if zone_name else dt.UTC)


def _likely_unit(values: np.ndarray, epochs: Sequence[str], column: TimeColumn, *, dates: bool) -> str:
    """The unit of numbers that do not say it: that of moments since 1970, or seconds where less than one lies between.

    Raises:
        DoubtError: It may be another one.
    """
    step = float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 1.0
    if epochs and (epochs[0] != "s" or step <= 1 or 86400 % step == 0 or step % 86400 == 0):
        return epochs[0]
    low, high = float(values.min()), float(values.max())
    counted = next((name for name, (least, most) in _DAY_COUNTS.items() if least <= low <= high <= most), "")
    if not dates and 0 < step < 1 and not (counted and _is_part_of_a_day(step)):
        return "s"
    message = f"holds numbers such as {values[0]:.12g} and does not say their unit."
    message += f" They may be {counted} days." if counted else ""
    raise column.doubt(f"{message} Say `time_unit`: {', '.join(UNITS)}")


def _is_part_of_a_day(step: float) -> bool:
    """Whether a step in days is one of whole hours, minutes or seconds."""
    seconds = step * 86400
    units = seconds / (3600 if seconds > 3599 else 60 if seconds > 59 else 1)
    return seconds > 0.9 and abs(units - round(units)) < 0.01


def _compact(values: np.ndarray, column: TimeColumn, *, days: bool) -> np.ndarray | None:
    """Moments of whole numbers such as 202401312359, or `days` such as 20240131; `None` if they are none."""
    digits = len(str(int(values.max())))
    if digits not in (8, 10, 12, 14)[0 if days else 1 :] or (values % 1).any():
        return None
    text = values.astype(np.int64).astype(str).tolist()
    try:
        return parsed([f"{cell[:8]}T{cell[8:].ljust(6, '0')}" for cell in text], column, dated=True)[0]
    except DoubtError:
        return None


def _by_format(cells: Sequence[str], column: TimeColumn) -> Moments:
    pandas: Any = need("pandas", column.name)
    form = str(column.options.date_format)
    zoned = "%z" in form
    try:
        times = pandas.to_datetime(pandas.Series(cells), format=form, errors="coerce", utc=zoned)
    except ValueError as error:
        raise DoubtError(f"`date_format` {form!r} cannot be used: {error}.") from error
    if times.isna().any():
        index = int(np.argmax(times.isna().to_numpy()))
        raise column.doubt(f"holds {cells[index]!r}", index, f", which is not of `date_format` {form!r}")
    if not any(code in form for code in ("%Y", "%y", "%c", "%x", "%G")):
        return Moments(over_midnight(_nanoseconds(times, column) % DAY), dated=False)
    return from_index(times, column)


def _nanoseconds(moments: Any, column: TimeColumn) -> np.ndarray:
    """int64 of a series of moments without a zone, since 1970."""
    check_years(moments.dt.year.to_numpy(), column)
    return moments.to_numpy("datetime64[ns]").astype(np.int64)


def _offset(name: str) -> dt.timezone:
    """The zone of `Z`, `+01:00` and so on."""
    sign, hours, minutes = name.strip()[0], name.strip()[1:3], name.strip()[3:].lstrip(":")
    if sign not in "+-":
        return dt.UTC
    shift = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
    return dt.timezone(-shift if sign == "-" else shift)


def aware(local: np.ndarray, utc: np.ndarray, own: dt.tzinfo, column: TimeColumn) -> Moments:
    """Moments whose zone is known, or days without one if clocks were changed between days on which they show the same.

    Such days have 23, 24 and 25 hours; without a zone a day after one of them is the next day.

    Args:
        local: int64 `(lines,)`: nanoseconds of the clock on the wall.
        utc: The same moments in UTC.
        own: Their zone, in which dates are written if the options name no other.
        column: The options of the table.
    """
    if (np.diff(utc) % DAY).any() and not (np.diff(local) % DAY).any():
        return Moments(local, True)
    zone_name = column.options.time_zone
    return Moments(utc, True, zone(zone_name) if zone_name else own)


def located(local: np.ndarray, column: TimeColumn) -> Moments:
    """Moments of the clock on the wall, in the zone that the options say.

    Raises:
        DoubtError: The clocks of that zone never showed one, or twice.
    """
    name = column.options.time_zone
    if name is None:
        return Moments(local, True)
    zone_info, pandas = zone(name), need("pandas", column.name)
    cells: Any = pandas.Series(local.astype("datetime64[ns]"))
    lost = cells.dt.tz_localize(zone_info, ambiguous=np.zeros(len(cells), bool), nonexistent="NaT").isna()
    why = "skipped. Say the zone of its times, such as UTC, or mend the line"
    if not lost.any():
        try:
            utc = cells.dt.tz_localize(zone_info, ambiguous="infer").dt.tz_convert("UTC").dt.tz_localize(None)
            return aware(local, _nanoseconds(utc, column), zone_info, column)
        except ValueError:
            lost = cells.dt.tz_localize(zone_info, ambiguous="NaT").isna()
            why = "showed twice and the table does not. Leave the hour out if it is not known which it was, or write"
            why += " times with their offset from UTC"
    if not (np.diff(local) % DAY).any():
        return Moments(local, True)  # days, of which clocks tell no more, whatever is done to midnight
    line = int(np.argmax(lost))
    raise column.doubt(f"holds {cells[line]}", line, f", an hour that the clocks of {name} {why}")
