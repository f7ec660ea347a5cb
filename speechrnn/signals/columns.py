"""The columns of a table: numbers with any mark, moments, text, or what is wrong with them."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.signals.cells import MISSING, Cells, unquoted
from speechrnn.signals.datetimes import is_moment, shape
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import need

CLOCKS = ("time", "uhrzeit", "ora", "hora", "heure", "tijd", "tid", "clock")
"""Names, as `base_and_unit` gives them, of columns of times of day rather than dates."""
_UNITS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "millisecond", "milliseconds"),
    "us": ("us", "µs", "μs", "usec", "micros", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nanos", "nanosecond", "nanoseconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}
UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words}
"""Units of time by how they are written."""
_SPACES = "'’\u00a0\u202f "
"""Marks between thousands that can mean nothing else."""
_SAMPLE = 50
"""Cells that are looked at to find out whether they say when."""
_LIKE_A_NUMBER = re.compile(r"[^A-Za-z]{0,3}\d.*", re.DOTALL)
_INFINITE = r"[+-]?(?i:inf|infinity)"
_PLAIN = rf"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|{_INFINITE}"
"""Numbers as most programs write them; Python and pandas also take 1_000, 0x1f and the digits of other scripts."""
_DECIMAL_COMMA = (
    rf"[+-]?(\d{{1,3}}([.{_SPACES}]\d{{3}})+,\d*|\d*,(\d{{1,2}}|\d{{4,}})|0*,\d+|\d{{4,}},\d+|\d+,)([eE][+-]?\d+)?"
)
"""Where a comma can only be a decimal mark: not three digits behind it, or a zero or nothing before it."""
_THOUSANDS = {
    mark: rf"[+-]?[1-9]\d{{0,2}}(([{mark}]\d{{3}})+[{decimal}]\d+|([{mark}]\d{{3}}){{2,}})"
    for mark, decimal in (",.", ".,")
}
"""Where a mark can only stand between thousands: several times, or before the decimal mark."""
_ADVICE = "mend it, say that it stands for a missing value (`missing`), or choose other columns (`channels`)"


@dataclass(frozen=True)
class Marks:
    """How numbers are written in a table."""

    decimal: str
    thousands: str
    """Marks that may stand between thousands."""
    doubtful: str = ""
    """A mark that may be either, and is refused where it stands before three digits."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column, as far as it can be read."""

    name: str
    """Its name, or its index if it has no name."""
    named: bool
    """Whether the table names it."""
    unit: str
    cells: Any
    """pandas series, in numbers or dates where all cells are some, and else in text."""
    missing: np.ndarray
    """bool `(lines,)`: where it is empty."""
    values: np.ndarray | None
    """Numbers `(lines,)`, float64 with NaN where one is missing, or int64; `None` of what are none."""
    fault: str
    """What is wrong with the numbers."""
    says: str
    """What all cells are: "number", or "full" (date and time of day), "date", "clock"; or nothing of these."""

    @property
    def base(self) -> str:
        """The name as `base_and_unit` gives it; nothing where there is none."""
        return base_and_unit(self.name)[0] if self.named else ""

    def steps(self) -> np.ndarray:
        """Differences between its numbers; none where they cannot be read."""
        return np.zeros(0) if self.values is None or self.fault else np.diff(self.values)

    def rises(self) -> bool:
        """Whether each number is larger than the one before it."""
        steps = self.steps()
        return len(steps) > 0 and bool((steps > 0).all())


def base_and_unit(name: str) -> tuple[str, str | None]:
    """The name of a column without its unit and the marks between its words, and the unit.

    Example:
    >>> base_and_unit("Time (ms)"), base_and_unit("time_stamp"), base_and_unit("microseconds")
    (('time', 'ms'), ('timestamp', None), ('microseconds', 'us'))
    """
    plain = name.strip().lower()
    split = re.fullmatch(r"(.*?)[\s_.-]*[\[(/]\s*([a-zµμ]+)\s*[\])]?|(.*?)[\s_]+([a-zµμ]+)", plain)
    base, unit = (split[1] or split[3], split[2] or split[4]) if split else ("", "")
    if base and unit in UNIT_OF:
        return re.sub(r"[\s_.:-]", "", base), UNIT_OF[unit]
    base = re.sub(r"[\s_.:-]", "", plain)
    return base, UNIT_OF.get(base) if len(base) > 2 else None


def columns(cells: Cells, options: TableOptions) -> list[Column]:
    """All columns of a table.

    Args:
        cells: The table.
        options: How the table is to be read.
    """
    how = _marks(cells, options)
    typed = [series for _, series in cells.frame.items()]
    if how.decimal == ",":  # and 1.5 is no number
        texts = [series for _, series in cells.written().items()]
        typed = [own if own.dtype.kind in "iu" else text for own, text in zip(typed, texts, strict=True)]
    return [_column(cells, index, series, how, options) for index, series in enumerate(typed)]


def _column(cells: Cells, index: int, series: Any, how: Marks, options: TableOptions) -> Column:
    kind, name, named = series.dtype.kind, cells.name(index), bool(cells.names and cells.names[index])
    missing, says = series.isna().to_numpy(bool), {"M": "full", "m": "clock"}.get(kind, "")
    values: np.ndarray | None = None
    fault = ""
    if kind in "iu" and not missing.any() and series.max() < 2**63:
        values = series.to_numpy(np.int64)
    elif kind in "fiub":
        values = series.to_numpy(np.float64, na_value=np.nan)
        if np.isinf(values).any() and cells.text is not None:  # 1e400 is infinite too
            fault = _too_large(cells, values, cells.written([index])[index])
    elif not says:
        missing = missing | series.astype("str").str.strip().isin(MISSING).to_numpy(bool)
        says = _says(series[~missing].iloc[:_SAMPLE].astype("str"), name if named else "")
        if not says:
            values, fault = _numbers(cells, series, how, options)
    if values is not None:
        values = _without(values, options)
        says = "number" if kind != "b" and not fault else ""
    return Column(name, named, cells.units[index], series, missing, values, fault, says)


