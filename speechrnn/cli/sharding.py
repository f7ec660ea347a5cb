"""One shard of the work of a verb, and what makes the whole of all shards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from speechrnn import __version__
from speechrnn.cli import terminal
from speechrnn.cli.codes import DONE
from speechrnn.cli.verb import UsageError
from speechrnn.data import shards
from speechrnn.faults import Fault, Faults
from speechrnn.models.kinds import resolve

Work = Callable[[slice, IO[bytes], shards.Part, Faults], None]
"""Does the inputs of a slice, writes what comes of them to a file, collects faults; it may note more in the part."""

_MERGES = {"evaluate": "speechrnn.cli.evaluate:merged", "prepare": "speechrnn.cli.prepare:merged"}
"""What makes the whole of the parts of a verb, where they are not just joined end to end."""


def run(
    shard: str,
    out: str | None,
    inputs: Sequence[Any],
    work: Work,
    *,
    verb: str,
    options: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
    model: str | None = None,
    overwrite: bool = False,
    noun: str = "inputs",
    unread: Sequence[Fault] = (),
) -> int:
    """Do one shard of some work; gives the exit code.

    Args:
        shard: Such as "2/8".
        out: What all shards together will be.
        inputs: Those of all shards.
        work: See `Work`.
        verb: Whose work it is.
        options: What decides how it is done; it must be the same for all shards.
        about: What else must be the same, and the merge needs to know.
        model: The file of the model.
        overwrite: Do it again where it is done.
        noun: What the inputs are.
        unread: What could not be read of the list of inputs, which every shard finds and the first one tells.
    """
    try:
        mine = shards.Shard.of(shard)
    except ValueError as error:
        raise UsageError(f"--shard: {error}") from error
    if out is None:
        raise UsageError("--shard needs --out, beside which the parts are kept.")
    whole = {"verb": verb, "version": __version__, "inputs": shards.digest(inputs), "options": dict(options)}
    whole |= {"noun": noun, **(about or {}), **({} if model is None else {"model": _hash(model)})}
    before = None if overwrite else shards.done(out, mine, whole)
    if before is not None:
        terminal.note(f"shard {mine} of {out} is done: {before.count:,} {noun}, {len(before.faults):,} failed.")
        return DONE
    faults = Faults()
    with shards.claimed(out, mine, whole) as (part, file):
        faults.extend(unread if mine.index == 1 else ())
        total = len(faults)
        chosen = mine.of_inputs(inputs)
        work(chosen, file, part, faults)
        part.count, part.faults = chosen.stop - chosen.start, list(faults)
        part.more["total"] = total = total + part.count
    terminal.note(
        f"shard {mine} of {out}: {part.count:,} of {len(inputs):,} {noun}. When all are done: speechrnn merge {out}"
    )
    return terminal.verdict(faults, total, noun=noun)


def merge(out: str, *, overwrite: bool) -> int:
    """Make the whole of all shards of an output; gives the exit code.

    Raises:
        ValueError: A part is missing, or is not of the same work as the others.
    """
    found = shards.parts(out)
    about, faults = found[0].about, Faults()
    faults.extend(fault for part in found for fault in part.faults)
    total = (resolve(_MERGES[about["verb"]]) if about["verb"] in _MERGES else joined)(out, found, faults, overwrite)
    return terminal.verdict(faults, total, noun=about["noun"])


def joined(out: str, found: Sequence[shards.Part], faults: Faults, overwrite: bool) -> int:
    """Put parts together end to end, where inputs have no files of their own; gives the number of inputs."""
    if not found[0].about["options"].get("out_dir"):
        with terminal.output(out, overwrite=overwrite) as file:
            for part in found:
                file.write(part.read().decode("utf-8", "surrogateescape"))
    terminal.name_fault(*faults)
    return sum(part.more["total"] for part in found)


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder(out: str | None) -> str | None:
    """A folder without the stroke at its end, beside which its parts are kept."""
    return None if out is None else os.fspath(Path(out))
