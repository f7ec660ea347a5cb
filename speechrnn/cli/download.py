"""Download a published corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data.corpora import archives
from speechrnn.data.download import download as fetch
from speechrnn.faults import suggestion

_EPILOG = """\
The archive is checked against its published checksum where there is one, and unpacked. A download that broke off is
resumed when the same line is run again. The folder to give to `speechrnn prepare` is printed.

corpora, and their licenses:
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    corpora = "\n".join(f"  {name:32} {archive.license}" for name, archive in archives().items())
    group = Group("speechrnn.data.download:download", "download")
    return Verb("download", download, {"options": (group,)}, _EPILOG + corpora, {"--to": "now called --out."})


def download(corpus: str, /, *, out: Annotated[str, "DIR"], options: Mapping[str, Any]) -> int:
    """Download a published corpus.

    Args:
        corpus: One of those below.
        out: a folder, in which the corpus is unpacked.
        options: Options of the download.
    """
    if corpus not in archives():
        raise UsageError(f"unknown corpus `{corpus}`.{suggestion(corpus, archives(), 'Known')}")
    with _progress(corpus) as progress:
        done = fetch(corpus, out, progress=progress, **options)
    print(done.folder)
    print(f"speechrnn: {done}", file=sys.stderr)
    return 0


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """A bar of bytes on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with terminal.progress_bars(*columns) as bar:
        task = bar.add_task(what, total=None)
        yield lambda received, total: bar.update(task, completed=received, total=total)