def _says(sample: Any, name: str) -> str:
    """What the cells of a column of text say, if all say the same."""
    shapes = {shape(unquoted(cell)) for cell in sample}
    if "either" in shapes:
        clock = base_and_unit(name)[0] in CLOCKS
        shapes = shapes - {"either"} or ({"clock"} if clock else {"date"})
    if shapes == {"full", "date"}:  # midnight is left out by some
        return "full"
    return shapes.pop() if len(shapes) == 1 else ""


def _marks(cells: Cells, options: TableOptions) -> Marks:
    """The decimal mark and the mark between thousands, from the cells that allow one reading only.

    `1,5` and `0,125` have a decimal comma, `1,234.5` and `1,234,567` have thousands; `1,234` alone may be either.
    """
    commas, grouped = (_seen(cells, pattern) for pattern in (_DECIMAL_COMMA, _THOUSANDS[","]))
    if options.thousands is not None:
        likely = "," if commas and options.thousands != "," else "."
        return Marks(options.decimal or likely, options.thousands)
    decimal = options.decimal or ("," if commas and not grouped else ".")
    other = "." if decimal == "," else ","
    clear = _seen(cells, _THOUSANDS["."]) if decimal == "," else grouped and not commas
    return Marks(decimal, _SPACES + other) if clear else Marks(decimal, _SPACES, doubtful=other)


def _seen(cells: Cells, pattern: str) -> bool:
    texts = (series for _, series in cells.frame.items() if series.dtype.kind not in "fiubMm")
    return any(series.astype("str").str.strip().str.fullmatch(pattern).any() for series in texts)


def _numbers(cells: Cells, series: Any, how: Marks, options: TableOptions) -> tuple[np.ndarray | None, str]:
    """Numbers of a column of text, `None` if it has none, and what is wrong with them."""
    pandas: Any = need("pandas", cells.path)
    if series.dtype == object and series.map(lambda cell: isinstance(cell, list | dict | np.ndarray)).any():
        return None, "holds lists"
    text = series.astype("str").str.strip().str.replace("\u2212", "-", regex=False)  # a minus sign in typographic dress
    missing = (series.isna() | text.isin([*MISSING, *options.missing])).to_numpy(bool)
    lower = text.str.lower()
    if not missing.all() and (missing | lower.isin(["true", "false"])).all():
        return np.where(missing, np.nan, lower == "true").astype(np.float64), ""
    plain, doubtful = _plain(text, how)
    valid = plain.str.fullmatch(_PLAIN).to_numpy(bool) & ~missing
    values = pandas.to_numeric(plain.where(valid), errors="coerce").astype("float64").to_numpy(copy=True)
    bad = (~valid | doubtful) & ~missing
    if not bad.any():
        return values, _too_large(cells, values, plain)
    if (doubtful & bad).any():
        why = "where the mark may be a decimal mark or stand between thousands: say `decimal` or `thousands`"
        return values, f"{_holds(cells, text, doubtful & bad)}, {why}"
    if not valid.any():  # a column of text, unless it has numbers with something around them
        likely = text[bad].map(lambda cell: _LIKE_A_NUMBER.fullmatch(cell) is not None and not is_moment(cell))
        bad[bad] = likely.to_numpy(bool)
        if not bad.any():
            return None, ""
    return values, f"{_holds(cells, text, bad)}, which is no number: {_ADVICE}"


def _too_large(cells: Cells, values: np.ndarray, text: Any) -> str:
    """What is wrong with values that are infinite, and of which the file does not say so."""
    if not np.isinf(values).any():
        return ""
    text = text.astype("str").str.strip()
    large = np.isinf(values) & ~text.str.fullmatch(_INFINITE).to_numpy(bool)
    return f"{_holds(cells, text, large)}, more than a number can be: {_ADVICE}" if large.any() else ""


def _holds(cells: Cells, text: Any, mask: np.ndarray) -> str:
    """The first of some cells, and its line."""
    first = int(np.argmax(mask))
    return f"holds {text.iloc[first]!r} in line {int(cells.lines[first]):,}"


def _without(values: np.ndarray, options: TableOptions) -> np.ndarray:
    """The values without the numbers that stand for a missing one."""
    for word in options.missing:
        try:
            values = np.where(values == float(word), np.nan, values)
        except ValueError:
            continue
    return values


def _plain(text: Any, how: Marks) -> tuple[Any, np.ndarray]:
    """Numbers as Python writes them, and which cells may be read in two ways."""
    doubtful = np.zeros(len(text), bool)
    decimal = re.escape(how.decimal)
    if how.doubtful:
        mark = re.escape(how.doubtful)
        doubtful = text.str.fullmatch(rf"[+-]?[1-9]\d{{0,2}}{mark}\d{{3}}").to_numpy(bool)
    if how.thousands:
        marks = "[" + re.escape(how.thousands) + "]"
        grouped = text.str.fullmatch(rf"[+-]?\d{{1,3}}({marks}\d{{3}})+({decimal}\d*)?").to_numpy(bool)
        text = text.where(~grouped, text.str.replace(marks, "", regex=True))
    if how.decimal == ",":
        dotted = text.str.contains(".", regex=False)
        text = text.where(dotted, text.str.replace(",", ".", regex=False))
        text = text.where(~dotted, "x" + text)  # a dot is no decimal mark here
    return text, doubtful
