"""The cells of a table in text: its encoding, what lies between its cells, its header, its units, lines that are none.

pandas reads the cells; what it would guess is found out here and told to it. A line with another number of cells, a
header that may be samples, an encoding that is not known: each is refused, with the option that decides.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import need

MISSING = (
    "", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "N/A", "n/a", "na", "null", "NULL", "Null", "None", "none", "nil",
    "NaT", "<NA>", "#N/A", "#NA", "#N/A N/A", "?", "-", "--", "---", ".", "..", "*", "1.#QNAN", "-1.#QNAN", "1.#IND",
    "-1.#IND",
)  # fmt: skip
"""Words for a missing value, whatever is said to be one beside them."""
_COMMENT = re.compile(r"#(?!N/A|NA\b|VALUE!|REF!|DIV/0!|NUM!|NAME\?|NULL!)|%|//")
"""How a comment begins; Excel's errors do too."""
_CANDIDATES = ("\t", ";", "|", ",", " ")
_SAMPLE = 100
"""Lines that are looked at to find what lies between cells."""
_NUMBER = re.compile(r"[+-]?(\d+[\d.,'’\u00a0\u202f]*|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+")
_MOMENT = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ,]+\d.*)?|\d{1,3}[:.h]\d\d([:.]\d\d.*)?( ?[AaPp]\.?[Mm]\.?)?")
_NO_UNIT = re.compile(
    r"err(or)?|bad|fail(ed|ure)?|invalid|over(flow|range)?|under(flow|range)?|#.*|off|on|true|false", re.I
)
_WESTERN = b"\xb0\xb1\xb2\xb3\xb5\xb7"
"""The signs °, ±, ², ³, µ and ·, which the encodings of Windows and ISO that write them have at the same places."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A table before its cells are numbers."""

    path: str
    frame: Any
    """pandas frame; columns are numbers where every cell is one or missing, and text otherwise."""
    names: tuple[str, ...] | None
    """Names of the columns; `None` without a header."""
    units: tuple[str, ...]
    """Units of the columns, empty where there is none."""
    lines: np.ndarray
    """Line of the file that each row comes from."""
    delimiter: str = ","
    ragged: str = ""
    """What is wrong with lines that are too short for the header."""
    text: str | None = None
    """Lines of samples, for those who need cells as they are written; `None` of what is no text."""

    def written(self, columns: Sequence[int] | None = None) -> Any:
        """The cells as they are written, as a frame of text; of all columns or some."""
        if self.text is None:
            return self.frame if columns is None else self.frame.iloc[:, list(columns)]
        return _frame(self.path, self.text, self.delimiter, list(self.frame.columns), usecols=columns, dtype=str)

    def name(self, column: int) -> str:
        """Name of a column; its place where it has none."""
        return (self.names[column] if self.names else "") or str(column)


def read(path: str, options: TableOptions) -> Cells:
    """The cells of a CSV, TSV or text file.

    Raises:
        ValueError: It cannot be read, or in more than one way.
    """
    text = _decoded(path, options.encoding).replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise data_error(path, "undecodable", f"has zero bytes in line {line:,}. Copy or download it again.")
    lines = text.split("\n")
    table, names_above, delimiter = _table(lines)
    if not table:
        raise data_error(path, "empty", "has no line of samples. Leave it out, or record it again.")
    delimiter = options.delimiter or delimiter or _delimiter(path, [lines[i] for i in table[:_SAMPLE]], options)
    width, rows, head = _shape(path, lines, table, delimiter, options, names_above)
    names = None if head is None else _names(head, width)
    table = table[len(table) - rows :]
    units, table = _units([lines[i] for i in table[:2]], table, delimiter, width, named=names is not None)
    ragged, width = _ragged(path, lines, table, delimiter, width)
    body = "\n".join(lines[i] for i in table)
    found = _frame(path, body, delimiter, list(range(width)), missing=options.missing)
    if len(found) != len(table) and '"' not in body:
        raise data_error(path, "undecodable", f"has {len(table):,} lines of samples, {len(found):,} could be read.")
    numbers = np.array(table[: len(found)], np.int64) + 1
    if width == 1 and len(table) > 1 and table[-1] - table[0] + 1 > len(table):
        _no_empty_lines(path, lines, table)
    return Cells(path, found, names, units, numbers, delimiter, ragged, body)


def cells_of(line: str, delimiter: str) -> list[str]:
    """Cells of one line, without quotation marks and blanks around them."""
    if delimiter == " ":
        return [cell.strip('"') for cell in line.split()]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def is_number(cell: str) -> bool:
    """Whether a cell is a number with any of the marks that are in use, or missing."""
    return cell in MISSING or _NUMBER.fullmatch(cell) is not None


