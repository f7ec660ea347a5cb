"""Tables: CSV, TSV, Parquet, UCR's rows of records, and columns of numbers without a header.

With a header, columns are channels and lines are samples; a column of times gives the rate. Without one, lines are
samples in .csv and .txt (Bonn's EEG, HAPT's sensors), and records with a class in front in .tsv (UCR), or wherever
`row` asks for one. `cells` finds out how a file is written, `columns` types its columns, `datetimes` and `moments` read
what says when, and `times` finds the column that does and the rate.
"""

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from speechrnn.faults import data_error, file_faults
from speechrnn.signals import times
from speechrnn.signals.cells import Cells, read
from speechrnn.signals.columns import Column, columns
from speechrnn.signals.datetimes import DoubtError
from speechrnn.signals.moments import EPOCHS, Moments
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import Record, cached, distinct, need, of_array, pick

_ROW_NAMES = (
    "", "index", "level_0", "#", "row", "rownames", "row_names", "no", "no.", "nr", "nr.", "sample", "sample #",
    "sample index", "sample number", "sample_index", "sample_number", "counter", "id", "idx", "obs", "seq",
)  # fmt: skip
"""Names, in lower case, of a first column that counts lines, if it does."""
_FASTEST = 10_000
"""Samples per second that are taken for a rate, at most."""
_DEFAULT = TableOptions()


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds."""

    path: str
    values: np.ndarray
    """float64 `(lines, channels)`, NaN where a cell is empty."""
    channels: tuple[str, ...]
    """Names; the places of their columns where they have none."""
    units: tuple[str, ...]
    faults: tuple[str, ...]
    """What is wrong with each channel, empty where nothing is."""
    lines: np.ndarray
    """Line of the file that each row comes from."""
    header: bool
    """Whether the file names its columns."""
    words: dict[str, Any]
    """Cells as they are written, by column; of the first one and of those that are no channels."""
    moments: Moments | None = None
    doubt: str = ""
    """Why the times of the lines are not known."""

    def part(self, start: int, stop: int) -> "Table":
        """Lines from `start` to `stop`."""
        moments = None if self.moments is None else self.moments[start:stop]
        return replace(self, values=self.values[start:stop], lines=self.lines[start:stop], moments=moments)

    def grid(self) -> times.Grid | None:
        """Where the lines belong; `None` if no column says when they were taken.

        Raises:
            DoubtError: The times cannot be determined.
        """
        if self.doubt:
            raise DoubtError(self.doubt)
        return None if self.moments is None else times.grid(self.moments, self.lines)


def record(path: str, row: int | str | None = None, options: TableOptions = _DEFAULT) -> Record:
    """A table as one record, or a line of it if `row` is given or the file is UCR's."""
    table = tables(path, options)
    if not table.header and (row is not None or path.lower().endswith(".tsv")):
        labels, signals = ucr(path, options)
        return of_array(path, signals[pick(path, row, [str(i) for i in range(len(labels))])], None)
    if not table.channels:
        columns = ", ".join(table.words)
        raise data_error(path, "without values", f"has no column of numbers. Columns: {columns}.")
    rate, values, doubt, start = _of_empatica(table) or on_grid(table)
    made = of_array(path, values, rate, table.channels, table.units)
    return replace(made, faults=table.faults, doubt=doubt, start=start)


def _of_empatica(table: Table) -> tuple[float, np.ndarray, str, dt.datetime] | None:
    """A record of Empatica's wristbands, whose first line is when it began and whose second is its rate."""
    if table.header or len(table.values) < 3 or any(table.faults) or table.words.keys() - {"0"}:
        return None
    (started, *others), (rate, *rates) = table.values[0].tolist(), table.values[1].tolist()
    low, high = EPOCHS["s"]
    if not (low <= started <= high and 0 < rate <= _FASTEST and {*others} <= {started} and {*rates} <= {rate}):
        return None
    if low <= float(np.nanmedian(table.values[2:])) <= high:
        return None
    start = dt.datetime.fromtimestamp(started, dt.UTC)
    return rate, table.values[2:], "", start


def on_grid(table: Table) -> tuple[float | None, np.ndarray, str, dt.datetime | None]:
    """Rate, values where they belong at that rate (NaN for lines that were left out), doubts, and the start."""
    try:
        found = table.grid()
    except DoubtError as error:
        return None, table.values, str(error), None
    if found is None or table.moments is None:
        return None, table.values, "", None
    values = np.full((int(found.places.max()) + 1, table.values.shape[1]), np.nan)
    values[found.places] = table.values
    return found.rate, values, "", table.moments.at(found.first) if found.even else None


