"""Toy corpus: a folder of recordings, whose names are what is said in them."""

import os
from pathlib import Path

from speechrnn.data.building import Draft, Preparation, build, need_folder
from speechrnn.data.manifest import Example
from speechrnn.faults import takes


@takes(Preparation)
def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    options: Preparation,
) -> dict[str, list[Example]]:
    """Write `out/train.jsonl`.

    Args:
        folder: The recordings.
        out: Folder for the manifest.
    """
    paths = sorted(Path(need_folder(folder, "Name the folder that holds the recordings.")).glob("*.wav"))
    drafts = [Draft(path, text=path.stem.replace("_", " ")) for path in paths]
    return build({"train": drafts}, out, **vars(options))
