"""The times of a table's lines: which columns say them, the rate that they give, and where each line belongs."""

import datetime as dt
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.faults import data_error, suggestion
from speechrnn.signals.cells import Cells
from speechrnn.signals.columns import Marks, column
from speechrnn.signals.days import DoubtError, TimeColumn
from speechrnn.signals.moments import (
    UNREAD,
    Moments,
    begins_as_date,
    from_numbers,
    from_parts,
    from_text,
    is_missing,
    located,
    nanoseconds,
    or_days,
    shape,
)
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
_UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "millisecond", "milliseconds"),
    "us": ("us", "µs", "μs", "usec", "micros", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nanos", "nanosecond", "nanoseconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words}
_CLOCKS = ("time", "uhrzeit", "ora", "hora", "heure", "tijd", "tid", "clock")
_DATES = ("date", "dates", "datetime", "dateandtime", "datum", "fecha", "dato")
_PARTS = (
    ("year", "yr", "yyyy"), ("month", "mo"), ("day", "dayofmonth"), ("hour", "hours", "hr"),
    ("minute", "minutes", "min"), ("second", "seconds", "sec"),
)  # fmt: skip
_APART, _GRID = 100, 0.25
"""Times their number that lines may lie apart, and part of a step by which a line behind a gap may be off."""
_SAMPLE, _MONTH = 50, 27 * 86400


@dataclass(frozen=True)
class Found:
    """Which columns of a table say when."""

    columns: tuple[int, ...]
    """The column of times, or those of dates and of times of day; none if there is none, or it is not clear which."""
    others: frozenset[int] = frozenset()
    """Columns that are times and no channels, whether they are used or not."""
    doubt: str = ""
    """Why it is not clear which."""
    parts: bool = False
    """Whether they are a year, a month, a day and so on."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the lines of a table belong at a regular rate."""

    rate: float
    places: np.ndarray
    """int64 `(lines,)`: the place of each line; what no line has was left out."""
    first: int
    """The line that was taken first."""
    even: bool = True
    """Whether the rate tells dates; months and years are not all of one length."""


def named(name: str) -> tuple[str, str | None]:
    """The name of a column without its unit and the marks between its words, and the unit.

    Example:
    >>> named("Time (ms)"), named("time_stamp"), named("elapsed [s]"), named("microseconds")
    (('time', 'ms'), ('timestamp', None), ('elapsed', 's'), ('microseconds', 'us'))
    """
    plain = name.strip().lower()
    split = re.fullmatch(r"(.*?)[\s_.-]*[\[(/]\s*([a-zµμ]+)\s*[\])]?|(.*?)[\s_]+([a-zµμ]+)", plain)
    if split:
        base, unit = (split[1], split[2]) if split[2] else (split[3], split[4])
        if base and unit in _UNIT_OF:
            return re.sub(r"[\s_.:-]", "", base), _UNIT_OF[unit]
    base = re.sub(r"[\s_.:-]", "", plain)
    return base, _UNIT_OF.get(base) if len(base) > 2 else None


def find(cells: Cells, how: Marks, options: TableOptions) -> Found:
    """The columns of times: those that the options name, or those whose names or cells say so.

    Raises:
        ValueError: A column that the options name is not there.
    """
    count = cells.frame.shape[1]
    if options.time_columns:
        places = tuple(_place(cells, name) for name in options.time_columns)
        return Found(places, frozenset(places))
    if cells.names is None:
        strong, weak = [], []
    else:
        bases = [named(name)[0] if name else "" for name in cells.names]
        strong = [place for place, base in enumerate(bases) if base in NAMES]
        weak = [place for place, base in enumerate(bases) if base in _WEAK]
    kinds = {place: kind(cells, place, how, options) for place in range(count)}
    likely = [
        *strong,
        *(place for place in weak if kinds[place] in ("full", "date") or _rises(cells, place, how, options)),
    ]
    if not likely:
        likely = [place for place in range(count) if kinds[place] in ("full", "date")]
        if not any(kinds[place] == "full" for place in likely):  # a day may have its time of day beside it
            likely += [place for place in range(count) if kinds[place] == "clock"]
    others = frozenset(likely)
    if not likely and (parts := _parts(cells)):
        return Found(parts, frozenset(parts), parts=True)
    if not likely:
        return Found((), doubt=_unread(cells, [place for place in range(count) if not kinds[place]]))
    if len(likely) < 2:
        return Found(tuple(likely), others)
    by_kind = {one: [place for place in likely if kinds[place] == one] for one in ("full", "date", "clock")}
    if len(likely) == 2 and len(by_kind["date"]) == len(by_kind["clock"]) == 1:
        return Found((by_kind["date"][0], by_kind["clock"][0]), others)
    told = ", ".join(f"`{cells.name(place)}`" for place in likely)
    return Found((), others, f"has several columns that may say the time: {told}. Say which with `time_columns`.")


