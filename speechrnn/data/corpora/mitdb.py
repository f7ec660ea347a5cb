"""MIT-BIH Arrhythmia: heartbeats in context, AAMI classes, de Chazal's split by patient.

https://physionet.org/content/mitdb/, ODC-By 1.0. Moody and Mark, IEEE EMB 20 (2001); de Chazal et al., IEEE TBME 51
(2004); ANSI/AAMI EC57.

A heartbeat is a row of numbers, see `speechrnn.data.corpora.heartbeats`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from speechrnn import signals
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, need_folder
from speechrnn.faults import Faults

if TYPE_CHECKING:
    import numpy as np

DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122", "124", "201", "203", "205", "207",
    "208", "209", "215", "220", "223", "230",
)  # fmt: skip
"""Records to train on."""
DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210", "212", "213", "214", "219", "221",
    "222", "228", "231", "232", "233", "234",
)  # fmt: skip
"""Records to test on. The four records with pacemakers are in neither."""
CLASSES = ("N", "S", "V", "F", "Q")
"""Normal or bundle branch block, supraventricular ectopic, ventricular ectopic, fusion, unknown."""
AAMI = {
    **dict.fromkeys("NLRej", "N"), **dict.fromkeys("AaJS", "S"), **dict.fromkeys("VE", "V"), "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}  # fmt: skip
"""Class of each beat annotation symbol; flutter waves (`!`) are not beats."""
_SAME_SUBJECT = {"202": "201"}


@corpus(ValidSplit)
def prepare(folder: str | os.PathLike[str], *, options: ValidSplit, beats: int = 64) -> Splits:
    """Write `train.jsonl` (DS1) and/or `test.jsonl` (DS2), and a .npz of each record's beats that they point to.

    One "second" of such a .npz is one beat, a row of `heartbeats.NUM_FEATURES` numbers; `beats` and `seconds` hold the
    beats' samples and times, as `heartbeats.beat_features` gives them.

    Args:
        folder: Holds the records as `.hea`, `.dat` and `.atr`, in any WFDB format.
        beats: Beats in an example.

    Returns:
        Examples by split; `labels` has the AAMI class of each beat, the subject is the record. Records 201 and 202,
        which the official split puts on both sides, are one man and have one subject.
    """
    if beats < 1:
        raise ValueError(f"`beats` must be at least 1. Received: {beats}.")
    root = need_folder(folder, "Download it with `wget -r -N -c -np https://physionet.org/files/mitdb/1.0.0/`.")
    # Also by annotation files, so that a missing header is reported.
    parts = (path for kind in (".atr", ".hea") for at in ("*/*", "*") for path in root.glob(at + kind))
    headers = {path.stem: path.with_suffix(".hea") for path in sorted(parts)}
    records = {"train": [r for r in DS1 if r in headers], "test": [r for r in DS2 if r in headers]}
    records = {split: names for split, names in records.items() if names}
    if not records:
        raise ValueError(f"{root}: has no record of MIT-BIH. Give the folder that holds 100.hea, 101.hea and so on.")
    options.refuse_existing(*records)
    return {
        split: [draft for name in names for draft in _drafts(headers[name], beats, options)]
        for split, names in records.items()
    }


def _drafts(header: Path, count: int, options: ValidSplit) -> Iterator[Draft]:
    from speechrnn.data.corpora.heartbeats import beat_features

    name = header.stem
    try:
        positions, labels = _beats(header, options.collector)
        rows, beats, seconds = beat_features(*_leads(header), positions)
    except (ValueError, OSError) as error:
        options.collector.add_error(name, error)
        return
    path = options.write_record(name, rows, 1.0, folder="beats", beats=beats, seconds=seconds)
    for start in range(0, len(labels), count):
        part = labels[start : start + count]
        yield Draft(
            path, labels=tuple(part), subject=_SAME_SUBJECT.get(name, name), id=f"{name}-{start:04d}",
            offset=float(start), duration=float(len(part)),
        )  # fmt: skip


def _beats(header: Path, faults: Faults) -> tuple[np.ndarray, list[str]]:
    """Positions of the beats in samples, and their classes."""
    marks = signals.annotations(header)
    samples = signals.probe(header).samples
    beats = [i for i, symbol in enumerate(marks.symbols) if symbol in AAMI]
    inside = [i for i in beats if 0 <= marks.samples[i] < samples]
    if len(inside) < len(beats):
        faults.add(
            header.stem,
            "annotated past their end",
            f"{header}: {len(beats) - len(inside)} of {len(beats)} beats lie past its end, and are left out.",
        )
    if len(inside) < 3:
        raise ValueError(f"{header}: needs three beats for their intervals. Received: {len(inside)}.")
    return marks.samples[inside], [AAMI[marks.symbols[i]] for i in inside]


def _leads(header: Path) -> tuple[np.ndarray, float]:
    """Read two leads, the limb lead first, which is second in some records."""
    names = signals.probe(header).channels
    order = sorted(range(len(names)), key=lambda i: names[i] != "MLII")[:2]
    if len(order) < 2:
        raise ValueError(f"{header}: needs two leads. Received: {', '.join(names)}.")
    return signals.read(header, channels=order)
