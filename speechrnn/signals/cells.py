"""The cells of a table in text: its encoding, what lies between its cells, its header, its units, lines that are none.

pandas reads the cells; what it would guess is found out here and told to it. A line with another number of cells, a
header that may be samples, an encoding that is not known: each is refused, with the option that decides.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from speechrnn.faults import data_error, packed_format
from speechrnn.signals.datetimes import is_moment
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import distinct, need

MISSING = (
    "", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "N/A", "n/a", "na", "null", "NULL", "Null", "None", "none", "nil",
    "NaT", "<NA>", "#N/A", "#NA", "#N/A N/A", "?", "-", "--", "---", ".", "..", "*", "1.#QNAN", "-1.#QNAN", "1.#IND",
    "-1.#IND",
)  # fmt: skip
"""Words for a missing value, whatever the options add."""
_COMMENT = re.compile(r"#(?!N/A|NA\b|VALUE!|REF!|DIV/0!|NUM!|NAME\?|NULL!)|%|//")
"""How a comment begins; Excel's errors do too."""
_LINE = re.compile(rf'(?P<line>[^\S\n]*+(?:{_COMMENT.pattern})[^\n]*+|(?:[^"\n]++|"[^"]*+")*+)(?:\n|\Z)')
"""A comment, or cells whose quotation marks are closed."""
_CANDIDATES = ("\t", ";", "|", ",", " ")
_SAMPLE = 100
"""Lines that are looked at to find what lies between cells."""
_MOST_LINES = 20
"""Lines that a cell between quotation marks may have."""
_NUMBER = re.compile(r"[+-]?(\d+[\d.,'’\u00a0\u202f]*|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+")
_NO_LETTERS = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*")
_NO_UNIT = re.compile(
    r"err(or)?|bad|fail(ed|ure)?|invalid|over(flow|range)?|under(flow|range)?|#.*|off|on|true|false|[^A-Za-z]{0,3}\d.*",
    re.IGNORECASE | re.DOTALL,
)
"""What is no unit: words for a bad cell, and all that begins as numbers and dates do."""
_UNIT = re.compile(
    r"[\[(].*[\])]|[pnuµμmkMG]?(V|A|Hz|g|m|s|Pa|bar|W|Wh|J|N|T|K|C|F|lx|lux|dB|bpm|rpm|rad|deg|°|L|l|mol|ohm|Ω|S|h|min)"
    r"([/·*^²³0-9A-Za-z-]*)|°[CF]|%|pp[mb]|raw|counts?|adu|au|a\.u\.|units?|lsb|bits?"
)
"""What the unit of a lone column looks like."""
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
    """Units of the columns; empty for a column without a unit."""
    lines: np.ndarray
    """Line of the file that each row comes from."""
    delimiter: str = ","
    text: str | None = None
    """Lines of samples, for those who need cells as they are written; `None` of what is no text."""

    def written(self, columns: Sequence[int] | None = None) -> Any:
        """The cells as they are written, as a frame of text; of all columns or some."""
        if self.text is None:
            return self.frame if columns is None else self.frame.iloc[:, list(columns)]
        return _frame(self.path, self.text, self.delimiter, list(self.frame.columns), usecols=columns, dtype=str)

    def name(self, column: int) -> str:
        """Name of a column, or its index if it has no name."""
        return (self.names[column] if self.names else "") or str(column)


def read(path: str, options: TableOptions) -> Cells:
    """The cells of a CSV, TSV or text file.

    Raises:
        ValueError: It cannot be read, or in more than one way.
    """
    text = _decoded(path, options.encoding).replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a\n")
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))  # notes may be long
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise data_error(path, "undecodable", f"has zero bytes in line {number:,}. Copy or download it again.")
    lines = _lines(path, text)
    if not lines.texts:
        raise data_error(path, "empty", "has no line of samples. Leave it out, or record it again.")
    delimiter = options.delimiter or lines.delimiter or _delimiter(path, lines.texts[:_SAMPLE], options)
    last = len(lines.texts)
    while last > 1 and delimiter in (line := lines.texts[last - 1]) and not line.strip(f"{delimiter}\"' "):
        last -= 1  # rows that a spreadsheet leaves empty
    lines = lines.part(slice(None, last))
    width, head, lines = _shape(path, lines, delimiter, options)
    units, lines = _units(lines, delimiter, named=head is not None)
    width = _even(path, lines, delimiter, width)
    names = None if head is None else distinct([*head, *[""] * (width - len(head))])
    units = (*units, *[""] * (width - len(units)))
    if width == 1 and lines.empty:
        message = f"has an empty line {lines.empty:,}, which may stand for a missing sample or for nothing."
        raise data_error(path, "ambiguous", f"{message} Write NaN there, or remove it.")
    body = "\n".join(lines.texts)
    frame = _frame(path, body, delimiter, list(range(width)), missing=options.missing)
    if len(frame) != len(lines.texts):
        message = f"has {len(lines.texts):,} lines of samples, {len(frame):,} could be read. Check its quotation marks."
        raise data_error(path, "undecodable", message)
    return Cells(path, frame, names, units, np.array(lines.numbers, np.int64), delimiter, body)


