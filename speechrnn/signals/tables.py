"""Tables: CSV, TSV, Parquet, UCR's rows of records, and columns of numbers without a header.

With a header, columns are channels and lines are samples; a column of times gives the rate. Without one, lines are
samples in .csv and .txt (Bonn's EEG, HAPT's sensors), and records with a class in front in .tsv (UCR), or wherever
`row` asks for one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.record import Record, cached, need, of_array, pick

TIMES = ("time", "times", "timestamp", "date", "datetime", "seconds", "t")
"""Names, in lower case, of the column that says when a sample was taken, in seconds or as a date."""


@dataclass(frozen=True)
class Table:
    """What a file holds."""

    values: np.ndarray
    """float64 `(lines, columns)`, NaN where a cell is empty."""
    columns: tuple[str, ...] | None
    """Names; `None` without a header."""
    rate: float | None = None
    """From the column of times, which is no longer among the values."""


def record(path: str, row: int | str | None = None) -> Record:
    """A table as one record, or a line of it if `row` is given or the file is UCR's."""
    table = _tables(path)
    if table.columns is not None and row is None:
        return of_array(path, table.values, table.rate, table.columns)
    if row is not None or path.lower().endswith(".tsv"):
        labels, signals = ucr(path)
        return of_array(path, signals[pick(path, row, [str(i) for i in range(len(labels))])], None)
    return of_array(path, table.values, None)


def ucr(path: str) -> tuple[list[str], list[np.ndarray]]:
    """Classes and signals `(samples,)` of a file with a record a line; NaN that fill its end are cut off.

    Raises:
        ValueError: The file has a header, or a line has no sample.
    """
    table = _tables(path)
    if table.columns is not None or table.values.shape[1] < 2:
        raise data_error(
            path, "invalid", "must have a record on each line: its class, then its samples, and no header."
        )
    labels = [f"{label:g}" for label in table.values[:, 0]]
    signals = []
    for number, line in enumerate(table.values[:, 1:], start=1):
        there = np.flatnonzero(~np.isnan(line))
        if not len(there):
            raise data_error(path, "empty", f"line {number} has no sample.")
        signals.append(line[: there[-1] + 1])
    return labels, signals


def numbers(path: str) -> np.ndarray:
    """float64 `(lines, columns)` of a file without a header.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has a header, or a cell that is no number.
    """
    try:
        table = _tables(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file.") from error
    if table.columns is not None:
        raise data_error(path, "undecodable", f"must be numbers without a header. Received: {table.columns[:5]}.")
    return table.values


def frame(path: str) -> Any:
    """A table with a header as a pandas frame, its cells of any kind."""
    if path.lower().endswith(".parquet"):
        return _reader(path, "read_parquet", path)
    separator = "\t" if path.lower().endswith(".tsv") else None
    return _reader(path, "read_csv", path, sep=separator, engine="python", encoding="utf-8-sig")


def timed(path: str, frame: Any) -> tuple[float | None, Any]:
    """Rate that a column of times gives, `None` without one, and the columns of numbers but that one, as a frame."""
    table = _framed(path, frame)
    pandas: Any = need("pandas", path)
    return table.rate, pandas.DataFrame(table.values, columns=list(table.columns or ()))


def _parse(path: str) -> Table:
    if path.lower().endswith(".parquet"):
        return _framed(path, _reader(path, "read_parquet", path))
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    separator = next((mark for mark in "\t;," if mark in first), None)
    cells = first.split(separator)
    if not all(_is_number(cell) for cell in cells if cell.strip()) and any(cell.strip() for cell in cells):
        return _framed(path, _reader(path, "read_csv", path, sep=separator or r"\s+", encoding="utf-8-sig"))
    frame = _reader(path, "read_csv", path, sep=separator or r"\s+", header=None, encoding="utf-8-sig")
    return Table(_numbers(path, frame), None)


_tables = cached(_parse, 8)


def _reader(path: str, function: str, *args: Any, **options: Any) -> Any:
    try:
        return getattr(need("pandas", path), function)(*args, **options)
    except ImportError:
        raise
    except Exception as error:  # what pandas raises depends on the parser
        raise data_error(path, "undecodable", f"is no table that can be read: {error}.") from error


def _framed(path: str, frame: Any) -> Table:
    """The columns that hold numbers, on the regular grid that a column of times gives."""
    times = next((name for name in frame.columns if str(name).strip().lower() in TIMES), None)
    numeric = frame.drop(columns=[times] if times is not None else []).select_dtypes(["number", "bool"])
    if not numeric.shape[1]:
        raise data_error(path, "without values", f"has no column of numbers. Columns: {', '.join(map(str, frame))}.")
    names = tuple(str(name).strip() for name in numeric.columns)
    values = numeric.to_numpy(np.float64)
    if times is None or len(values) < 2:
        return Table(values, names)
    rate, values = _on_grid(path, _seconds(path, frame[times]), values)
    return Table(values, names, rate)


def _seconds(path: str, column: Any) -> np.ndarray:
    if column.dtype.kind in "fiu":
        return column.to_numpy(np.float64)
    pandas: Any = need("pandas", path)
    try:
        moments = pandas.to_datetime(column)
    except (ValueError, TypeError) as error:
        raise data_error(path, "undecodable", f"its column {column.name!r} holds no times: {error}.") from error
    return (moments - moments.iloc[0]).dt.total_seconds().to_numpy(np.float64)


def _on_grid(path: str, seconds: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    """Rate, and the values where they belong at that rate: samples that were left out are NaN."""
    steps = np.diff(seconds)
    step = float(np.median(steps))
    if not np.isfinite(seconds).all() or step <= 0 or (steps <= 0).any():
        raise data_error(path, "without a rate", "its times do not rise from line to line.")
    places = (seconds - seconds[0]) / step
    if np.abs(np.diff(places) - 1).max() < 0.5:  # rounded times, none left out
        return (len(seconds) - 1) / float(seconds[-1] - seconds[0]), values
    nearest = np.rint(places).astype(np.int64)
    if np.abs(places - nearest).max() > 0.25 or (np.diff(nearest) < 1).any() or nearest[-1] > 100 * len(nearest):
        raise data_error(path, "without a rate", "its lines are not taken at a regular rate. Resample it first.")
    grid = np.full((int(nearest[-1]) + 1, values.shape[1]), np.nan)
    grid[nearest] = values
    return 1 / step, grid


def _numbers(path: str, frame: Any) -> np.ndarray:
    try:
        return frame.to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise data_error(path, "undecodable", f"has a cell that is no number: {error}.") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
