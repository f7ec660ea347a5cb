"""Bonn EEG: 100 segments of 23.6 s in each of five sets, one channel, 173.61 Hz.

Andrzejak et al., Phys. Rev. E 64, 061907 (2001). The subject of each segment is not published, so a split by subject is
impossible, and scores near 1 say little about new patients.
"""

import os
import re
from typing import Literal

from speechrnn.data.building import Draft, Splits, TestSplit, corpus, need_folder
from speechrnn.faults import check_choice

RATE = 173.61
# Z, O: healthy, eyes open and closed. N, F: between seizures, opposite hemisphere and focus. S: seizures.
_STATES = {"Z": "healthy", "O": "healthy", "N": "interictal", "F": "interictal", "S": "seizure"}
_NAME = re.compile(r"([ZONFS])(\d{3})", re.IGNORECASE)


@corpus(TestSplit)
def prepare(
    folder: str | os.PathLike[str], *, options: TestSplit, classes: Literal["seizure", "state", "set"] = "seizure"
) -> Splits:
    """Write `train.jsonl` of the text files `Z001.txt` to `S100.txt`.

    Args:
        folder: Holds the files, in folders of their own or not.
        classes: `seizure` or none, the three states healthy, interictal and seizure, or the five sets.

    Returns:
        Examples by split.
    """
    check_choice("classes", classes, ("seizure", "state", "set"))
    root = need_folder(folder, "Download the five sets and unpack them side by side.")
    paths = sorted((*root.glob("*.[tT][xX][tT]"), *root.glob("*/*.[tT][xX][tT]")))
    names = {path: path.stem[0].upper() for path in paths if _NAME.fullmatch(path.stem)}
    if not names:
        raise ValueError(f"{root}: has no file called Z001.txt or the like. Give the folder of the five sets.")
    drafts = [
        Draft(
            path,
            label=_label(letter, classes),
            id=path.stem.upper(),
            extra={"rate": RATE, "set": letter, "table": {"header": False}},
        )
        for path, letter in names.items()
    ]
    return {"train": drafts}


def _label(letter: str, classes: str) -> str:
    if classes == "set":
        return letter
    state = _STATES[letter]
    return state if classes == "state" or state == "seizure" else "none"
