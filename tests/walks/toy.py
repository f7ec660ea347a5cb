"""Toy corpus: a folder of recordings, whose names are what is said in them."""

import os

from speechrnn.data.building import Draft, Preparation, Splits, corpus, need_folder


@corpus(Preparation)
def prepare(folder: str | os.PathLike[str], *, options: Preparation) -> Splits:
    """Write `out/train.jsonl`.

    Args:
        folder: The recordings.
    """
    paths = sorted(need_folder(folder, "Name the folder that holds the recordings.").glob("*.wav"))
    return {"train": [Draft(path, text=path.stem.replace("_", " ")) for path in paths]}
