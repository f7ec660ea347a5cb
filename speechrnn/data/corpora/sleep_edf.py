"""Sleep-EDF: nights of EEG and EOG with a sleep stage per 30 s, as EDF files and hypnograms.

https://physionet.org/content/sleep-edfx/, ODC-By 1.0. Kemp et al., IEEE TBME 47 (2000). Any other folder in its layout
can be read: `NAME-PSG.edf`, and an EDF+ of annotations `NAME-Hypnogram.edf` whose name begins with the same six
characters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechrnn import signals
from speechrnn.data.building import Draft, Splits, TestSplit, corpus, in_chunks, need_folder
from speechrnn.faults import Faults

CLASSES = ("W", "N1", "N2", "N3", "R")
"""AASM sleep stages: wake, light to deep sleep, REM sleep."""
STAGES = {
    **{f"Sleep stage {name}": name for name in ("W", "N1", "N2", "N3", "R")},
    "Sleep stage 1": "N1", "Sleep stage 2": "N2", "Sleep stage 3": "N3", "Sleep stage 4": "N3",
}  # fmt: skip
"""Class of each annotation; stages 3 and 4 of Rechtschaffen and Kales are one in the AASM's manual. Other annotations
(movement, not scored) have no class."""
CHANNELS = ("EEG Fpz-Cz", "EOG horizontal")
EPOCH = 30.0
"""Seconds per epoch, the unit of sleep scoring."""


@corpus(TestSplit)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: TestSplit,
    channels: Sequence[str] = CHANNELS,
    chunk: float = 1200.0,
    awake: float = 1800.0,
) -> Splits:
    """Write `train.jsonl`, and `valid.jsonl` and `test.jsonl` where they are asked for, by whole people.

    Args:
        folder: Holds the recordings and their hypnograms, in folders or not.
        channels: Names of the channels to read.
        chunk: Longest piece of a record in seconds: a multiple of 30, the context in which its epochs are scored.
        awake: Seconds awake that are kept before the first sleep and after the last, as in the literature; most of a
            day's recording is awake.

    Returns:
        Examples by split; `labels` has a stretch for each epoch that was scored. The subject is the person, who has two
        nights in the corpus.
    """
    if chunk < EPOCH or chunk % EPOCH:
        raise ValueError(f"`chunk` must be a positive multiple of {EPOCH:g} s. Received: {chunk}.")
    root = need_folder(folder, "Download it with `wget -r -N -c -np https://physionet.org/files/sleep-edfx/1.0.0/`.")
    nights = sorted(root.rglob("*-PSG.edf"))
    if not nights:
        raise ValueError(f"{root}: has no recording. Give the folder that holds SC4001E0-PSG.edf and so on.")
    drafts = [
        draft
        for night in nights
        for draft in _night(night, tuple(channels), round(chunk / EPOCH), awake, options.collector)
    ]
    return {"train": drafts}


def _night(path: Path, channels: tuple[str, ...], epochs: int, awake: float, faults: Faults) -> Iterator[Draft]:
    name = path.stem.removesuffix("-PSG")
    found = sorted(path.parent.glob(f"{name[:6]}*-Hypnogram.edf"))
    try:
        if len(found) != 1:
            raise FileNotFoundError(f"{path}: needs one hypnogram, {name[:6]}*-Hypnogram.edf. Received: {len(found)}.")
        info = signals.probe(path, channels=channels)
        stages = _stages(signals.events(found[0]), info.duration)
    except (ValueError, OSError) as error:
        faults.add_error(name, error)
        return
    asleep = [epoch for epoch, stage in stages.items() if stage != "W"]
    if not asleep:
        faults.add(name, "without labels", f"{path}: has no epoch of sleep in its hypnogram.")
        return
    first = max(0, min(asleep) - round(awake / EPOCH))
    last = min(max(stages), max(asleep) + round(awake / EPOCH))
    stretches = [(epoch, epoch + 1, stage) for epoch, stage in sorted(stages.items())]
    whole = Draft(path, subject=name[:5], id=name, extra={"channels": list(channels)})
    yield from in_chunks(whole, stretches, range(first, last + 1), epochs, 1 / EPOCH, digits=4)


def _stages(events: Sequence[signals.Event], seconds: float) -> dict[int, str]:
    """The class of each complete epoch of a recording, by the epoch's number."""
    stages = {}
    for event in events:
        if stage := STAGES.get(event.text):
            end = min(event.start + event.seconds, seconds)
            for epoch in range(round(event.start / EPOCH), int(end / EPOCH + 1e-6)):
                stages[epoch] = stage
    return stages
