"""Free Spoken Digit Dataset: the ten English digits, six speakers, 8 kHz.

https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from speechrnn.data.archives import Archive
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, need_folder
from speechrnn.faults import check_choice

_URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.9.zip"
ARCHIVES = {"fsdd": Archive((_URL,), "free-spoken-digit-dataset-1.0.9", "CC BY-SA 4.0")}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)")
_TEST_INDICES = range(5)


@corpus(ValidSplit)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: ValidSplit,
    by: Literal["index", "speaker"] = "index",
    held_out: Sequence[str] = (),
) -> Splits:
    """Write `train.jsonl` and `test.jsonl` of `{digit}_{speaker}_{index}.wav` or `.flac`.

    Args:
        folder: The repository's folder, or its `recordings`.
        by: `index` is the official split: recordings 0 to 4 of every digit and speaker are the test set, whose
            speakers are those of the training set. `speaker` makes the speakers in `held_out` the test set.
        held_out: Speakers never trained on, with `by="speaker"`.

    Returns:
        Examples by split; the text is the digit's name, the label its value, the subject its speaker.
    """
    check_choice("by", by, ("index", "speaker"))
    if (by == "speaker") != bool(held_out):
        raise ValueError(
            f"`held_out` names the test speakers of by='speaker', and only of that. Received: {held_out!r}."
        )
    root = need_folder(folder, "Download it with `speechrnn download fsdd`.", "recordings")
    names = {
        path: match for path in sorted(root.iterdir()) if (match := _NAME.fullmatch(path.stem)) and _is_audio(path)
    }
    if not names:
        raise ValueError(f"{root}: has no recording called {{digit}}_{{speaker}}_{{index}}. Give FSDD's `recordings`.")
    speakers = sorted({match["speaker"] for match in names.values()})
    for speaker in held_out:
        check_choice("a speaker of `held_out`", speaker, speakers)
    splits: dict[str, list[Draft]] = {"train": [], "test": []}
    for path, match in names.items():
        digit, speaker = int(match["digit"]), match["speaker"]
        test = speaker in held_out if by == "speaker" else int(match["index"]) in _TEST_INDICES
        splits["test" if test else "train"].append(Draft(path, DIGITS[digit], label=digit, subject=speaker))
    return splits


def _is_audio(path: Path) -> bool:
    return path.suffix in (".wav", ".flac")
