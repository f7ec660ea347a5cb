"""LibriSpeech (2015): read English from audio books, 16 kHz; also its mini version and any part of either.

https://www.openslr.org/12/ and https://www.openslr.org/31/, CC BY 4.0. Panayotov, Chen, Povey and Khudanpur,
"LibriSpeech: an ASR corpus based on public domain audio books", ICASSP 2015.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from speechrnn import text
from speechrnn.data.building import Draft, build, find_audio, need_folder
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, suggestion

_SUFFIXES = (".flac", ".ogg", ".opus", ".wav", ".mp3")


def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    faults: Faults | None = None,
    valid_fraction: float = 0.0,
    seed: int = 0,
    subsets: Sequence[str] = (),
    progress: Callable[[int], object] | None = None,
) -> dict[str, list[Example]]:
    """Write one manifest a subset, named as its folder: `train-clean-5.jsonl`, `dev-clean.jsonl`.

    Args:
        folder: The `LibriSpeech` folder, the one that holds it, or one subset (`speaker/chapter/*.flac` with
            `*.trans.txt`).
        out: Folder for the manifests.
        overwrite: Replace manifests that are there.
        faults: Collects unusable recordings; without it the first is an error.
        valid_fraction: Part of the training seconds that becomes `valid.jsonl`, by whole speakers.
        seed: Chooses those speakers.
        subsets: Names of the subsets to prepare; all that are there by default.
        progress: Called with the number of recordings done since the last call.

    Returns:
        Examples by subset; texts in lower case, `subject` is the speaker's number.
    """
    root = need_folder(folder, "Download it with `speechrnn download`.")
    root = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    if any(root.glob("*/*/*.trans.txt")):
        there = {root.resolve().name: root}
    else:
        there = {path.name: path for path in sorted(root.iterdir()) if any(path.glob("*/*/*.trans.txt"))}
    if not there:
        raise ValueError(
            f"{root}: has no speaker/chapter/*.trans.txt, in it or one folder down. Give LibriSpeech's folder."
        )
    for name in subsets:
        if name not in there:
            raise ValueError(f"{root}: has no subset {name!r}.{suggestion(name, there)} There are: {', '.join(there)}.")
    found = Faults() if faults is None else faults
    splits = {name: list(_drafts(there[name], found)) for name in subsets or there}
    if faults is None:
        found.raise_first()
    return build(
        splits, out, overwrite=overwrite, faults=faults, valid_fraction=valid_fraction, seed=seed, progress=progress
    )


def _drafts(subset: Path, faults: Faults) -> Iterator[Draft]:
    for transcripts in sorted(subset.glob("*/*/*.trans.txt")):
        chapter = transcripts.parent
        for line in transcripts.read_text(encoding="utf-8").splitlines():
            name, _, transcript = line.strip().partition(" ")
            if not name:
                continue
            try:
                path = find_audio(chapter / name, _SUFFIXES)
            except FileNotFoundError as error:
                faults.add_error(name, error)
                continue
            yield Draft(path, text.normalize(transcript), subject=chapter.parent.name, id=name)
