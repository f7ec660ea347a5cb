"""The times of a table's lines: which columns say them, the rate that they give, and where each line belongs."""

import datetime as dt
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.faults import data_error, suggestion
from speechrnn.signals.cells import Cells, unquoted
from speechrnn.signals.columns import UNIT_OF, Column, base_and_unit
from speechrnn.signals.datetimes import UNREAD, DoubtError, TimeColumn, begins_as_date
from speechrnn.signals.moments import Moments, from_index, from_numbers, from_text
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import called

NAMES = (
    "time", "times", "timestamp", "timestamps", "date", "dates", "datetime", "dateandtime", "seconds", "secs", "sec",
    "milliseconds", "millis", "msec", "microseconds", "micros", "usec", "nanoseconds", "unixtime", "unixtimestamp",
    "epochtime", "elapsedtime", "timeelapsed", "elapsed", "localtime", "utctime", "zeit", "zeitstempel", "datum",
    "uhrzeit", "fecha", "fechahora", "horodatage", "tijd", "tidpunkt",
)  # fmt: skip
"""Names of columns of times, in lower case, without the marks between their words and without their unit."""
_WEAK = (
    "t", "ts", "ds", "utc", "gmt", "unix", "epoch", "clock", "data", "ora", "hora", "heure", "tempo", "tid", "dato",
    "recordedat", "measuredat", "createdat",
)  # fmt: skip
"""Names that mean other things too: only times where their cells rise or are dates."""
_DATES = ("date", "dates", "datetime", "dateandtime", "datum", "fecha", "dato")
_PARTS = (
    ("year", "yr", "yyyy"), ("month", "mo"), ("day", "dayofmonth"), ("hour", "hours", "hr"),
    ("minute", "minutes", "min"), ("second", "seconds", "sec"),
)  # fmt: skip
_APART, _GRID = 100, 0.25
"""Times their number that lines may lie apart, and part of a step by which a line behind a gap may be off."""
_MONTH = 27 * 86400


@dataclass(frozen=True)
class Found:
    """The columns of a table that hold times."""

    columns: tuple[int, ...]
    """The column of times, or those of dates and of times of day; none if there is none, or it is not clear which."""
    others: frozenset[int] = frozenset()
    """Columns of times that are not channels, used or not."""
    doubt: str = ""
    """Why it is not clear which."""
    parts: bool = False
    """Whether they are a year, a month, a day and so on."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions of a table's lines on a regular time grid."""

    rate: float
    places: np.ndarray
    """int64 `(lines,)`: the position of each line on the grid; positions without a line are gaps."""
    first: int
    """The line that was taken first."""
    even: bool = True
    """Whether the rate tells dates; months and years are not all of one length."""


def find(columns: Sequence[Column], options: TableOptions, path: str) -> Found:
    """The columns of times: those that the options name, or those whose names or cells say so.

    Raises:
        ValueError: A column that the options name is not there.
    """
    if options.time_columns:
        return _found([_place(columns, name, path) for name in options.time_columns])
    every = range(len(columns))
    says = [column.says for column in columns]
    likely = [index for index in every if columns[index].base in NAMES]
    weak = [index for index in every if columns[index].base in _WEAK]
    likely += [index for index in weak if says[index] in ("full", "date") or columns[index].rises()]
    if not likely:
        likely = [index for index in every if says[index] in ("full", "date")]
        if "full" not in says:  # a day may have its time of day beside it
            likely += [index for index in every if says[index] == "clock"]
    if not likely and (parts := _parts(columns)):
        return Found(parts, frozenset(parts), parts=True)
    if not likely:
        return Found((), doubt=_unread(columns))
    if len(likely) == 2 and {says[index] for index in likely} == {"date", "clock"}:
        return _found(sorted(likely, key=lambda index: says[index] == "clock"))
    if len(likely) == 1:
        return _found(likely)
    listed = ", ".join(f"`{columns[index].name}`" for index in likely)
    doubt = f"has several columns that may say the time: {listed}. Say which with `time_columns`."
    return Found((), frozenset(likely), doubt)


def _found(indices: Sequence[int]) -> Found:
    return Found(tuple(indices), frozenset(indices))


def _unread(columns: Sequence[Column]) -> str:
    """What is wrong with a column of text whose first cell begins as a date, and cannot be read as one."""
    for column in columns:
        first_cell = column.cells[~column.missing].iloc[:1].astype("str").tolist()
        if not column.says and first_cell and begins_as_date(unquoted(first_cell[0])):
            return f"its column {column.name!r} holds {first_cell[0]!r}, which is no time{UNREAD}."
    return ""


def _parts(columns: Sequence[Column]) -> tuple[int, ...]:
    """Columns of whole numbers called year, month and day, and those of hour, minute and second that follow."""
    names = [column.base for column in columns]
    indices: list[int] = []
    for same in _PARTS:
        index = next((index for index, name in enumerate(names) if name in same), None)
        if index is None or columns[index].cells.dtype.kind not in "iu":
            break
        indices.append(index)
    return tuple(indices) if len(indices) >= 3 else ()


