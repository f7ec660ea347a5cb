"""Print reports of evaluations as lines and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_summary(report: object, console: Console | None) -> Console:
    """Print a report's summary line, and return the console: the one given, or one of standard output."""
    from rich.console import Console

    console = console or Console(highlight=False)
    console.print(str(report), style="bold", markup=False, soft_wrap=True)
    return console


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1) -> Table:
    """A table whose first columns are names, left-aligned, and whose other columns are numbers, right-aligned.

    Args:
        headings: Headings of the columns.
        rows: Cells, printed as they are: square brackets are not markup.
        names: Number of columns with names.
    """
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None)
    for index, heading in enumerate(headings):
        result.add_column(Text(heading), justify="left" if index < names else "right")
    for row in rows:
        result.add_row(*map(Text, row))
    return result