def ucr(path: str, options: TableOptions = _DEFAULT) -> tuple[list[str], list[np.ndarray]]:
    """Classes and signals `(samples,)` of a file with a record a line; NaN that fill its end are cut off.

    Raises:
        ValueError: The file has a header, or a line has no sample.
    """
    table = tables(path, options)
    words = list(table.words.get("0", ()))
    samples = table.values[:, 1:] if table.channels[:1] == ("0",) else table.values
    if table.header or not words or not samples.shape[1] or len(table.words) > 1:
        message = "must have a record on each line: its class, then its samples, and no header."
        raise data_error(path, "invalid", message)
    wrong = next((fault for fault in table.faults[-samples.shape[1] :] if fault), "")
    if wrong:
        raise data_error(path, "undecodable", f"a record {wrong}.")
    labels, signals = [_class(word) for word in words], []
    for number, line in enumerate(samples, start=1):
        present = np.flatnonzero(~np.isnan(line))
        if not len(present):
            raise data_error(path, "empty", f"line {number} has no sample.")
        signals.append(line[: present[-1] + 1])
    return labels, signals


def _class(word: str) -> str:
    """A class as the file writes it; numbers in their shortest form."""
    try:
        return f"{float(word):g}"
    except ValueError:
        return word


@cached(8)
def tables(path: str, options: TableOptions = _DEFAULT, without: tuple[str, ...] = ()) -> Table:
    """A table; those of the last eight files are remembered.

    Args:
        path: The file.
        options: How the table is to be read.
        without: Columns that are not channels, such as classes; they are among the table's `words`.

    Raises:
        ValueError: It cannot be read, or can be read in more than one way.
    """
    cells = _parquet(path) if path.lower().endswith(".parquet") else read(path, options)
    every = columns(cells, options)
    time = times.find(every, options, path)
    moments, doubt = None, time.doubt
    try:
        moments = times.moments(every, time, cells, options)
    except DoubtError as error:
        doubt = str(error)
    chosen, texts = [], [] if cells.names else [0]
    for position, column in enumerate(every):
        if column.name in without:
            texts.append(position)
        elif position in time.others or (cells.names and _is_row_number(column, position)) or _is_empty(column):
            continue
        elif column.values is not None or column.fault:
            chosen.append(column)
        else:
            texts.append(position)
    values = np.full((len(cells.lines), len(chosen)), np.nan)
    for index, column in enumerate(chosen):
        if column.values is not None:
            values[:, index] = column.values
    as_text = cells.written(sorted({*texts}))
    unnamed = _unnamed(every[0]) if cells.names else ""
    return Table(
        path=path,
        values=values,
        channels=tuple(column.name for column in chosen),
        units=tuple(column.unit for column in chosen),
        faults=tuple(column.fault or (unnamed if column is every[0] else "") for column in chosen),
        lines=cells.lines,
        header=cells.names is not None,
        words={every[position].name: as_text[position] for position in as_text},
        moments=moments,
        doubt=doubt,
    )


def _parquet(path: str) -> Cells:
    pandas: Any = need("pandas", path)
    need("pyarrow", path)
    with file_faults(path, problem="is no table that can be read"):
        frame = pandas.read_parquet(path)
    if not isinstance(frame.index, pandas.RangeIndex):
        levels = ["" if name is None else name for name in frame.index.names]
        frame = frame.reset_index(names=levels, allow_duplicates=True)
    names = distinct([str(name).strip() for name in frame.columns])
    if not len(frame):
        raise data_error(path, "empty", "has no line of samples. Leave it out, or record it again.")
    frame.columns = range(len(names))
    return Cells(path, frame, names, ("",) * len(names), np.arange(1, len(frame) + 1), text=None)


def _is_row_number(column: Column, position: int) -> bool:
    """Whether a column of a table with names counts the lines, as pandas' index does."""
    name = column.name if column.named else ""
    if not (position == 0 and name.lower() in _ROW_NAMES) and not re.fullmatch(r"Unnamed: \d+(\.\d+)*", name):
        return False
    if column.cells.dtype.kind not in "iu":
        return False
    steps = column.steps()
    return bool((steps == 1).all() or (steps == -1).all())  # up or down, as the lines were sorted


def _is_empty(column: Column) -> bool:
    """Whether a column is what lies behind a delimiter at the end of each line."""
    return not column.named and bool(column.missing.all())


def _unnamed(column: Column) -> str:
    """What is wrong with a first column without a name that may say when the lines were taken."""
    if column.named or not column.rises():
        return ""
    return "has no name, rises, and may be time: name it, or say `time_columns` (0)"
