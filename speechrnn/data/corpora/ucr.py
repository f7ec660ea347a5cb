"""The UCR archive: 128 data sets of one channel, each with an official training and test set.

https://www.cs.ucr.edu/~eamonn/time_series_data_2018/. Dau et al., IEEE/CAA Journal of Automatica Sinica 6 (2019).
"""

import os
from pathlib import Path

from speechrnn import signals
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, need_folder
from speechrnn.faults import check_choice

SPLITS = ("train", "test")
_ENDINGS = ("_TRAIN.tsv", "_TRAIN.ts", "_TRAIN.txt")


@corpus(ValidSplit)
def prepare(
    folder: str | os.PathLike[str], *, options: ValidSplit, name: str | None = None, rate: float = 1.0
) -> Splits:
    """Write `train.jsonl` and `test.jsonl`, or only the one whose file exists.

    Args:
        folder: Holds NAME_TRAIN and NAME_TEST, as .tsv, .ts or .txt, or folders of data sets.
        name: Name of the data set: optional if there is only one.
        rate: Samples per second. The archive does not contain them; with 1, seconds count samples.

    Returns:
        Examples by split; the label is the class as the file has it.
    """
    root = need_folder(folder, "Download the data set from timeseriesclassification.com and unpack it.")
    files = _files(root, name)
    return {split: _drafts(path, rate) for split, path in files.items()}


def _files(root: Path, name: str | None) -> dict[str, Path]:
    found: dict[str, dict[str, Path]] = {}
    for ending in _ENDINGS:
        for split in SPLITS:
            part = ending.replace("TRAIN", split.upper())
            for path in sorted((*root.glob(f"*{part}"), *root.glob(f"*/*{part}"))):
                found.setdefault(path.name.removesuffix(part), {}).setdefault(split, path)
    if not found:
        raise ValueError(f"{root}: has no file whose name ends in {', '.join(_ENDINGS)}.")
    if name is None and len(found) > 1:
        raise ValueError(f"{root}: has {len(found)} data sets. Say which with `name`. There are: {', '.join(found)}.")
    chosen = name or next(iter(found))
    check_choice("name", chosen, found, where=root)
    return found[chosen]


def _drafts(path: Path, rate: float) -> list[Draft]:
    labels = signals.ts.cases(str(path)).labels if path.suffix == ".ts" else signals.tables.ucr(str(path))[0]
    if None in labels:
        raise ValueError(f"{path}: has no classes. Its header should say `@classLabel true` and name them.")
    return [
        Draft(path, label=label, id=f"{path.stem}-{row}", extra={"row": row, "rate": rate})
        for row, label in enumerate(labels)
    ]