def is_moment(cell: str) -> bool:
    """Whether a cell looks like a date or a time of day."""
    return _MOMENT.fullmatch(cell) is not None


def _decoded(path: str, encoding: str | None) -> str:
    with open(path, "rb") as file:
        data = file.read()
    if encoding is None:
        for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
            if data.startswith(mark):
                encoding = name
    zeros = [data[start:200:2].count(0) / max(1, len(data[start:200:2])) for start in (0, 1)]
    if encoding is None and max(zeros) > 0.8 and min(zeros) < 0.2:  # UTF-16 without its mark
        encoding = "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is None and not data.translate(None, bytes(range(128)) + _WESTERN):
            return data.decode("latin-1")
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is not {encoding or 'UTF-8'} in line {line:,} ({error.reason})."
        advice = "Save it as UTF-8, or say its `encoding`, such as latin-1 or cp1252."
        raise data_error(path, "undecodable", f"{message} {advice}") from error


def _table(lines: list[str]) -> tuple[list[int], str | None, str | None]:
    """Places of the lines that are part of the table, the comment right above them, and what Excel's `sep=` says."""
    delimiter, kept, above = None, [], None
    for index, line in enumerate(lines):
        bare = line.strip()
        if not bare or _COMMENT.match(bare):
            if bare and not kept:
                above = bare.lstrip("#%/ ")
            continue
        if not kept and delimiter is None and (found := re.fullmatch(r'"?sep=(.)"?', bare)):
            delimiter = found[1]
            continue
        kept.append(index)
    return kept, above, delimiter


def _delimiter(path: str, sample: list[str], options: TableOptions) -> str:
    """What lies between the cells: that with which all lines have as many, and most cells are numbers or times."""
    if path.lower().endswith(".tsv") and any("\t" in line for line in sample):
        return "\t"
    best, found = (False, 0.0), ""
    for mark in _CANDIDATES:
        if mark == options.decimal or not any(mark in line for line in sample):
            continue
        rows = [cells_of(line, mark) for line in sample]
        count, often = Counter(map(len, rows[1:] or rows)).most_common(1)[0]
        if count < 2:
            continue
        body = [cell for row in rows[1:] or rows for cell in row]
        plain = sum(is_number(cell) or is_moment(cell) for cell in body) / len(body)
        even = often == len(rows[1:] or rows) and len(rows[0]) in (count - 1, count, count + 1)
        if (even, plain) > best:
            best, found = (even, plain), mark
    return found or "\x1f"  # one column


def _shape(
    path: str, lines: list[str], table: list[int], delimiter: str, options: TableOptions, above: str | None
) -> tuple[int, int, list[str] | None]:
    """Number of columns, number of lines below the header, and the header's cells, if there is one."""
    first = cells_of(lines[table[0]], delimiter)
    sample = [cells_of(lines[i], delimiter) for i in table[1 : _SAMPLE + 1]]
    width = Counter(map(len, sample)).most_common(1)[0][0] if sample else len(first)
    named = options.header
    if named is None:
        named = _is_header(path, first, sample)
    if not named:
        width = Counter(map(len, [first, *sample])).most_common(1)[0][0]
        head = None if above is None or options.header is False else cells_of(above, delimiter)
        fits = head is not None and len(head) == width > 1 and all(head) and not any(map(is_number, head))
        return width, len(table), head if fits else None
    while len(first) > width and not first[-1]:
        first.pop()
    if len(first) == width - 1 and sample:
        if all(len(row) < width or not row[-1] for row in sample):  # lines end in the delimiter
            first.append("")
        elif _are_row_names([lines[i] for i in table[1 : _SAMPLE + 1]], delimiter):
            first.insert(0, "")
    if sample and len(first) != width:
        message = f"names {len(first)} columns in line {table[0] + 1:,}, {width} cells follow in line {table[1] + 1:,}."
        advice = "Give each column a name; if numbers have a decimal comma, say `decimal` and `delimiter`."
        raise data_error(path, "undecodable", f"{message} {advice}")
    return max(width, len(first)), len(table) - 1, first


def _is_header(path: str, first: list[str], sample: list[list[str]]) -> bool:
    """Whether the first line names columns.

    Raises:
        ValueError: It may be either.
    """
    told = [cell for cell in first if cell not in MISSING]
    if not sample or not told:
        return bool(told) and not any(is_number(cell) or is_moment(cell) for cell in told)
    if any(is_moment(cell) and not _NUMBER.fullmatch(cell) for cell in told):
        return False
    whole = [cell for cell in told if _WHOLE.fullmatch(cell)]
    if any(is_number(cell) and cell not in whole for cell in told):
        return False
    if not whole:
        return True
    counted = whole in ([str(i) for i in range(len(whole))], [str(i) for i in range(1, len(whole) + 1)])
    if len(whole) < len(told) or first[0] == "":  # names beside numbers
        if counted:
            return True
    elif whole != [str(i) for i in range(len(whole))]:
        return False  # pandas counts columns from 0; other numbers are samples
    elif any(is_number(cell) and not _WHOLE.fullmatch(cell) for row in sample for cell in row):
        return True  # whole numbers above numbers with fractions
    message = f"begins with a line that may name columns or hold samples: {', '.join(first[:5])}."
    raise data_error(path, "ambiguous", f"{message} Say `header` (--header or --no-header).")


