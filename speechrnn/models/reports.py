"""Reports of evaluations as lines and tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def begun(report: object, console: Console | None) -> Console:
    """A console, standard output unless one is given, that shows a report in a sentence."""
    from rich.console import Console

    console = console or Console(highlight=False)
    console.print(str(report), style="bold", markup=False, soft_wrap=True)
    return console


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, names: int = 1) -> Table:
    """Rows under headings: names first, then numbers.

    Args:
        headings: Of the columns.
        rows: Cells, taken as they are: a name in square brackets is no markup.
        names: How many columns hold names.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None)
    for index, heading in enumerate(headings):
        made.add_column(Text(heading), justify="left" if index < names else "right")
    for row in rows:
        made.add_row(*map(Text, row))
    return made
