"""The columns of a table: numbers with any mark, text, or what is wrong with them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.signals.cells import MISSING, Cells, is_moment
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import need

_SPACES = "'’\u00a0\u202f "
"""Marks between thousands that can mean nothing else."""
_LIKE_A_NUMBER = re.compile(r"[^A-Za-z]{0,3}\d.*", re.DOTALL)
_INFINITE = r"[+-]?(?i:inf|infinity)"
_ADVICE = "mend it, say that it stands for a missing value (`missing`), or choose other columns (`channels`)"


@dataclass(frozen=True)
class Marks:
    """How numbers are written in a table."""

    decimal: str = "."
    thousands: str = ""
    """Marks that may stand between thousands."""
    doubtful: str = ""
    """A mark that may be either, and is refused where it stands before three digits."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column as far as it holds numbers."""

    values: np.ndarray | None
    """float64 `(lines,)`, NaN where a value is missing; `None` of text."""
    fault: str = ""
    """What is wrong with it."""


def marks(cells: Cells, options: TableOptions) -> Marks:
    """The decimal mark and the mark between thousands, from the cells that allow one reading only.

    `1,5` and `0,125` have a decimal comma, `1,234.5` and `1,234,567` have thousands; `1,234` alone may be either.

    Args:
        cells: The table.
        options: What is said of it.
    """
    spaces = _SPACES if options.thousands is None else options.thousands
    if options.decimal == "," or (options.decimal == "." and options.thousands is not None):
        other = "." if options.decimal == "," else ","
        if options.thousands is None and _seen(cells, _thousands(other, options.decimal)):
            spaces += other
        return Marks(options.decimal, spaces, "" if other in spaces or options.decimal == "." else other)
    comma = _seen(cells, _decimals(","))
    grouped = _seen(cells, _thousands(",", "."))
    if options.thousands is not None:
        return Marks("," if comma and options.thousands != "," else ".", spaces, "")
    if comma and not grouped and options.decimal is None:
        dots = _seen(cells, _thousands(".", ","))
        return Marks(",", spaces + "." if dots else spaces, "" if dots else ".")
    if grouped and not comma:
        return Marks(".", spaces + ",")
    return Marks(".", spaces, ",")


def _decimals(mark: str) -> str:
    """Cells in which a mark can only be a decimal mark: not three digits behind it, or a zero or nothing before it."""
    grouped = rf"\d{{1,3}}([{re.escape('.' if mark == ',' else ',')}{_SPACES}]\d{{3}})+{mark}\d*"
    return rf"[+-]?({grouped}|\d*{mark}(\d{{1,2}}|\d{{4,}})|0*{mark}\d+|\d{{4,}}{mark}\d+|\d+{mark})([eE][+-]?\d+)?"


def _thousands(mark: str, decimal: str) -> str:
    """Cells in which a mark can only stand between thousands: several times, or before the decimal mark."""
    mark, decimal = re.escape(mark), re.escape(decimal)
    return rf"[+-]?[1-9]\d{{0,2}}(({mark}\d{{3}})+{decimal}\d+|({mark}\d{{3}}){{2,}})"


def _seen(cells: Cells, pattern: str) -> bool:
    for place in range(cells.frame.shape[1]):
        column = cells.frame.iloc[:, place]
        if column.dtype.kind in "fiubMm":
            continue
        if column.astype("str").str.strip().str.fullmatch(pattern).any():
            return True
    return False


def column(cells: Cells, place: int, series: Any, how: Marks, options: TableOptions) -> Column:
    """The numbers of a column.

    Args:
        cells: Where it comes from.
        place: Which column it is.
        series: Its cells; as they are written, where the table has decimal commas.
        how: How numbers are written.
        options: What is said of the table.
    """
    if series.dtype.kind in "fiub":
        values = series.to_numpy(np.float64, na_value=np.nan)
        fault = _too_large(cells, values, lambda: cells.written([place]).iloc[:, 0]) if cells.text else ""
        return Column(_without(values, options), fault)
    if series.dtype.kind in "Mm":
        return Column(None)
    pandas: Any = need("pandas", cells.path)
    if series.dtype == object and series.map(lambda cell: isinstance(cell, list | dict | np.ndarray)).any():
        return Column(None, "holds lists")
    text = series.astype("str").str.strip().str.replace("\u2212", "-", regex=False)  # a minus sign in typographic dress
    missing = series.isna() | text.isin([*MISSING, *options.missing])
    lower = text.str.lower()
    if not missing.all() and (missing | lower.isin(["true", "false"])).all():
        return Column(np.where(missing, np.nan, lower == "true").astype(np.float64))
    plain, doubtful = _plain(text, how)
    values = pandas.to_numeric(plain, errors="coerce").astype("float64").to_numpy(copy=True)
    # What Python and pandas take for numbers and nobody writes: 1_000, 0x1f, True.
    digits = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"  # those of ASCII, which pandas takes for some
    valid = plain.str.fullmatch(rf"{digits}|{_INFINITE}").to_numpy(bool)
    values[~valid | missing.to_numpy()] = np.nan
    values = _without(values, options)
    bad = (~valid | doubtful) & ~missing.to_numpy()
    if not bad.any():
        return Column(values, _too_large(cells, values, lambda: plain))
    first = int(np.argmax(doubtful & bad)) if (doubtful & bad).any() else int(np.argmax(bad))
    cell, line = text.iloc[first], int(cells.lines[first])
    if doubtful[first] and bad[first]:
        said = f"holds {cell!r} in line {line:,}, where the mark may be a decimal mark or stand between thousands"
        return Column(values, f"{said}: say `decimal` or `thousands`")
    likely = text[bad].map(lambda one: _LIKE_A_NUMBER.fullmatch(one) is not None and not is_moment(one))
    if not (valid & ~missing.to_numpy()).any() and not likely.any():
        return Column(None)
    if not (valid & ~missing.to_numpy()).any():
        first = int(np.flatnonzero(bad)[int(np.argmax(likely.to_numpy()))])
        cell, line = text.iloc[first], int(cells.lines[first])
    return Column(values, f"holds {cell!r} in line {line:,}, which is no number: {_ADVICE}")


def _too_large(cells: Cells, values: np.ndarray, written: Callable[[], Any]) -> str:
    """What is wrong with values that are infinite, and of which the file does not say so."""
    if not np.isinf(values).any():
        return ""
    text = written().astype("str").str.strip()
    large = np.isinf(values) & ~text.str.fullmatch(_INFINITE).to_numpy(bool)
    if not large.any():
        return ""
    first = int(np.argmax(large))
    return f"holds {text.iloc[first]!r} in line {int(cells.lines[first]):,}, more than a number can be: {_ADVICE}"


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
        if grouped.any():
            text = text.where(~grouped, text.str.replace(marks, "", regex=True))
    if how.decimal == ",":
        dotted = text.str.contains(".", regex=False)
        text = text.where(dotted, text.str.replace(",", ".", regex=False))
        text = text.where(~dotted, "x" + text)  # a dot is no decimal mark here
    return text, doubtful
