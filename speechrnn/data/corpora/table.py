"""Any corpus that is a CSV or TSV table with a column of paths."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from speechrnn import text
from speechrnn.data.building import Draft, Splits, TestSplit, corpus
from speechrnn.faults import Faults, read_text, suggestion
from speechrnn.signals import options as table_options

TEXT = "text"
"""Default name of the column of transcripts."""


@corpus(TestSplit)
def prepare(
    file: str | os.PathLike[str],
    *,
    options: TestSplit,
    path_column: str = "path",
    text_column: str | None = TEXT,
    label_column: str | None = None,
    subject_column: str | None = None,
    id_column: str | None = None,
    offset_column: str | None = None,
    duration_column: str | None = None,
    end_column: str | None = None,
    split_column: str | None = None,
    channel_column: str | None = None,
    root: str | os.PathLike[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    normalize: bool = True,
) -> Splits:
    """Write `{table's stem}.jsonl`; `train.jsonl` and what is held out; or one manifest per value of the split column.

    Args:
        file: A table in UTF-8 whose first line names its columns.
        path_column: Paths of the recordings.
        text_column: Column of texts; `None` for none. With `label_column` the table need not have a column `text`.
        label_column: Column of classes.
        subject_column: Column of subjects; by default a column `subject`, if there is one.
        id_column: Column of names; by default they are made from paths, and from offsets and channels if there are any.
        offset_column: Starts of the segments in seconds; a column `offset` by default, or `start` beside `end`.
        duration_column: Lengths of the segments in seconds; only with `offset_column`, and `duration` beside `offset`.
        end_column: Ends of the segments in seconds, instead of their lengths; a column `end` by default.
        split_column: Column of splits; by default a column `split`, if there is one.
        channel_column: Channels of the recordings, counted from 0; a column `channel` by default, if there is one.
        root: Folder that relative paths start from; by default the table's own.
        delimiter: What separates cells: a character, `tab` or `space`; by default a tab in .tsv files, otherwise what
            the first line uses of `,`, `;`, `|` and tab.
        encoding: Format of headerless samples, such as `s16le@16000`: 16 bits, little-endian, mono, 16 kHz.
        normalize: Convert texts to lower case without punctuation.

    Returns:
        Examples by split.
    """
    if (duration_column or end_column) and not offset_column:
        raise ValueError("`duration_column` and `end_column` are of segments: name their `offset_column` too.")
    if duration_column and end_column:
        raise ValueError("`duration_column` and `end_column` say the same of segments. Name one of them.")
    transcripts = None if text_column == TEXT and label_column else text_column  # with classes, they are optional
    named = {
        "path_column": path_column, "text_column": transcripts, "label_column": label_column,
        "subject_column": subject_column, "id_column": id_column, "offset_column": offset_column,
        "duration_column": duration_column, "end_column": end_column, "split_column": split_column,
        "channel_column": channel_column,
    }  # fmt: skip
    needed = {column: option for option, column in named.items() if column}
    splits: dict[str, list[Draft]] = {}
    whole = "train" if options.valid_fraction or options.test_fraction else Path(file).stem
    folder = Path(file).parent if root is None else Path(root)
    table = list(rows(file, delimiter=delimiter, faults=options.collector, needed=needed))
    names = table[0][1] if table else {}
    if not offset_column and "offset" in names:  # else the transcript of a segment would be taken for that of the file
        offset_column, duration_column = "offset", "duration" if "duration" in names else None
    elif not offset_column and "start" in names and "end" in names:
        offset_column = "start"
    if offset_column and not (duration_column or end_column) and "end" in names:
        end_column = "end"
    subject_column, split_column, channel_column = (
        named_column or (default if default in names else None)
        for named_column, default in ((subject_column, "subject"), (split_column, "split"), (channel_column, "channel"))
    )
    ids = _ids([row for _, row in table], path_column, id_column, offset_column, channel_column)
    for name, (where, row) in zip(ids, table, strict=True):
        try:
            offset = _number(row, offset_column) if offset_column else 0.0
            duration = _number(row, duration_column) if duration_column else None
            duration = _number(row, end_column) - offset if end_column else duration
            channel = _channel(row, channel_column) if channel_column else None
        except ValueError as error:
            options.collector.add(where, "bad lines", f"{where}: {error}")
            continue
        if not row[path_column]:
            options.collector.add(where, "bad lines", f"{where}: the column `{path_column}` is empty.")
            continue
        if label_column and not row[label_column].strip():
            options.collector.add(where, "without a class", f"{where}: the column `{label_column}` is empty.")
            continue
        transcript = row.get(text_column) if text_column else None
        draft = Draft(
            folder / row[path_column],
            text.normalize(transcript) if normalize and transcript is not None else transcript,
            label=row[label_column].strip() if label_column else None,
            subject=(row[subject_column].strip() or None) if subject_column else None,
            id=name,
            offset=offset,
            duration=duration,
            channel=channel,
            extra={"encoding": encoding} if encoding else {},
        )
        splits.setdefault(row[split_column] if split_column else whole, []).append(draft)
    options.check()
    if not splits:
        first = next((f" First: {fault.message}" for fault in options.collector), "")
        raise ValueError(f"{file}: has no row that can be used.{first}")
    recordings = [draft.path for drafts in splits.values() for draft in drafts]
    if not any(map(os.path.lexists, recordings)):
        raise ValueError(
            f"{file}: none of its {len(recordings):,} recordings is there: no such file as {recordings[0]}. Relative "
            "paths start from the table's folder, or from another `root`."
        )
    return splits


def rows(
    file: str | os.PathLike[str],
    *,
    faults: Faults,
    needed: Iterable[str],
    delimiter: str | None = None,
    quoted: bool = True,
    columns: Sequence[str] = (),
) -> Iterator[tuple[str, dict[str, str]]]:
    """Read the rows of a table.

    Args:
        file: A table in UTF-8 whose first line names its columns.
        faults: Collects rows with another number of columns.
        needed: Required columns; a mapping has the option that names each column, for messages.
        delimiter: See `prepare`.
        quoted: Whether quotation marks enclose cells; otherwise they are part of the text.
        columns: Names of the columns of a table without a header.

    Yields:
        `file:line` and the row as column name to text.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A column is missing or named twice, the file is not UTF-8, or a quotation mark is not closed.
    """
    content = read_text(file, missing="there is no such table. Check the path.")
    first = content.partition("\n")[0]
    guess = "\t" if Path(file).suffix == ".tsv" else max(",;|\t", key=first.count)
    separator = guess if delimiter is None else table_options.delimiter(delimiter)
    # Transcripts of long recordings exceed the csv module's limit, which is against attacks.
    csv.field_size_limit(max(csv.field_size_limit(), len(content) + 1))
    lines = io.StringIO(content, newline="")
    reader = csv.reader(
        lines, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
    )
    try:
        names = list(columns) or next(reader, [])
    except csv.Error as error:
        raise ValueError(f"{file}:1: cannot be read: {error}. Check its quotation marks.") from error
    for column in needed:
        if names.count(column) != 1:
            problem = "has no column" if column not in names else "has more than one column"
            how = f" Name another with `{needed[column]}`." if isinstance(needed, Mapping) else ""
            raise ValueError(f"{file}: {problem} `{column}`.{suggestion(column, names, 'Columns')}{how}")
    while True:
        first_line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):  # all the rest is one cell
                message = f"{file}:{first_line}: has a quotation mark that none closes. Mend the line."
                raise ValueError(message) from error
            faults.add(f"{file}:{first_line}", "bad lines", f"{file}:{first_line}: {error}. Check its quotation marks.")
            continue
        if not values:
            continue
        where = f"{file}:{reader.line_num}"
        if len(values) != len(names):
            message = f"{where}: should have {len(names)} columns. Received: {len(values)}. Check its quotation marks."
            faults.add(where, "bad lines", message)
            continue
        yield where, dict(zip(names, values, strict=True))


def _channel(row: dict[str, str], column: str) -> int | None:
    """Parse the channel of a row; None if the cell is empty."""
    cell = row[column].strip()
    if cell and not (cell.isascii() and cell.isdigit()):
        raise ValueError(f"the column `{column}` must hold channels, counted from 0. Received: {row[column]!r}.")
    return int(cell) if cell else None


def _number(row: dict[str, str], column: str) -> float:
    try:
        if "_" in row[column] or not row[column].isascii():  # Python reads `1_0` and digits of other scripts too
            raise ValueError
        return float(row[column])
    except ValueError as error:
        raise ValueError(f"the column `{column}` must hold seconds. Received: {row[column]!r}.") from error


def _ids(table: list[dict[str, str]], path: str, name: str | None, *parts: str | None) -> list[str]:
    """The id of each row: from its own column, else its path's stem, else more of its path if stems are equal."""
    if name:
        return [row[name] for row in table]
    stems = {p: Path(p).stem for p in (row[path] for row in table)}
    repeated = Counter(stems.values())
    names = []
    for row in table:
        stem = stems[row[path]] if repeated[stems[row[path]]] == 1 else os.path.splitext(row[path])[0]
        names.append("-".join([stem, *(row[part] for part in parts if part and row[part])]))
    return names