@dataclass(frozen=True)
class _Lines:
    """Lines of a table, without those that are empty or comments."""

    texts: list[str]
    numbers: list[int]
    """Where each stands in the file, from 1."""
    above: str | None = None
    """The comment right above the first, without its mark."""
    delimiter: str | None = None
    """What Excel's `sep=` says."""
    empty: int = 0
    """The first empty line between others."""
    comments: tuple[tuple[int, str], ...] = ()
    """Comments and where they stand, those right above the first line and those after it."""

    def part(self, which: slice) -> "_Lines":
        return replace(self, texts=self.texts[which], numbers=self.numbers[which])


def cells_of(line: str, delimiter: str) -> list[str]:
    """Cells of one line, without quotation marks and blanks around them."""
    if delimiter == " ":
        return [cell.strip("\"'") for cell in line.split()]
    row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [unquoted(cell) for cell in row]


def unquoted(cell: str) -> str:
    """A cell without blanks, and without single quotation marks if it stands between two."""
    cell = " ".join(cell.split("\n")).strip()
    return cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] == "'" else cell


def is_number(cell: str) -> bool:
    """Whether a cell is a number with any of the marks that are in use, or missing."""
    return cell in MISSING or _NUMBER.fullmatch(cell) is not None


def _decoded(path: str, encoding: str | None) -> str:
    with open(path, "rb") as file:
        data = file.read()
    if packed := packed_format(data):
        raise data_error(path, "undecodable", f"is no text, it is {packed}.")
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


def _lines(path: str, text: str) -> _Lines:
    """The lines that are part of the table; one whose quotation marks are open goes on in the next."""
    texts, numbers, comments = list[str](), list[int](), list[tuple[int, str]]()
    above: str | None = None
    delimiter: str | None = None
    position, number, empty, first_empty = 0, 1, 0, 0
    while position < len(text):
        match = _LINE.match(text, position)
        if match is None or match[0].count("\n") > _MOST_LINES:
            message = f"has a quotation mark in line {number:,} that none closes. Mend the line."
            raise data_error(path, "undecodable", message)
        line, stripped = match["line"], match["line"].strip()
        if not stripped:
            empty = empty or number
        elif _COMMENT.match(stripped):
            comments.append((number, stripped.lstrip("#%/ ")))
            above = above if texts else comments[-1][1]
        elif not texts and (separator := re.fullmatch(r'"?sep=(.)"?', stripped)):
            delimiter = separator[1]
        else:
            first_empty = first_empty or (empty if texts else 0)
            empty = 0
            texts.append(line)
            numbers.append(number)
        position, number = match.end(), number + match[0].count("\n")
    return _Lines(texts, numbers, above, delimiter, first_empty, tuple(comments[-_SAMPLE:]))


def _delimiter(path: str, sample: list[str], options: TableOptions) -> str:
    """What lies between the cells: that with which the first line has as many as most, or else all lines have as many,
    and most cells are numbers or times.
    """
    if path.lower().endswith(".tsv") and any("\t" in line for line in sample):
        return "\t"
    best, chosen = (False, False, 0.0), ""
    for mark in _CANDIDATES:
        if mark == options.decimal or not any(mark in line for line in sample):
            continue
        rows = [cells_of(line, mark) for line in sample]
        count, often = Counter(map(len, rows[1:] or rows)).most_common(1)[0]
        if count < 2:
            continue
        body = [cell for row in rows[1:] or rows for cell in row if cell]
        plain = sum(is_number(cell) or is_moment(cell) for cell in body) / max(1, len(body))
        even = often == len(rows[1:] or rows) and len(rows[0]) in (count - 1, count, count + 1)
        if (fit := (len(rows[0]) == count, even, plain)) > best:
            best, chosen = fit, mark
    named = [mark for mark in _CANDIDATES if mark in sample[0]]
    if not chosen and named and (named != [" "] or len(sample) == 2):  # the header has cells, and no line has as many
        return max(named, key=sample[0].count)
    return chosen or "\x1f"  # one column


