"""Toy corpus: a folder of recordings, whose names are what is said in them."""

import os
from collections.abc import Callable
from pathlib import Path

from speechrnn.data.building import Draft, build, need_folder
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults


def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    faults: Faults | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, list[Example]]:
    """Write `out/train.jsonl`.

    Args:
        folder: The recordings.
        out: Folder for the manifest.
        overwrite: Replace a manifest that is there.
        faults: Collects what is wrong with the data.
        progress: Called with the number of recordings done since the last call.
    """
    paths = sorted(Path(need_folder(folder, "Name the folder that holds the recordings.")).glob("*.wav"))
    drafts = [Draft(path, text=path.stem.replace("_", " ")) for path in paths]
    return build({"train": drafts}, out, overwrite=overwrite, faults=faults, progress=progress)
