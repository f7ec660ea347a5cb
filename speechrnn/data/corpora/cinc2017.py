"""PhysioNet/CinC Challenge 2017: normal, fibrillation, another rhythm or noise in 9 to 61 s of one ECG lead, 300 Hz.

https://physionet.org/content/challenge-2017/, ODC-By 1.0. Clifford et al., "AF classification from a short single lead
ECG recording", Computing in Cardiology 2017.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from speechrnn.data.building import Draft, Splits, TestSplit, corpus, need_folder
from speechrnn.faults import Faults, read_lines

CLASSES = ("N", "A", "O", "~")
"""Normal, atrial fibrillation, other rhythm, too noisy to classify."""
_REFERENCES = ("REFERENCE-v3.csv", "REFERENCE.csv", "REFERENCE-v2.csv", "REFERENCE-v1.csv", "REFERENCE-v0.csv")


@corpus(TestSplit)
def prepare(
    folder: str | os.PathLike[str], *, options: TestSplit, split: str = "train", reference: str | None = None
) -> Splits:
    """Write `train.jsonl`, or one of another name, for a folder of WFDB records and their table of classes.

    Args:
        folder: The folder that holds `training2017`, or that folder. Signals may be .mat, as published, or .dat.
        split: Name of the manifest, such as `test` for records that are not used in training.
        reference: The table of classes; by default REFERENCE-v3.csv, then REFERENCE.csv, in the folder or under it.

    Returns:
        Examples by split; the label is N, A, O or ~.
    """
    root = need_folder(folder, "Download training2017.zip from PhysioNet and unpack it.")
    return {split: _drafts(root, Path(reference) if reference else _reference(root), options.collector)}


def _reference(root: Path) -> Path:
    for name in _REFERENCES:
        for path in (root / name, *sorted(root.glob(f"*/{name}"))):
            if path.is_file():
                return path
    raise FileNotFoundError(f"{root / _REFERENCES[0]}: is missing. Give the folder that holds the table of classes.")


def _drafts(root: Path, reference: Path, faults: Faults) -> Iterator[Draft]:
    headers = {path.stem: path for path in sorted((*root.glob("*/*.hea"), *root.glob("*.hea")))}
    listed = set()
    for number, line in enumerate(read_lines(reference), start=1):
        if not line.strip():
            continue
        name, _, label = (cell.strip() for cell in line.partition(","))
        listed.add(name)
        where = f"{reference}:{number}"
        if label not in CLASSES:
            faults.add(where, "without a label", f"{where}: should read `record,N`. Received: {line!r:.80}.")
        elif name not in headers:
            faults.add(name, "missing", f"{root / name}.hea: there is no such record.")
        else:
            yield Draft(headers[name], label=label, id=name)
    for name in sorted(headers.keys() - listed):
        faults.add(name, "without a label", f"{headers[name]}: is not in {reference.name}.")
