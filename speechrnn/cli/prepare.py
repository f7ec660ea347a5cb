"""Turn a corpus folder into manifests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

from speechrnn import files
from speechrnn.cli import sharding, terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data.corpora import CORPORA, prepare_function
from speechrnn.data.shards import Part
from speechrnn.faults import Faults, suggestion

_EPILOG = """\
Writes one manifest per split, such as OUT/train.jsonl, and prints their names, numbers and hours. Recordings that
cannot be used are named on standard error and left out, and the exit code is 1.
"""
_CORPORA = """
`speechrnn prepare CORPUS --help` lists the options of a corpus.

corpora:
"""


def verb(words: Sequence[str]) -> Verb:
    """Create the verb, with the options of the corpus on the command line."""
    names = [word.replace("-", "_") for word in words]
    corpus = next((name for name in names if name in CORPORA), None)
    if corpus:
        group = Group(f"speechrnn.data.corpora.{corpus}:prepare", f"options of {corpus}")
        about = f"Turn a corpus folder into manifests.\n\nCorpus: {CORPORA[corpus]}."
        return Verb("prepare", prepare, {"options": (group,)}, _EPILOG, about=about)
    corpora = "\n".join(f"  {name:15} {what}" for name, what in CORPORA.items())
    return Verb("prepare", prepare, {"options": ()}, _EPILOG + _CORPORA + corpora)


def prepare(
    corpus: str,
    folder: Annotated[str, "DIR"],
    /,
    *,
    out: Annotated[str, "OUT"],
    options: Mapping[str, Any],
    shard: Annotated[str | None, "I/N"] = None,
) -> int:
    """Turn a corpus folder into manifests.

    Args:
        corpus: Its name; `speechrnn prepare --help` lists all.
        folder: The unpacked corpus; for a corpus that is one table, its file.
        out: a folder for the manifests.
        options: Options of the corpus.
        shard: A part looks into its recordings, and the merge makes the manifests.
    """
    name = corpus.replace("-", "_")
    if name not in CORPORA:
        raise UsageError(f"unknown corpus `{corpus}`.{suggestion(name, CORPORA, 'Known')}")
    if shard is not None:
        return _measure_shard(name, folder, out, options, shard)
    faults = Faults()
    total = _write_manifests(name, folder, out, options, faults)
    return terminal.print_summary(faults, total, noun="recordings")


def _write_manifests(name: str, folder: str, out: str, options: Mapping[str, Any], faults: Faults) -> int:
    """Write the manifests; returns the number of recordings."""
    with terminal.progress(None, "recordings") as progress:
        splits = prepare_function(name)(folder, out, faults=faults, progress=progress, **options)
    terminal.print_faults(*faults)
    for split, examples in splits.items():
        hours = sum(example.duration for example in examples) / 3600
        print(f"{Path(out) / split}.jsonl: {len(examples):,} examples, {hours:.2f} h", flush=True)
    return sum(map(len, splits.values())) + len(faults)


def _measure_shard(name: str, folder: str, out: str, options: Mapping[str, Any], shard: str) -> int:
    """Measure the recordings of a shard."""
    from speechrnn.data.building import RecordingLengths

    lengths = RecordingLengths()
    with lengths.listing():
        prepare_function(name)(folder, out, faults=Faults(), **options)
    recordings = list(lengths.listed or ())

    def work(chosen: slice, file: IO[bytes], part: Part, faults: Faults) -> None:
        with terminal.progress(len(recordings[chosen]), "recordings") as progress:
            lengths.measure(chosen, progress)
        for length in lengths.measured.values():
            if isinstance(length, list):  # a fault, which is counted by the merge
                terminal.print_note(" ".join(length[1].split()))
        file.write(files.as_json(lengths.measured).encode("utf-8", "surrogateescape"))

    shard_options = {key: value for key, value in options.items() if key != "overwrite"}
    return sharding.run(
        shard, sharding.folder(out), recordings, work, verb="prepare", options=shard_options, noun="recordings",
        about={"corpus": name, "folder": folder}, overwrite=bool(options.get("overwrite")),
    )  # fmt: skip


def merge_parts(out: str, parts: Sequence[Part], faults: Faults, overwrite: bool) -> int:
    """Write the manifests with the lengths that the shards measured; returns the number of recordings."""
    from speechrnn.data.building import RecordingLengths

    about = parts[0].about
    measured = {name: length for part in parts for name, length in json.loads(part.read()).items()}
    options = {**about["options"], **({"overwrite": True} if overwrite else {})}
    with RecordingLengths(measured).applied():
        return _write_manifests(about["corpus"], about["folder"], out, options, faults)
