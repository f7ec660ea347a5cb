"""ETT: load and oil temperature of two transformers over two years, hourly or every 15 minutes, for forecasting.

https://github.com/zhouhaoyi/ETDataset. Zhou et al., "Informer: Beyond efficient transformer for long sequence
time-series forecasting", AAAI 2021. The split is that of later papers: 12, 4 and 4 months of 30 days for training,
validation and test; the rest is not used.
"""

import os

from speechrnn.data.building import Preparation, Splits, corpus, find_tables
from speechrnn.data.corpora.series import parts
from speechrnn.faults import check_choice

NAMES = ("ETTh1", "ETTh2", "ETTm1", "ETTm2")
MONTHS = {"train": 12, "valid": 4, "test": 4}
CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
"""Useful and useless load: high, middle, low; and the temperature of the oil."""


@corpus(Preparation)
def prepare(folder: str | os.PathLike[str], *, options: Preparation, name: str = "ETTh1") -> Splits:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl`, with one example each.

    Args:
        folder: Holds the tables, such as ETTh1.csv.
        name: Name of the data set: ETTh1 or ETTh2 (hourly), ETTm1 or ETTm2 (every quarter of an hour).

    Returns:
        Examples by split.
    """
    check_choice("name", name, NAMES)
    path = next((path for path in find_tables(folder) if path.stem == name), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: has no {name}.csv. Download it from the repository ETDataset.")
    per_hour = 1 if name[3] == "h" else 4
    samples = {split: months * 30 * 24 * per_hour for split, months in MONTHS.items()}
    splits = parts(path, samples, per_hour / 3600, {"channels": list(CHANNELS)})
    return {split: [draft] for split, draft in splits.items()}
