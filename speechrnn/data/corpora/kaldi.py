"""Data folders of Kaldi, ESPnet and icefall recipes: `wav.scp`, `text`, `utt2spk` and `segments`.

https://kaldi-asr.org/doc/data_prep.html. speechocean762 (Zhang et al. 2021, https://www.openslr.org/101/) is one.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from speechrnn import text
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, folders_with, need_folder
from speechrnn.faults import Faults, read_lines

_HINT = "Give the folder that holds `wav.scp` and `text`, or one with several such folders."


@corpus(ValidSplit)
def prepare(folder: str | os.PathLike[str], *, options: ValidSplit, root: str | None = None) -> Splits:
    """Write one manifest per data folder, named as it: `train.jsonl`, `test.jsonl`.

    Args:
        folder: A data folder, or one that has several of them in it.
        root: Folder that relative paths start from; by default the data folder or one of the two above it, wherever the
            files are.

    Returns:
        Examples by split; texts in their normal form, `subject` as `utt2spk` says. An entry of `wav.scp` that is a
        command (a pipe) is a fault and never run, and so is an archive's offset (`file.ark:123`).
    """
    message = f"has no `wav.scp`, in it or one folder down. {_HINT}"
    folders = folders_with(need_folder(folder, _HINT), "wav.scp", message)
    return {name: _drafts(path, root, options.collector) for name, path in folders.items()}


def _drafts(folder: Path, root: str | None, faults: Faults) -> Iterator[Draft]:
    recordings = _table(folder / "wav.scp", faults)
    transcripts = _table(folder / "text", faults, empty=True)
    speakers = _table(folder / "utt2spk", faults) if (folder / "utt2spk").is_file() else {}
    segmented = (folder / "segments").is_file()
    root_folder = _root(folder, root, recordings.values())
    segments = _table(folder / "segments", faults) if segmented else {name: name for name in recordings}
    sides = _sides(folder, recordings, faults)
    for name, segment in segments.items():
        recording, *times = segment.split()
        entry = recordings.get(recording)
        if entry is None:
            faults.add(name, "missing", f"{folder}/segments: {name} is of {recording!r}, which wav.scp does not have.")
        elif name not in transcripts:
            faults.add(name, "without a transcript", f"{folder}/text: has no line for {name}.")
        elif _is_command(entry):
            message = f"{recording} is a command, which is not run: {entry!r:.80}. Write its output to a file."
            faults.add(name, "commands instead of files", f"{folder}/wav.scp: {message}")
        else:
            try:
                start, end = _times(folder, name, times) if segmented else (0.0, None)
                channel = _channel(folder, name, times[2]) if len(times) > 2 else sides.get(recording)
            except ValueError as error:
                faults.add(name, "bad lines", str(error))
                continue
            yield Draft(
                root_folder / entry, text.normalize(transcripts[name]), subject=speakers.get(name), id=name,
                offset=start, duration=None if end is None else end - start, channel=channel,
            )  # fmt: skip

    for name in transcripts.keys() - segments.keys():
        file = f"{folder}/{'segments' if segmented else 'wav.scp'}"
        faults.add(name, "missing", f"{file}: has no line for {name}, of which {folder}/text has a transcript.")


def _is_command(entry: str) -> bool:
    return entry.endswith("|") or entry.startswith("|")


def _times(folder: Path, name: str, times: list[str]) -> tuple[float, float | None]:
    """Parse start and end in seconds; an end of -1 is the recording's end."""
    try:
        start, end = map(float, times[:2])
    except ValueError:
        start, end = 0.0, 0.0
    if not 0 <= start < (end if end != -1 else float("inf")):
        raise ValueError(f"{folder}/segments: {name} should read `segment recording start end`. Received: {times}.")
    return start, None if end == -1 else end


def _channel(folder: Path, name: str, written: str) -> int:
    if not written.isdecimal():
        raise ValueError(f"{folder}/segments: the channel of {name} must be a number from 0. Received: {written!r}.")
    return int(written)


def _sides(folder: Path, recordings: dict[str, str], faults: Faults) -> dict[str, int]:
    """Channels of the recordings that share a file with others; other files have one side only."""
    if not (folder / "reco2file_and_channel").is_file():
        return {}
    shared = Counter(recordings.values())
    entries = _table(folder / "reco2file_and_channel", faults)
    names = {name: entry.split()[-1] for name, entry in entries.items() if shared[recordings.get(name, "")] > 1}
    return {name: "AB".index(side) for name, side in names.items() if side in ("A", "B")}


def _table(path: Path, faults: Faults, *, empty: bool = False) -> dict[str, str]:
    """Parse a table to a dictionary from the first field of each line to the rest of the line."""
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path, missing=f"is missing. {_HINT}"), start=1):
        name, *rest = line.strip().split(maxsplit=1)[:2] or [""]
        if not name:
            continue
        if name in table or not (rest or empty):
            reason = f"has {name!r} twice" if name in table else f"has nothing after {name!r}"
            faults.add(f"{path}:{number}", "bad lines", f"{path}:{number}: {reason}. Sort and mend the folder.")
            continue
        table[name] = rest[0] if rest else ""
    return table


def _root(folder: Path, root: str | None, entries: object) -> Path:
    """Folder that relative paths start from: the first one in which the first relative path exists."""
    if root is not None:
        return need_folder(root, "Give the folder that the paths in `wav.scp` begin at.")
    relative = next((e for e in entries if not _is_command(e) and not os.path.isabs(e)), None)  # type: ignore[attr-defined]
    above = [folder, *list(folder.resolve().parents)[:2]]
    return next((path for path in above if relative is not None and (path / relative).exists()), folder)
