"""Runs one shard of a verb's work, and merges the shards."""

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
"""Processes a slice of the inputs, writes results to a file and collects faults; may store more in the part."""

_MERGES = {"evaluate": "speechrnn.cli.evaluate:merge_parts", "prepare": "speechrnn.cli.prepare:merge_parts"}
"""Functions that merge the parts of a verb; by default parts are concatenated."""


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
    """Process one shard; returns the exit code.

    Args:
        shard: The shard, such as "2/8".
        out: Output of all shards together.
        inputs: The inputs of all shards.
        work: See `Work`.
        verb: Name of the verb.
        options: Options that affect the results, which must be the same for all shards.
        about: Other properties that must be the same, for the merge.
        model: The file of the model.
        overwrite: Process a finished shard again.
        noun: Name of the inputs in messages.
        unread: Faults in the list of inputs, which are reported by the first shard only.
    """
    try:
        own = shards.Shard.of(shard)
    except ValueError as error:
        raise UsageError(f"--shard: {error}") from error
    if out is None:
        raise UsageError("--shard needs --out, next to which the parts are stored.")
    description = {"verb": verb, "version": __version__, "inputs": shards.digest(inputs), "options": dict(options)}
    description |= {"noun": noun, **(about or {}), **({} if model is None else {"model": _hash(model)})}
    done = None if overwrite else shards.done(out, own, description)
    if done is not None:
        terminal.print_note(f"shard {own} of {out} is done: {done.count:,} {noun}, {len(done.faults):,} failed.")
        return DONE
    faults = Faults()
    with shards.claimed(out, own, description) as (part, file):
        faults.extend(unread if own.index == 1 else ())
        total = len(faults)
        chosen = own.of_inputs(inputs)
        work(chosen, file, part, faults)
        part.count, part.faults = chosen.stop - chosen.start, list(faults)
        part.more["total"] = total = total + part.count
    terminal.print_note(
        f"shard {own} of {out}: {part.count:,} of {len(inputs):,} {noun}. When all are done: speechrnn merge {out}"
    )
    return terminal.print_summary(faults, total, noun=noun)


def merge(out: str, *, overwrite: bool) -> int:
    """Merge all shards of an output; returns the exit code.

    Raises:
        ValueError: A part is missing, or belongs to different work.
    """
    parts = shards.parts(out)
    about, faults = parts[0].about, Faults()
    faults.extend(fault for part in parts for fault in part.faults)
    join = resolve(_MERGES[about["verb"]]) if about["verb"] in _MERGES else concatenate
    return terminal.print_summary(faults, join(out, parts, faults, overwrite), noun=about["noun"])


def concatenate(out: str, parts: Sequence[shards.Part], faults: Faults, overwrite: bool) -> int:
    """Concatenate the parts, unless each input has a file of its own; returns the number of inputs."""
    if not parts[0].about["options"].get("out_dir"):
        with terminal.output(out, overwrite=overwrite) as file:
            for part in parts:
                file.write(part.read().decode("utf-8", "surrogateescape"))
    terminal.print_faults(*faults)
    return sum(part.more["total"] for part in parts)


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder(out: str | None) -> str | None:
    """The path of a folder without a slash at its end, since the name of its parts is derived from it."""
    return None if out is None else os.fspath(Path(out))