def _shape(path: str, lines: _Lines, delimiter: str, options: TableOptions) -> tuple[int, list[str] | None, _Lines]:
    """Number of columns, the header's cells if there is one, and the lines below it."""
    first = cells_of(lines.texts[0], delimiter)
    sample = [cells_of(line, delimiter) for line in lines.texts[1 : _SAMPLE + 1]]
    width = Counter(map(len, sample)).most_common(1)[0][0] if sample else len(first)
    named = options.header
    if named is None:
        named = _is_header(path, first, sample)
    if not named:
        width = Counter(map(len, [first, *sample])).most_common(1)[0][0]
        head = None if lines.above is None or options.header is False else cells_of(lines.above, delimiter)
        fits = head is not None and len(head) == width > 1 and all(head) and not any(map(is_number, head))
        return width, head if fits else None, lines
    while len(first) > width and not first[-1]:
        first.pop()
    if len(first) < width and not any(cell for row in sample for cell in row[len(first) :]):
        width = len(first)  # lines end in the delimiter, some or all of them
    elif len(first) == width - 1 and _are_row_names(lines.texts[1 : _SAMPLE + 1], delimiter):
        first.insert(0, "")
    if sample and len(first) != width:
        message = f"names {len(first)} columns in line {lines.numbers[0]:,}, {width} cells follow in line "
        advice = (
            "Name each column, begin lines above the header with #; for decimal commas, say `decimal` and `delimiter`."
        )
        raise data_error(path, "undecodable", f"{message}{lines.numbers[1]:,}. {advice}")
    return max(width, len(first)), first, lines.part(slice(1, None))


def _is_header(path: str, first: list[str], sample: list[list[str]]) -> bool:
    """Whether the first line names columns.

    Raises:
        ValueError: It may be either.
    """
    filled = [cell for cell in first if cell not in MISSING]
    if not sample or not filled:
        return bool(filled) and not any(is_number(cell) or is_moment(cell) for cell in filled)
    if any(is_moment(cell) and not _NUMBER.fullmatch(cell) for cell in filled):
        return False
    whole = [cell for cell in filled if _WHOLE.fullmatch(cell)]
    if any((is_number(cell) or _NO_LETTERS.fullmatch(cell)) and cell not in whole for cell in filled):
        return False
    if not whole:
        return True
    counted = whole in ([str(i) for i in range(len(whole))], [str(i) for i in range(1, len(whole) + 1)])
    if len(whole) < len(filled) or first[0] == "":  # names beside numbers
        if counted and (len(whole) > 2 or first[0] == ""):
            return True
    elif whole != [str(i) for i in range(len(whole))]:
        steps = {int(after) - int(before) for before, after in pairwise(whole)}
        fractions = all(is_number(cell) and not _WHOLE.fullmatch(cell) for row in sample for cell in row)
        if not (len(whole) > 2 and steps == {1} and fractions):  # such as years, which count columns too
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


def _units(lines: _Lines, delimiter: str, *, named: bool) -> tuple[tuple[str, ...], _Lines]:
    """Units that stand in a line below the header, and the lines after it."""
    if named and len(lines.texts) > 1:
        row, after = (cells_of(line, delimiter) for line in lines.texts[:2])
        under = [unit for unit, cell in zip(row, after, strict=False) if is_number(cell) and cell not in MISSING]
        words = [cell.strip("[]()") for cell in row]
        units = [unit for unit in under if unit not in MISSING and not _NO_UNIT.fullmatch(unit) and len(unit) <= 16]
        enough = len(units) > 1 or any(_UNIT.fullmatch(unit) for unit in units)  # one word may be a bad cell
        if len(row) == len(after) and enough and len(units) == len([unit for unit in under if unit]):
            return tuple(words), lines.part(slice(1, None))
    return (), lines


def _even(path: str, lines: _Lines, delimiter: str, width: int) -> int:
    """The number of cells that every line has, those that are empty behind the last column counted.

    Raises:
        ValueError: A line has more or fewer cells, or is a comment that looks like a line of samples.
    """
    counts = _counts(lines.texts, delimiter)
    longer = np.flatnonzero(counts > width).tolist()
    wrong = next((i for i in longer if any(cells_of(lines.texts[i], delimiter)[width:])), None)
    if wrong is None and (counts < width).any():
        wrong = int(np.argmax(counts < width))
    if wrong is not None:
        message = f"has {counts[wrong]} cells in line {lines.numbers[wrong]:,}, {width} are expected. Mend the line;"
        advice = (
            "fill a shorter one with NaN"
            if counts[wrong] < width
            else "for decimal commas, say `decimal` and `delimiter`"
        )
        raise data_error(path, "undecodable", f"{message} {advice}.")
    for number, comment in lines.comments:
        cells = cells_of(comment, delimiter)
        if len(cells) == width and sum(cell not in MISSING and is_number(cell) for cell in cells) * 2 > width:
            message = f"has samples behind a mark of comments in line {number:,}. Remove the line, or the mark."
            raise data_error(path, "ambiguous", message)
    return int(max(counts.max(initial=0), width))


def _counts(lines: list[str], delimiter: str) -> np.ndarray:
    """Cells of each line; what lies within quotation marks is one cell."""
    if delimiter == " ":
        return np.array([len(line.split()) for line in lines], np.int64)
    return np.array(
        [len(cells_of(line, delimiter)) if '"' in line else line.count(delimiter) + 1 for line in lines],
        np.int64,
    )


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
