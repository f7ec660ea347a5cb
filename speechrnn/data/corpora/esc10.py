"""ESC-10: ten environmental sounds, 40 recordings of 5 s each, in five folds.

https://github.com/karolpiczak/ESC-50. Piczak, ACM Multimedia 2015.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechrnn.data.building import Draft, Preparation, Splits, corpus, need_folder
from speechrnn.data.corpora.table import rows
from speechrnn.faults import Faults

FOLDS = (1, 2, 3, 4, 5)
_SUFFIXES = (".ogg", ".wav", ".flac")
_NAME = re.compile(r"([1-5])-(\d+)-([A-Z])(?:-\d+)?")


@corpus(Preparation)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: Preparation,
    test_folds: Sequence[int] = (5,),
    valid_folds: Sequence[int] = (),
) -> Splits:
    """Write `train.jsonl`, `test.jsonl` and, if asked for, `valid.jsonl` by folds.

    Args:
        folder: ESC-10, a folder a class; or ESC-50's repository, of which the ten classes are taken.
        test_folds: Folds, 1 to 5, that become `test.jsonl`.
        valid_folds: Folds that become `valid.jsonl`.

    Returns:
        Examples by split; the label is the class in lower case, the subject the recording that a clip was cut from.
    """
    for fold in (*test_folds, *valid_folds):
        if fold not in FOLDS or (fold in test_folds and fold in valid_folds):
            raise ValueError(f"Folds are 1 to 5, each for one split. Received: {test_folds} and {valid_folds}.")
    root = need_folder(folder, "Clone ESC-50's repository, or unpack ESC-10.")
    splits: dict[str, list[Draft]] = {"train": [], "valid": [], "test": []}
    for path, label in sorted(_clips(root, options.collector)):
        name = _NAME.fullmatch(path.stem)
        if name is None:
            options.collector.add(str(path), "bad names", f"{path}: should be called {{fold}}-{{recording}}-{{take}}.")
            continue
        fold = int(name[1])
        split = "test" if fold in test_folds else "valid" if fold in valid_folds else "train"
        draft = Draft(path, label=label, subject=name[2], id=path.stem, extra={"fold": fold})
        splits[split].append(draft)
    options.check()
    splits = {split: drafts for split, drafts in splits.items() if drafts}
    if not splits:
        raise ValueError(f"{root}: has no recording. Give ESC-10's folder of classes, or ESC-50's repository.")
    return splits


def _clips(root: Path, faults: Faults) -> Iterator[tuple[Path, str]]:
    table = root / "meta" / "esc50.csv"
    if table.is_file():
        for _, row in rows(table, faults=faults, needed=("filename", "category", "esc10")):
            if row["esc10"] == "True":
                yield root / "audio" / row["filename"], row["category"].lower()
        return
    for path in root.glob("*/*"):
        if path.suffix.lower() in _SUFFIXES:
            yield path, re.sub(r"^\d+ - ", "", path.parent.name).strip().lower().replace(" ", "_")