def _unread(cells: Cells, places: Sequence[int]) -> str:
    """What is wrong with a column of text whose first cell begins as a date, and cannot be read as one."""
    for place in places:
        series = cells.frame.iloc[:, place]
        told = series[~is_missing(series)].iloc[:1].astype("str").tolist()
        if told and begins_as_date(told[0]):
            return f"its column {cells.name(place)!r} holds {told[0]!r}, which is no time{UNREAD}."
    return ""


def _parts(cells: Cells) -> tuple[int, ...]:
    """Columns of whole numbers called year, month and day, and those of hour, minute and second that follow."""
    names = [named(name)[0] if name else "" for name in cells.names or ()]
    found = []
    for same in _PARTS:
        place = next((place for place, name in enumerate(names) if name in same), None)
        if place is None or cells.frame.iloc[:, place].dtype.kind not in "iu":
            break
        found.append(place)
    return tuple(found) if len(found) >= 3 else ()


def moments(cells: Cells, found: Found, how: Marks, options: TableOptions) -> Moments | None:
    """When the lines were taken; `None` if no column says so.

    Raises:
        DoubtError: A column of times cannot be read, or in more than one way.
    """
    if not found.columns:
        return None
    told = TimeColumn(" and ".join(cells.name(place) for place in found.columns), cells.lines, options)
    if len(cells.lines) < 2:
        raise DoubtError("has one line, whose time gives no rate.")
    series = [cells.frame.iloc[:, place] for place in found.columns]
    for one in series:
        empty = is_missing(one)
        if empty.any():
            raise told.doubt("is empty", int(np.argmax(empty)))
    if found.parts:
        return from_parts([one.to_numpy(np.int64) for one in series], told)
    if len(series) == 2:
        written = cells.written(list(found.columns))
        parts = [written.iloc[:, sorted(found.columns).index(place)] for place in found.columns]
        return from_text(parts[0], told, clock=parts[1])
    place, own = found.columns[0], series[0]
    if own.dtype.kind == "M":
        return _of_index(own, told)
    if own.dtype.kind == "m":
        return Moments(own.to_numpy("timedelta64[ns]").astype(np.int64), dated=False)
    says = kind(cells, place, how, options)
    if says != "number" or options.date_format is not None:
        written = cells.written([place]).iloc[:, 0]
        return from_text(written, told, dated=says != "clock")
    base, unit = named(cells.name(place))
    unit = unit or _UNIT_OF.get(cells.units[place].lower())
    if own.dtype.kind in "iu" and not own.isna().any():
        values = own.to_numpy(np.int64)
    else:
        numbers = column(cells, place, _as_written(cells, place, how), how, options)
        if numbers.fault or numbers.values is None:
            raise told.doubt(numbers.fault or "holds no times")
        values = numbers.values
        if not np.isfinite(values).all():
            raise told.doubt("holds no time", int(np.argmax(~np.isfinite(values))))
    return from_numbers(values, told, unit, dates=base in _DATES)


