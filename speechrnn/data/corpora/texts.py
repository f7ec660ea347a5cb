"""Any table with a column of texts and one of classes: documents, strings of symbols, click streams."""

import os
from pathlib import Path

from speechrnn.data.building import Splits, TestSplit, corpus
from speechrnn.data.corpora.table import rows
from speechrnn.data.manifest import Example
from speechrnn.data.texts import text_example
from speechrnn.faults import data_error
from speechrnn.text.tokens import Unit


@corpus(TestSplit, key=lambda example: example.subject or example.text)
def prepare(
    file: str | os.PathLike[str],
    *,
    options: TestSplit,
    text_column: str,
    label_column: str,
    unit: Unit,
    subject_column: str | None = None,
    id_column: str | None = None,
    split_column: str | None = None,
    columns: tuple[str, ...] = (),
    delimiter: str | None = None,
    quoted: bool = True,
) -> Splits:
    """Write `train.jsonl`, and if asked for `valid.jsonl` and `test.jsonl`, or one manifest per value of a column.

    Equal texts, and texts of one subject, are all in one part.

    Args:
        file: A table in UTF-8.
        text_column: Column of texts.
        label_column: Column of classes.
        unit: What the texts are split into: "words", "characters", or "items" separated by white space.
        subject_column: Column of subjects: those who wrote the texts.
        id_column: Column of names; by default they are the lines of the table.
        split_column: Column of splits; by default a column `split`, if there is one. Otherwise the split is random.
        columns: Names of the columns, for a table without a header.
        delimiter: What separates cells: a character, `tab` or `space`; by default a tab in .tsv files, otherwise what
            the first line uses of `,`, `;`, `|` and tab.
        quoted: Whether quotation marks enclose cells; otherwise they are part of the text.

    Returns:
        Examples by part.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: A column is missing, a fraction is out of range, or no row can be used.
    """
    named = {
        "text_column": text_column, "label_column": label_column, "subject_column": subject_column,
        "id_column": id_column, "split_column": split_column,
    }  # fmt: skip
    needed = {column: option for option, column in named.items() if column}
    parts: dict[str, list[Example]] = {}
    for where, row in rows(
        file, delimiter=delimiter, faults=options.collector, needed=needed, quoted=quoted, columns=columns
    ):
        try:
            if not row[label_column].strip():
                raise data_error(where, "without a class", f"the column `{label_column}` is empty.")
            example = text_example(
                row[text_column],
                row[label_column].strip(),
                unit=unit,
                path=os.fspath(file),
                id=row[id_column] if id_column else f"{Path(file).stem}:{where.rpartition(':')[2]}",
                subject=(row[subject_column].strip() or None) if subject_column else None,
            )
        except ValueError as error:
            options.collector.add_error(where, error)
            continue
        chosen = split_column or ("split" if "split" in row else None)
        parts.setdefault(row[chosen] if chosen else "train", []).append(example)
    options.check()
    if not parts:
        first = next((f" First: {fault.message}" for fault in options.collector), "")
        raise ValueError(f"{file}: has no row that can be used.{first}")
    return parts
