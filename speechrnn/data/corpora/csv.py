"""Any sensor data in CSV tables: columns are channels, rows are samples, and one column has the classes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechrnn import signals
from speechrnn.data.building import Draft, Splits, TestSplit, corpus, find_tables, in_chunks
from speechrnn.faults import data_error, suggestion
from speechrnn.files import output_names
from speechrnn.signals.options import TableOptions

if TYPE_CHECKING:
    import numpy as np

_NO_CLASS = ("", "nan", "NaN", "<NA>")


@corpus(TestSplit)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: TestSplit,
    label_column: str = "label",
    group: str | None = None,
    rate: float | None = None,
    channels: Sequence[str] = (),
    chunk: float | None = None,
    table: TableOptions | Mapping[str, Any] | None = None,
) -> Splits:
    """Write `train.jsonl` and, if asked for, `valid.jsonl` and `test.jsonl`, and a .npz of each record they point to.

    Args:
        folder: A folder of .csv, .tsv or .parquet tables with a header, or one table.
        label_column: Column of classes. Where every record has one class, it labels the record; where the class
            changes within any, stretches are labeled, in all of them.
        group: Column of subjects; a table is cut where it changes. Without it every table is one record without a
            subject.
        rate: Samples per second; by default read from a column of times.
        channels: Names of the channels to read; by default every other column of numbers.
        chunk: Longest piece of a record in seconds. Records are cut if stretches are labeled.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.

    Returns:
        Examples by split.
    """
    if chunk is not None and not chunk > 0:
        raise ValueError(f"`chunk` must be positive. Received: {chunk}.")
    options.refuse_existing("train")
    reading = TableOptions.of(table)
    records: list[_Labeled] = []
    taken: set[str] = set()
    paths = find_tables(folder)
    for path, name in zip(paths, output_names(list(map(str, paths))), strict=True):
        try:
            records += _records(path, name, label_column, group, rate, channels, reading, options, taken)
        except FileExistsError:
            raise
        except (ValueError, OSError) as error:
            options.collector.add_error(str(path), error)
    changing = any(not record.constant for record in records)  # all records need the same kind of label
    drafts = [draft for record in records for draft in (_stretches(record, chunk) if changing else [_whole(record)])]
    return {"train": drafts}


@dataclass(frozen=True)
class _Labeled:
    path: Path
    runs: list[tuple[int, int, str]]  # first line, line after the last, and class of each stretch
    size: int
    rate: float
    subject: str | None

    @property
    def constant(self) -> bool:
        return len(self.runs) == 1 and self.runs[0][:2] == (0, self.size)


def _records(
    path: Path,
    name: str,
    label_column: str,
    group: str | None,
    rate: float | None,
    channels: Sequence[str],
    reading: TableOptions,
    options: TestSplit,
    taken: set[str],
) -> Iterator[_Labeled]:
    """Write the records of a table."""
    non_channels = (label_column, *((group,) if group else ()))
    import numpy as np

    table = signals.tables.tables(str(path), reading, non_channels)
    names = [*table.channels, *table.words]
    for column in (*non_channels, *channels):
        if column not in names or not table.header:
            message = f"has no column `{column}`.{suggestion(column, names, 'Columns')}"
            raise data_error(path, "lacking the column", message)
    selected = [table.channels.index(name) for name in channels] or list(range(len(table.channels)))
    if not selected:
        raise data_error(path, "without values", f"has no column of numbers. Columns: {', '.join(names)}.")
    for index in selected:
        if table.faults[index]:
            raise data_error(path, "undecodable", f"column `{table.channels[index]}` {table.faults[index]}.")
    if rate is None and table.moments is None:
        message = f"{table.doubt} Or give `rate`." if table.doubt else "has no column of times. Give `rate` (--rate)."
        raise data_error(path, "without a rate", message)
    unlabeled = {*_NO_CLASS, *reading.missing}
    label_cells = table.words[label_column]
    classes = [
        None if missing or word in unlabeled else word
        for word, missing in zip(map(_word, label_cells), label_cells.isna(), strict=True)
    ]
    subjects = np.array([_word(word) for word in table.words[group]] if group else [""] * len(classes))
    cuts = [0, *(np.flatnonzero(subjects[1:] != subjects[:-1]) + 1).tolist(), len(classes)]
    for number, (start, stop) in enumerate(itertools.pairwise(cuts), start=1):
        record_id = name if len(cuts) == 2 else f"{name}-{number}"
        try:
            if record_id in taken:  # parts of a.csv are called a-1, as is a-1.csv
                raise data_error(path, "duplicate", f"has a record {record_id} as another table. Rename one.")
            own_rate, values, labels = _on_grid(path, table.part(start, stop), classes[start:stop], label_column, rate)
        except ValueError as error:  # of one subject; others in the table may be fine
            options.collector.add_error(record_id, error)
            continue
        taken.add(record_id)
        selected_names = [table.channels[index] for index in selected]
        record_path = options.write_record(record_id, values[:, selected], own_rate, channels=selected_names)
        yield _Labeled(record_path, _runs(labels), len(labels), own_rate, str(subjects[start]) if group else None)


def _word(cell: object) -> str:
    return str(cell).strip()


def _on_grid(
    path: Path, part: signals.tables.Table, classes: list[str | None], label_column: str, rate: float | None
) -> tuple[float, np.ndarray, list[str | None]]:
    """Rate, values and classes on a regular grid of times.

    A missing line gets the class of the lines before and after it if they agree, else none.
    """
    if not any(classes):
        message = f"its column `{label_column}` is empty in lines {part.lines[0]} to {part.lines[-1]}."
        raise data_error(path, "without labels", message)
    measured_rate, values, doubt, _ = signals.tables.on_grid(part)
    record_rate = rate or measured_rate
    if record_rate is None:
        raise data_error(path, "without a rate", f"{doubt} Or give `rate`.")
    if measured_rate is None or len(values) == len(classes):
        descending = measured_rate and part.moments and part.moments.nanoseconds[0] > part.moments.nanoseconds[-1]
        return record_rate, values, classes[::-1] if descending else classes
    grid = part.grid()
    labels: list[str | None] = [None] * len(values)
    positions = sorted(zip(grid.places.tolist() if grid else [], classes, strict=True))
    for (position, label), (after, following) in itertools.pairwise([*positions, (len(values), None)]):
        labels[position:after] = [label] + [label if label == following else None] * (after - position - 1)
    return record_rate, values, labels


def _runs(labels: list[str | None]) -> list[tuple[int, int, str]]:
    runs, start = [], 0
    for label, same in itertools.groupby(labels):
        stop = start + len(list(same))
        if label is not None:
            runs.append((start, stop, label))
        start = stop
    return runs


def _whole(record: _Labeled) -> Draft:
    return Draft(record.path, label=record.runs[0][2], subject=record.subject)


def _stretches(record: _Labeled, chunk: float | None) -> Iterator[Draft]:
    """Yield the record, or its chunks, with start and end in seconds and class of each stretch."""
    size = record.size if chunk is None else max(1, round(chunk * record.rate))
    whole = Draft(record.path, subject=record.subject, id=record.path.stem)
    pieces = in_chunks(whole, record.runs, range(record.size), size, record.rate, digits=6)
    return pieces if chunk is not None else (replace(piece, id=whole.id) for piece in pieces)