def kind(cells: Cells, place: int, how: Marks, options: TableOptions) -> str:
    """What the cells of a column say: "full", "date", "clock", "number" or nothing of these."""
    series = cells.frame.iloc[:, place]
    if series.dtype.kind in "fiu":
        return "number"
    if series.dtype.kind == "M":
        return "full"
    if series.dtype.kind == "m":
        return "clock"
    sample = series[~is_missing(series)].iloc[:_SAMPLE].astype("str")
    shapes = {shape(cell) for cell in sample}
    if "either" in shapes:
        clock = cells.names is not None and named(cells.names[place])[0] in _CLOCKS
        shapes = shapes - {"either"} or ({"clock"} if clock else {"date"})
    if shapes == {"full", "date"}:  # midnight is left out by some
        return "full"
    if len(shapes) == 1 and shapes <= {"full", "date", "clock"}:
        return shapes.pop()
    if len(sample) and how.decimal == ",":
        found = column(cells, place, _as_written(cells, place, how), how, options)
        return "number" if found.values is not None and not found.fault else ""
    return ""


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
    places = np.concatenate([[0], np.cumsum(counts)])
    passed = (nanoseconds - nanoseconds[0]) / 1e9
    rate = float(places[-1] / passed[-1])
    drift = np.abs(places - passed * rate)
    if drift.max() > 1.0 and drift.max() > 1e-6 * places[-1]:
        place = int(np.argmax(drift))
        raise DoubtError(
            f"its rate drifts: line {int(numbers[place]):,} lies {drift[place]:.1f} samples from where a steady "
            f"{rate:.6g} per second puts it. Resample it first."
        )
    even = step < _MONTH or off.max() < 1e-6
    return Grid(rate, places.astype(np.int64)[order], len(steps) if falling else 0, even)


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
    place = int(np.argmax(wrong))
    told = f"its times do not rise from line {int(lines[place]):,} to line {int(lines[place + 1]):,}"
    advice = ""
    if -3600 <= steps[place] <= 0 and steps[place] <= -1800:
        advice = " If clocks were put back there, say `time_zone`."
    elif steps[place] == 0:
        advice = " Remove the lines that are there twice, or give times a finer unit"
        advice += "; if clocks were put back there, say `time_zone`." if np.median(steps) == 3600 else "."
    raise DoubtError(f"{told}.{advice}")


def _no_change_of_clocks(
    times: Moments, nanoseconds: np.ndarray, steps: np.ndarray, step: float, lines: np.ndarray
) -> None:
    """Refuse a gap of one hour on a night in which clocks are put forward, unless the zone is known."""
    if not times.dated or times.zone is not None:
        return
    for hidden in (3600, 1800):
        for place in np.flatnonzero(np.abs(steps - step - hidden) < 0.01 * step):
            moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=int(nanoseconds[place]) // 1000)
            behind = moment + dt.timedelta(seconds=step + hidden)
            if behind.hour <= 3 and _skipped(moment + dt.timedelta(seconds=step), dt.timedelta(seconds=hidden)):
                hour = "hour" if hidden == 3600 else "half-hour"
                raise DoubtError(
                    f"its times leave out the {hour} before line {int(lines[place + 1]):,}, on {behind:%A %Y-%m-%d}, "
                    f"as clocks that are put forward do. Say `time_zone`; if the {hour} is missing, say UTC."
                )


def _skipped(local: dt.datetime, hidden: dt.timedelta) -> bool:
    """Whether clocks showed `hidden` more instead of a time, wherever that was."""
    local = local.replace(microsecond=0)
    return any(
        local.replace(tzinfo=place).astimezone(dt.UTC).astimezone(place).replace(tzinfo=None) == local + hidden
        for place in map(zoneinfo.ZoneInfo, sorted(zoneinfo.available_timezones()))
    )


def _of_index(series: Any, told: TimeColumn) -> Moments:
    """Moments of a Parquet column that is one of dates."""
    own = series.dt.tz
    if own is None:
        return located(nanoseconds(series, told), None, told)
    return or_days(nanoseconds(series.dt.tz_localize(None), told), Moments(nanoseconds(series, told), True, own))


def _as_written(cells: Cells, place: int, how: Marks) -> Any:
    return cells.written([place]).iloc[:, 0] if how.decimal == "," else cells.frame.iloc[:, place]


def _rises(cells: Cells, place: int, how: Marks, options: TableOptions) -> bool:
    found = column(cells, place, _as_written(cells, place, how), how, options)
    steps = np.diff(found.values) if found.values is not None and not found.fault else np.zeros(0)
    return len(steps) > 0 and bool((steps > 0).all())


def _place(cells: Cells, name: str) -> int:
    names = [cells.name(place) for place in range(cells.frame.shape[1])]
    if matching := called(names, name):
        return matching[0]
    message = f"has no column `{name}`.{suggestion(name, names, 'Columns')}"
    raise data_error(cells.path, "lacking the column", message)
