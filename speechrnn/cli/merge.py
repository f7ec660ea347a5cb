"""Join the parts that were made with --shard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from speechrnn.cli import sharding
from speechrnn.cli.verb import Verb

_EPILOG = """\
After `--shard 1/N` to `--shard N/N` of prepare, transcribe, classify or evaluate, whichever machines ran them, this
writes what the verb without --shard would have written, in the same order, and names the same faults. A part that is
missing, damaged, or made of other inputs or with other options is named, and nothing is written. The parts stay in
OUT.shards.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("merge", merge, epilog=_EPILOG)


def merge(out: Annotated[str, "OUT"], /, *, overwrite: bool = False) -> int:
    """Join the parts that were made with --shard.

    Args:
        out: The --out or --out-dir of all shards.
    """
    return sharding.merge(out, overwrite=overwrite)
