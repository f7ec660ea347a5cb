"""Download a published corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from speechrnn.cli.options import Parser, add_options, collect
from speechrnn.data.corpora import archives
from speechrnn.data.download import download
from speechrnn.faults import suggestion

_FUNCTION = "speechrnn.data.download:download"

_EPILOG = """\
The archive is checked against its published checksum where there is one, and unpacked. A download that broke off goes
on when the same line is run again. The folder to give to `speechrnn prepare` is printed.
"""


def parser() -> Parser:
    """The verb's options."""
    listed = "\n".join(f"  {name:32} {archive.licence}" for name, archive in archives().items())
    made = Parser(
        prog="speechrnn download",
        usage="speechrnn download CORPUS --to DIR [options]",
        description=f"{__doc__}\n\ncorpora, and their licences:\n{listed}",
        epilog=_EPILOG,
    )
    made.add_argument("corpus", metavar="CORPUS", help="one of those above")
    made.add_argument("--to", required=True, metavar="DIR", help="where it is unpacked")
    add_options(made, _FUNCTION, title="download", prefix="download", skip=("name", "folder", "progress"))
    return made


def run(words: list[str]) -> int:
    """Download; 0 when the corpus is on the disk."""
    made = parser()
    arguments = made.parse_args(words)
    if arguments.corpus not in archives():
        made.error(f"unknown corpus `{arguments.corpus}`.{suggestion(arguments.corpus, archives())}")
    with _progress(arguments.corpus) as progress:
        done = download(arguments.corpus, arguments.to, progress=progress, **collect(arguments, _FUNCTION))
    print(done.folder)
    print(f"speechrnn: {done}", file=sys.stderr)
    return 0


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """A bar of bytes on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=None)
        yield lambda received, total: bar.update(task, completed=received, total=total)
