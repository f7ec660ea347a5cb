"""NAB: 58 series of servers, traffic, tweets and machines, with labeled windows of anomalies.

https://github.com/numenta/NAB. Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly
Benchmark", ICMLA 2015.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from speechrnn.data.building import Draft, Preparation, Splits, corpus, need_folder
from speechrnn.faults import data_error, file_faults, read_lines, read_text

if TYPE_CHECKING:
    import numpy as np

RATE = 1 / 300
"""Samples per second: one every five minutes, as most series have. The others are read as if they had this rate."""
_WINDOWS = ("windows.json", "labels/combined_windows.json")


@corpus(Preparation)
def prepare(folder: str | os.PathLike[str], *, options: Preparation) -> Splits:
    """Write `train.jsonl` and `test.jsonl`, and a .npz of each series they point to.

    A detector may train on the first 15 % of a series, at most 750 samples: these are `train`. `test` has the complete
    series, with the windows as `labels`: (start, end, "anomaly") in seconds, where end is the time after the last
    sample. Values are standardized by mean and standard deviation of the first part, so that one model can learn from
    all series.

    Args:
        folder: Holds `data/` and windows.json, or `labels/combined_windows.json` as published.

    Returns:
        Examples by split.
    """
    root = need_folder(folder, "Clone the repository NAB.")
    windows_file = next((root / name for name in _WINDOWS if (root / name).is_file()), None)
    if windows_file is None:
        raise FileNotFoundError(f"{root}: has neither {' nor '.join(_WINDOWS)}. Give the folder of the repository.")
    options.refuse_existing("train", "test")
    splits: dict[str, list[Draft]] = {"train": [], "test": []}
    with file_faults(windows_file):
        windows_of = {str(name): list(windows) for name, windows in json.loads(read_text(windows_file)).items()}
    for name, windows in sorted(windows_of.items()):
        path = root / "data" / name
        if not path.is_file():
            options.collector.add(name, "missing", f"{path}: there is no such file, which {windows_file.name} lists.")
            continue
        try:
            values, labels = _series(path, windows)
        except (OSError, ValueError) as error:
            options.collector.add_error(name, error)
            continue
        count = learned(len(values))
        spread = float(values[:count].std())
        values = (values - values[:count].mean()) / (spread if spread > 0 else 1.0)
        record_path = options.write_record(f"{path.parent.name}-{path.stem}", values[:, None], RATE, channels=["value"])
        seconds = tuple((first / RATE, last / RATE, "anomaly") for first, last in labels)
        splits["train"].append(Draft(record_path, duration=count / RATE))
        splits["test"].append(Draft(record_path, labels=seconds))
    return splits


def learned(samples: int) -> int:
    """Number of first samples of a series that a detector may train on and that are not scored: 15 %, at most 750."""
    return min(samples * 15 // 100, 750)


def _series(path: Path, windows: list[list[str]]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Read float64 `(samples,)`, and the windows as index of the first sample and of the one after the last."""
    import numpy as np

    with file_faults(path):
        rows = list(csv.DictReader(read_lines(path)))
    try:
        values = np.array([float(row["value"]) for row in rows])
        positions: dict[str, int] = {}
        for position, row in enumerate(rows):
            positions.setdefault(row["timestamp"][:19], position)
    except (KeyError, TypeError, ValueError) as error:
        raise data_error(
            path, "undecodable", f"must have the columns timestamp and value. Received: {error}."
        ) from error
    if not len(values) or not np.isfinite(values).all():
        raise data_error(path, "empty", "has no values, or some that are no numbers.")
    labels = []
    for start, end in windows:
        if start[:19] not in positions or end[:19] not in positions:
            raise data_error(path, "annotated past their end", f"has no lines of the window {start} to {end}.")
        labels.append((positions[start[:19]], positions[end[:19]] + 1))
    return values, labels
