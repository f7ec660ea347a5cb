"""Speech Commands (versions 1 and 2): single words of 1 s, one folder per word, 16 kHz; also for keyword spotting.

Warden, arXiv:1804.03209 (2018), CC BY 4.0.
"""

import hashlib
import math
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speechrnn import audio
from speechrnn.data.building import Draft, Preparation, Splits, corpus, need_folder
from speechrnn.faults import read_lines, suggestion

_LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
_PART = 2**27 - 1
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""The keywords of the published task."""
UNKNOWN, SILENCE = "unknown", "silence"
"""Classes of other words and of silence."""
NOISE = "_background_noise_"
"""Folder of recordings of noise."""
_SHARE = 10  # percent of the keywords' recordings, for each of these classes
_PARTS = {"train": (0.0, 0.7), "valid": (0.7, 0.85), "test": (0.85, 1.0)}
"""Fractions of each noise recording, by time."""


@corpus(Preparation)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: Preparation,
    only: Sequence[str] = (),
    commands: Sequence[str] = (),
    seed: int = 0,
) -> Splits:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl`, the official split by speaker.

    Args:
        folder: Holds one folder per word and, as published, `validation_list.txt` and `testing_list.txt`; without them
            the rule that these were made by is applied.
        only: Only these words; all by default.
        commands: Keywords for a spotter, such as `COMMANDS`, each of which is a class. Other words are drawn for the
            class `unknown`, a tenth as many, and as many seconds of the noise recordings are `silence`; each split has
            its own part of these.
        seed: Seed of random numbers. They draw those words and noises.

    Returns:
        Examples by split; the word is text and label, the subject its speaker. An unknown word's label is `unknown`;
        silence has no text, and a part of a recording of noise is its subject.

    Raises:
        ValueError: There is no such word, no recording, no noise for `commands`, or `only` is given besides.
    """
    if only and commands:
        raise ValueError("Give `only` or `commands`: with commands all other words are wanted, as unknown ones.")
    root = need_folder(folder, "Download speech_commands_v0.02.tar.gz and unpack it.")
    words = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    for word in (*only, *commands):
        if word not in words:
            raise ValueError(f"{root}: has no word {word!r}.{suggestion(word, words, 'Words')}")
    lists = _lists(root)
    splits: dict[str, list[Draft]] = {}
    for word in only or words:
        for path in sorted((root / word).glob("*.wav")):
            speaker = path.stem.partition("_nohash_")[0]
            split = _split(speaker) if lists is None else lists.get(f"{word}/{path.name}", "train")
            draft = Draft(path, word, label=word, subject=speaker, id=f"{word}-{path.stem}")
            splits.setdefault(split, []).append(draft)
    if not splits:
        raise ValueError(f"{root}: has no recording. Give the folder that holds a folder for each word.")
    if commands:
        rng = random.Random(seed)
        splits = {split: _spotting(drafts, commands, root / NOISE, split, rng) for split, drafts in splits.items()}
    order = [split for split in ("train", "valid", "test") if split in splits]
    return {s: splits[s] for s in order}


def _spotting(drafts: list[Draft], commands: Sequence[str], noise: Path, split: str, rng: random.Random) -> list[Draft]:
    """Combine the keywords of a split with a sample of its other words and of the noise."""
    known = [draft for draft in drafts if draft.text in commands]
    others = [draft for draft in drafts if draft.text not in commands]
    count = math.ceil(len(known) * _SHARE / 100)
    drawn = [replace(draft, label=UNKNOWN) for draft in rng.sample(others, min(count, len(others)))]
    return [*known, *drawn, *_silence(noise, split, count, rng)]


def _silence(noise: Path, split: str, count: int, rng: random.Random) -> list[Draft]:
    """Draw segments of 1 s from the split's part of each noise recording."""
    lengths = {path: audio.probe(path).duration for path in sorted(noise.glob("*.wav"))}
    parts = {path: [share * length for share in _PARTS[split]] for path, length in lengths.items()}
    ends = {path: (first, last - 1.0) for path, (first, last) in parts.items() if last - first >= 1.0}
    if not ends:
        raise ValueError(
            f"{noise}: silence needs recordings of noise, .wav, of {1 / 0.15:.0f} s or more. Received: "
            f"{len(lengths)} recordings. Take them from the corpus, or put others there."
        )
    paths = list(ends)
    drafts = []
    for number in range(count):
        path = paths[number % len(paths)]
        name = f"{path.stem}-{split}"
        start = round(rng.uniform(*ends[path]), 3)
        drafts.append(Draft(path, label=SILENCE, subject=name, id=f"{name}-{number:05d}", offset=start, duration=1.0))
    return drafts


def _lists(root: Path) -> dict[str, str] | None:
    if not all((root / name).is_file() for name in _LISTS.values()):
        return None
    return {line.strip(): split for split, name in _LISTS.items() for line in read_lines(root / name) if line.strip()}


def _split(speaker: str) -> str:
    """Split by the rule in the data set's README, a hash of the speaker: new recordings never change a split."""
    value = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = value % (_PART + 1) * (100 / _PART)
    return "valid" if percent < 10 else "test" if percent < 20 else "train"