def _joined(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> str:
    return f"{year:04}-{month}-{day} {hour}:{minute:02}:{second:02}"


def _place(columns: Sequence[Column], name: str, path: str) -> int:
    names = [column.name for column in columns]
    if matching := called(names, name):
        return matching[0]
    raise data_error(path, "lacking the column", f"has no column `{name}`.{suggestion(name, names, 'Columns')}")


def moments(columns: Sequence[Column], found: Found, cells: Cells, options: TableOptions) -> Moments | None:
    """When the lines were taken; `None` if no column says so.

    Raises:
        DoubtError: A column of times cannot be read, or in more than one way.
    """
    if not found.columns:
        return None
    chosen = [columns[index] for index in found.columns]
    time_column = TimeColumn(" and ".join(column.name for column in chosen), cells.lines, options)
    if len(cells.lines) < 2:
        raise DoubtError("has one line, whose time gives no rate.")
    for column in chosen:
        if column.missing.any():
            raise time_column.doubt("is empty", int(np.argmax(column.missing)))
    if found.parts:
        parts = zip(*(column.cells.tolist() for column in chosen), strict=True)
        return from_text([_joined(*numbers) for numbers in parts], time_column)
    first, *clock = chosen
    if first.cells.dtype.kind in "mM" and not clock:
        return from_index(first.cells, time_column)
    if clock or first.says != "number" or options.date_format is not None:
        written = cells.written(list(found.columns)).astype("str")
        texts = [[unquoted(cell) for cell in written[index]] for index in found.columns]
        return from_text(
            [" ".join(parts) for parts in zip(*texts, strict=True)], time_column, dated=first.says != "clock"
        )
    values = np.zeros(0) if first.values is None else first.values
    if not np.isfinite(values).all():
        raise time_column.doubt("holds no time", int(np.argmax(~np.isfinite(values))))
    base, unit = base_and_unit(first.name)
    return from_numbers(values, time_column, unit or UNIT_OF.get(first.unit.lower()), dates=base in _DATES)


def grid(times: Moments, lines: np.ndarray) -> Grid:
    """The rate of lines that were taken at regular times, a few of which may have been left out.

    Raises:
        DoubtError: They rise nowhere, or not everywhere; they are not regular, or their rate drifts.
    """
    if len(times.nanoseconds) < 2:
        raise DoubtError("has one line, whose time gives no rate.")
    falling = bool((np.diff(times.nanoseconds) < 0).all())  # the newest line first
    order = slice(None, None, -1) if falling else slice(None)
    nanoseconds, numbers = times.nanoseconds[order], lines[order]
    steps = np.diff(nanoseconds).astype(np.float64) / 1e9
    _rising(steps, numbers)
    step = _usual(steps)
    counts = np.maximum(np.rint(steps / step), 1)
    off = np.abs(steps / step - counts)
    if off[counts == 1].max(initial=0) >= 0.5 or off[counts > 1].max(initial=0) > _GRID:
        line = int(numbers[int(np.argmax(np.where(counts == 1, off / 2, off))) + 1])
        raise DoubtError(f"its lines are not taken at a regular rate, as line {line:,} shows. Resample it first.")
    if counts.sum() > _APART * len(steps) + 1000:
        raise DoubtError("its lines lie far apart in time. Cut it where nothing was recorded.")
    _no_change_of_clocks(times, nanoseconds, steps, step, numbers)
    positions = np.concatenate([[0], np.cumsum(counts)])
    passed = (nanoseconds - nanoseconds[0]) / 1e9
    rate = float(positions[-1] / passed[-1])
    drift = np.abs(positions - passed * rate)
    if drift.max() > 1.0 and drift.max() > 1e-6 * positions[-1]:
        index = int(np.argmax(drift))
        raise DoubtError(
            f"its rate drifts: line {int(numbers[index]):,} lies {drift[index]:.1f} samples from where a steady "
            f"{rate:.6g} per second puts it. Resample it first."
        )
    even = step < _MONTH or off.max() < 1e-6
    return Grid(rate, positions.astype(np.int64)[order], len(steps) if falling else 0, even)


def _usual(steps: np.ndarray) -> float:
    """The mean of the steps that are no gaps."""
    step = float(np.median(steps))
    for _ in range(3):
        near = steps[np.abs(steps / step - 1) < 0.5]
        step = float(np.mean(near, dtype=np.float64)) if len(near) else step
    return step


def _rising(steps: np.ndarray, lines: np.ndarray) -> None:
    wrong = steps <= 0
    if not wrong.any():
        return
    index = int(np.argmax(wrong))
    problem = f"its times do not rise from line {int(lines[index]):,} to line {int(lines[index + 1]):,}"
    advice = ""
    if -3600 <= steps[index] <= 0 and steps[index] <= -1800:
        advice = " If clocks were put back there, say `time_zone`."
    elif steps[index] == 0:
        advice = " Remove the lines that are there twice, or give times a finer unit"
        advice += "; if clocks were put back there, say `time_zone`." if np.median(steps) == 3600 else "."
    raise DoubtError(f"{problem}.{advice}")


def _no_change_of_clocks(
    times: Moments, nanoseconds: np.ndarray, steps: np.ndarray, step: float, lines: np.ndarray
) -> None:
    """Refuse a gap of one hour on a night in which clocks are put forward, unless the zone is known."""
    if not times.dated or times.zone is not None:
        return
    for hidden in (3600, 1800):
        for index in np.flatnonzero(np.abs(steps - step - hidden) < 0.01 * step):
            moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=int(nanoseconds[index]) // 1000)
            behind = moment + dt.timedelta(seconds=step + hidden)
            if behind.hour <= 3 and _skipped(moment + dt.timedelta(seconds=step), dt.timedelta(seconds=hidden)):
                hour = "hour" if hidden == 3600 else "half-hour"
                raise DoubtError(
                    f"its times leave out the {hour} before line {int(lines[index + 1]):,}, on {behind:%A %Y-%m-%d}, "
                    f"as clocks that are put forward do. Say `time_zone`; if the {hour} is missing, say UTC."
                )


def _skipped(local: dt.datetime, hidden: dt.timedelta) -> bool:
    """Whether clocks showed `hidden` more instead of a time, wherever that was."""
    local = local.replace(microsecond=0)
    return any(
        local.replace(tzinfo=zone).astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == local + hidden
        for zone in map(zoneinfo.ZoneInfo, sorted(zoneinfo.available_timezones()))
    )
