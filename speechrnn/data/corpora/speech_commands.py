"""Speech Commands (versions 1 and 2): single words of a second, one folder per word, 16 kHz.

Warden, arXiv:1804.03209 (2018), CC BY 4.0.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from speechrnn.data.building import Draft, build, need_folder
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, read_lines, suggestion

_LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
_PART = 2**27 - 1


def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    faults: Faults | None = None,
    only: Sequence[str] = (),
    progress: Callable[[int], object] | None = None,
) -> dict[str, list[Example]]:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl`, the official split by speaker.

    Args:
        folder: Holds one folder per word and, as published, `validation_list.txt` and `testing_list.txt`; without them
            the rule that these were made by is applied.
        out: Folder for the manifests.
        overwrite: Replace manifests that are there.
        faults: Collects unusable recordings; without it the first is an error.
        only: Only these words; all by default.
        progress: Called with the number of recordings done since the last call.

    Returns:
        Examples by split; the word is text and label, the subject its speaker.
    """
    root = need_folder(folder, "Download speech_commands_v0.02.tar.gz and unpack it.")
    there = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    for word in only:
        if word not in there:
            raise ValueError(f"{root}: has no word {word!r}.{suggestion(word, there)} Words: {', '.join(there)}.")
    lists = _lists(root)
    splits: dict[str, list[Draft]] = {}
    for word in only or there:
        for path in sorted((root / word).glob("*.wav")):
            speaker = path.stem.partition("_nohash_")[0]
            split = _split(speaker) if lists is None else lists.get(f"{word}/{path.name}", "train")
            draft = Draft(path, word, label=word, subject=speaker, id=f"{word}-{path.stem}")
            splits.setdefault(split, []).append(draft)
    if not splits:
        raise ValueError(f"{root}: has no recording. Give the folder that holds a folder for each word.")
    order = [split for split in ("train", "valid", "test") if split in splits]
    return build({s: splits[s] for s in order}, out, overwrite=overwrite, faults=faults, progress=progress)


def _lists(root: Path) -> dict[str, str] | None:
    if not all((root / name).is_file() for name in _LISTS.values()):
        return None
    return {line.strip(): split for split, name in _LISTS.items() for line in read_lines(root / name) if line.strip()}


def _split(speaker: str) -> str:
    """The rule in the data set's README: a hash of the speaker, so that more recordings never move between splits."""
    value = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = value % (_PART + 1) * (100 / _PART)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"