def _are_row_names(lines: list[str], delimiter: str) -> bool:
    """Whether lines begin with their numbers, as R writes them; before a comma that may be half of a decimal."""
    if delimiter == "," and not all(line.lstrip().startswith('"') for line in lines):
        return False
    return [cells_of(line, delimiter)[0] for line in lines] == [str(i) for i in range(1, len(lines) + 1)]


def _names(head: list[str], width: int) -> tuple[str, ...]:
    """Names of the columns, all different."""
    seen: Counter[str] = Counter()
    names = []
    for name in [*head, *[""] * (width - len(head))]:
        seen[name] += 1
        names.append(name if seen[name] == 1 or not name else f"{name}.{seen[name] - 1}")
    return tuple(names)


def _units(
    lines: list[str], table: list[int], delimiter: str, width: int, *, named: bool
) -> tuple[tuple[str, ...], list[int]]:
    """Units that stand in a line below the header, and the lines after it."""
    if named and len(lines) == 2:
        row, after = (cells_of(line, delimiter) for line in lines)
        under = [unit for unit, cell in zip(row, after, strict=False) if is_number(cell) and cell not in MISSING]
        words = [cell.strip("[]()") for cell in row]
        if (
            any(under)
            and len(row) == len(after)
            and not any(cell and (is_number(cell) or is_moment(cell) or _NO_UNIT.fullmatch(cell)) for cell in row)
            and max(map(len, under)) <= 16
        ):
            return (*words, *[""] * (width - len(words))), table[1:]
    return ("",) * width, table


def _ragged(path: str, lines: list[str], table: list[int], delimiter: str, width: int) -> tuple[str, int]:
    """What is wrong with short lines, and the number of cells of the longest.

    Raises:
        ValueError: A line has more cells than there are columns.
    """
    counts = _counts([lines[i] for i in table], delimiter)
    longer = counts > width
    for place in np.flatnonzero(longer):
        if any(cells_of(lines[table[place]], delimiter)[width:]):
            message = f"has {counts[place]} cells in line {table[place] + 1:,}, {width} are expected."
            advice = "Mend the line; if numbers have a decimal comma, say `decimal` and `delimiter`."
            raise data_error(path, "undecodable", f"{message} {advice}")
    told = ""
    if (counts < width).any():
        place = int(np.argmax(counts < width))
        told = f"has {counts[place]} cells in line {table[place] + 1:,}, {width} are expected. Mend or remove the line."
    return told, int(max(counts.max(initial=0), width))


def _counts(lines: list[str], delimiter: str) -> np.ndarray:
    """Cells of each line; what lies within quotation marks is one cell, over several lines too."""
    if any('"' in line for line in lines) and delimiter != " ":
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        counts, last = np.zeros(len(lines), np.int64), 0
        for row in reader:
            counts[last : reader.line_num] = len(row)
            last = reader.line_num
        return counts
    if delimiter == " ":
        return np.array([len(line.split()) for line in lines], np.int64)
    return np.array([line.count(delimiter) + 1 for line in lines], np.int64)


def _no_empty_lines(path: str, lines: list[str], table: list[int]) -> None:
    for index in range(table[0], table[-1]):
        if not lines[index].strip():
            message = f"has an empty line {index + 1:,}, which may stand for a missing sample or for nothing."
            raise data_error(path, "ambiguous", f"{message} Write NaN there, or remove it.")


def _frame(path: str, text: str, delimiter: str, columns: list[int], **how: Any) -> Any:
    """A frame of lines without a header, every guess of pandas ruled out."""
    pandas: Any = need("pandas", path)
    missing: Iterable[str] = how.pop("missing", ())
    words = [""] if how.get("dtype") is str else [*MISSING, *missing]
    try:
        return pandas.read_csv(
            io.StringIO(text), sep=r"\s+" if delimiter == " " else delimiter, header=None, names=columns,
            index_col=False, skipinitialspace=True, na_values=words, keep_default_na=False, low_memory=False,
            skip_blank_lines=False, **how,
        )  # fmt: skip
    except (ValueError, TypeError, OverflowError) as error:  # pandas.errors.ParserError is a ValueError
        raise data_error(path, "undecodable", f"is no table that can be read: {error}.") from error
