"""HAPT: six activities and six transitions between postures, from a smartphone at the waist, 30 subjects, 50 Hz.

https://archive.ics.uci.edu/dataset/341. Reyes-Ortiz et al., Neurocomputing 171 (2016).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from speechrnn import signals
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, in_chunks, need_folder
from speechrnn.faults import Faults, check_choice, file_faults, read_text

if TYPE_CHECKING:
    import numpy as np

RATE = 50.0
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")
ACTIVITIES = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying")
TRANSITIONS = (
    "stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand",
)  # fmt: skip
_NAMES = (*ACTIVITIES, *TRANSITIONS)
_RECORD = re.compile(r"exp(\d+)_user(\d+)")


@dataclass(frozen=True)
class _Experiment:
    name: str
    signal: np.ndarray
    segments: np.ndarray  # rows of activity, start, end, counted in samples from 1, the end inclusive


@corpus(ValidSplit)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: ValidSplit,
    form: Literal["stream", "windows", "segments"] = "stream",
    transitions: bool = False,
    chunk: float = 30.0,
    window_seconds: float = 2.56,
) -> Splits:
    """Write `train.jsonl` and/or `test.jsonl` by the official subjects, and a .npz of each experiment they point to.

    Args:
        folder: As published, with `RawData`, `Train` and `Test`; or the folder of `hapt_train.npz`.
        form: `stream` is the experiment as it was recorded, in chunks, with the activity of each stretch if one was
            noted; `windows` are pieces of one activity that overlap by half; `segments` are whole stretches of one
            activity.
        transitions: Keep the six transitions as classes.
        chunk: Longest piece of a record in seconds.
        window_seconds: Length of a window in seconds.

    Returns:
        Examples by split.
    """
    check_choice("form", form, ("stream", "windows", "segments"))
    if round(chunk * RATE) < 1 or round(window_seconds * RATE) < 2:
        raise ValueError(f"`chunk` and `window_seconds` must hold samples. Received: {chunk} and {window_seconds}.")
    root = need_folder(folder, "Download it from the UCI repository and unpack it.")
    options.refuse_existing("train", "test")
    testers = _testers(root)
    splits: dict[str, list[Draft]] = {}
    for experiment in _experiments(root, options.collector):
        user = experiment.name.rpartition("_user")[2]
        stretches = list(_stretches(experiment, len(_NAMES if transitions else ACTIVITIES), options.collector))
        path = options.write_record(experiment.name, experiment.signal, RATE, channels=CHANNELS, units=UNITS)
        if form == "stream":
            whole, samples = Draft(path, subject=user, id=path.stem), range(len(experiment.signal))
            drafts = list(in_chunks(whole, stretches, samples, round(chunk * RATE), RATE, digits=5))
        else:
            drafts = list(_pieces(path, stretches, round(window_seconds * RATE) if form == "windows" else 0, user))
        splits.setdefault("test" if int(user) in testers else "train", []).extend(drafts)
    return splits


def _testers(root: Path) -> set[int]:
    for path in (root / "Test" / "subject_id_test.txt", root.parent / "Test" / "subject_id_test.txt"):
        if path.is_file():
            with file_faults(path):
                return {int(word) for word in read_text(path).split()}
    return {2, 4, 9, 10, 12, 13, 18, 20, 24}  # the content of that file


def _experiments(root: Path, faults: Faults) -> Iterator[_Experiment]:
    import numpy as np

    packed = sorted(root.glob("*.npz"))
    raw = root / "RawData" if (root / "RawData").is_dir() else root
    if not packed and not (raw / "labels.txt").is_file():
        raise FileNotFoundError(f"{raw / 'labels.txt'}: is missing. Give the folder that holds `RawData`.")
    for path in packed:
        with file_faults(path), np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name == "labels" or _RECORD.fullmatch(name)}
            labels = arrays.pop("labels")
        for name, values in arrays.items():
            yield from _experiment(name, values.T, labels, faults)
    if packed:
        return
    with file_faults(raw / "labels.txt"):
        labels = np.loadtxt(raw / "labels.txt", dtype=np.int64, ndmin=2)
    for path in sorted(raw.glob("acc_exp*_user*.txt")):
        name = path.stem.removeprefix("acc_")
        try:
            parts = [
                signals.read(raw / f"{kind}_{name}.txt", rate=RATE, max_gap=None, table={"header": False})[0]
                for kind in ("acc", "gyro")
            ]
        except (OSError, ValueError) as error:
            faults.add_error(name, error)
            continue
        if len({part.shape for part in parts}) > 1 or parts[0].shape[1] != 3:
            shapes = " and ".join(str(part.shape) for part in parts)
            faults.add(name, "of mixed lengths", f"{path}: acc and gyro need three columns each. Received: {shapes}.")
            continue
        yield from _experiment(name, np.concatenate(parts, axis=1), labels, faults)


def _experiment(name: str, signal: np.ndarray, labels: np.ndarray, faults: Faults) -> Iterator[_Experiment]:
    experiment, user = map(int, _RECORD.fullmatch(name).groups())  # type: ignore[union-attr]
    segments = labels[(labels[:, 0] == experiment) & (labels[:, 1] == user)][:, 2:]
    if len(segments):
        yield _Experiment(name, signal, segments)
    else:
        faults.add(name, "without labels", f"{name}: has no line in the table of labels.")


def _stretches(experiment: _Experiment, classes: int, faults: Faults) -> Iterator[tuple[int, int, str]]:
    """Yield start and stop (exclusive) in samples, and name of each activity that is a class."""
    for activity, first, last in experiment.segments:
        if not (1 <= first <= last <= len(experiment.signal) and 1 <= activity <= len(_NAMES)):
            faults.add(
                experiment.name,
                "annotated past their end",
                f"{experiment.name}: activity {activity} from sample {first} to {last} of {len(experiment.signal)}.",
            )
        elif activity <= classes:
            yield int(first) - 1, int(last), _NAMES[activity - 1]


def _pieces(path: Path, stretches: list[tuple[int, int, str]], window: int, user: str) -> Iterator[Draft]:
    """Yield windows that overlap by half, or whole stretches if `window` is 0."""
    for start, stop, name in stretches:
        size = window or stop - start
        for begin in range(start, stop - size + 1, max(1, size // 2) if window else size):
            yield Draft(
                path, label=name, subject=user, id=f"{path.stem}-{begin:05d}", offset=begin / RATE,
                duration=size / RATE,
            )  # fmt: skip
