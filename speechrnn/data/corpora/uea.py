"""The UEA archive: 30 data sets of several channels, each with an official training and test set.

https://www.timeseriesclassification.com/. Bagnall et al., arXiv:1811.00075 (2018).
"""

import os
from collections.abc import Callable

from speechrnn.data.corpora import ucr
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults


def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    faults: Faults | None = None,
    valid_fraction: float = 0.0,
    seed: int = 0,
    name: str | None = None,
    rate: float = 1.0,
    progress: Callable[[int], object] | None = None,
) -> dict[str, list[Example]]:
    """Write `train.jsonl` and `test.jsonl`, or the one whose file is there.

    Args:
        folder: Holds NAME_TRAIN.ts and NAME_TEST.ts, or folders of data sets.
        out: Folder for the manifests.
        overwrite: Replace manifests that are there.
        faults: Collects unusable cases; without it the first is an error.
        valid_fraction: Part of each class of the training set that becomes `valid.jsonl`.
        seed: Chooses those cases.
        name: Data set; it may be left out where there is one.
        rate: Samples per second, which the archive does not say: 1 makes a second a sample.
        progress: Called with the number of cases done since the last call.

    Returns:
        Examples by split; the label is the class as the file has it.
    """
    return ucr.prepare(
        folder, out, overwrite=overwrite, faults=faults, valid_fraction=valid_fraction, seed=seed, name=name,
        rate=rate, progress=progress,
    )  # fmt: skip
