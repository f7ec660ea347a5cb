"""Turn a corpus folder into manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data.corpora import CORPORA, prepare_function
from speechrnn.faults import Faults, suggestion

_EPILOG = """\
Writes one manifest a split, such as OUT/train.jsonl, and prints their names, numbers and hours. Recordings that cannot
be used are named on standard error and left out, and the exit code is 1. `speechrnn prepare CORPUS --help` lists a
corpus's own options.

corpora:
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb, with the options of the corpus that the words name."""
    names = [word.replace("-", "_") for word in words]
    corpus = next((name for name in names if name in CORPORA), None)
    groups: tuple[Group, ...] = ()
    if corpus:
        groups = (Group(f"speechrnn.data.corpora.{corpus}:prepare", corpus),)
    listed = "\n".join(f"  {name:15} {what}" for name, what in CORPORA.items())
    return Verb("prepare", prepare, {"options": groups}, _EPILOG + listed)


def prepare(
    corpus: str, folder: Annotated[str, "DIR"], /, *, out: Annotated[str, "OUT"], options: Mapping[str, Any]
) -> int:
    """Turn a corpus folder into manifests.

    Args:
        corpus: One of those below.
        folder: The unpacked corpus.
        out: Folder for the manifests.
        options: Options of the corpus.
    """
    name = corpus.replace("-", "_")
    if name not in CORPORA:
        raise UsageError(f"unknown corpus `{corpus}`.{suggestion(name, CORPORA)} Known: {', '.join(CORPORA)}.")
    faults = Faults()
    with terminal.progress(None, "recordings") as progress:
        splits = prepare_function(name)(folder, out, faults=faults, progress=progress, **options)
    for fault in faults:
        terminal.name_fault(fault)
    for split, examples in splits.items():
        hours = sum(example.duration for example in examples) / 3600
        print(f"{Path(out) / split}.jsonl: {len(examples):,} examples, {hours:.2f} h", flush=True)
    return terminal.verdict(faults, sum(map(len, splits.values())) + len(faults), noun="recordings")
