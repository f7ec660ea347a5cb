"""Any series for forecasting in CSV tables: columns are channels, rows are samples; split by time."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechrnn import signals
from speechrnn.data.building import Draft, Preparation, Splits, corpus, find_tables
from speechrnn.faults import data_error
from speechrnn.files import output_names
from speechrnn.signals.options import TableOptions


@corpus(Preparation)
def prepare(
    folder: str | os.PathLike[str],
    *,
    options: Preparation,
    valid_fraction: float = 0.0,
    test_fraction: float = 0.0,
    rate: float | None = None,
    channels: Sequence[str] = (),
    known: Sequence[str] = (),
    calendar: Sequence[str] = (),
    table: TableOptions | Mapping[str, Any] | None = None,
) -> Splits:
    """Write `train.jsonl` and, if asked for, `valid.jsonl` and `test.jsonl`: of each table the parts in this order.

    Test values come after the training data, as in later use.

    Args:
        folder: A folder of .csv, .tsv or .parquet tables with a header, or one table.
        valid_fraction: Share of the data that becomes `valid.jsonl`: of each table, before the test part.
        test_fraction: Share of the data that becomes `test.jsonl`: the end of each table.
        rate: Samples per second; by default read from a column of times.
        channels: Names of the channels to read; by default every column of numbers that is not known ahead. They are
            what is forecast.
        known: Columns whose values are known ahead, such as forecasts of the weather, prices or holidays.
        calendar: Cycles that forecasts may follow by the clock: day, week, year. The table needs dates.
        table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.

    Returns:
        Examples by split.
    """
    from speechrnn.data.examples import dates_of  # not at the top: --help must not import NumPy
    from speechrnn.signals.calendar import checked_cycles

    if not (valid_fraction >= 0 and test_fraction >= 0 and valid_fraction + test_fraction < 1):
        raise ValueError(
            "`valid_fraction` and `test_fraction` must be zero or more, and leave something to learn from. "
            f"Received: {valid_fraction=}, {test_fraction=}."
        )
    extra: dict[str, Any] = {} if rate is None else {"rate": rate}
    extra |= {"known": list(known)} if known else {}
    extra |= {"calendar": list(checked_cycles(calendar))} if calendar else {}
    if both := {*known} & {*channels}:
        raise ValueError(f"A column is forecast or known ahead, not both. Received: {', '.join(sorted(both))}.")
    reading = TableOptions.of(table).to_dict()
    extra |= {"table": reading} if reading else {}
    shares = {"train": 1 - valid_fraction - test_fraction, "valid": valid_fraction, "test": test_fraction}
    splits: dict[str, list[Draft]] = {split: [] for split, share in shares.items() if share}
    paths = find_tables(folder)
    for path, name in zip(paths, output_names(list(map(str, paths))), strict=True):
        try:
            info = signals.probe(path, rate=rate, channels=[*channels, *known] if channels else None, table=table)
            targets = list(channels) or [name for name in info.channels if name not in known]
            if missing := [name for name in known if name not in info.channels]:
                raise data_error(path, "lacking the channel", f"has no column {missing[0]!r}; it has {info.channels}.")
            if calendar:
                dates_of(str(path), info.start, 0.0, 1, info.rate)
        except (OSError, ValueError) as error:
            options.collector.add_error(str(path), error)
            continue
        counts = {split: round(shares[split] * info.samples) for split in splits if split != "train"}
        counts = {"train": info.samples - sum(counts.values()), **counts}
        chosen = {"channels": targets} if channels or known else {}
        for split, draft in parts(path, counts, info.rate, chosen | extra, name=name).items():
            splits[split].append(draft)
    return splits


def parts(
    path: str | os.PathLike[str],
    samples: Mapping[str, int],
    rate: float,
    extra: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> dict[str, Draft]:
    """Split one table into consecutive parts.

    Args:
        path: The table.
        samples: Length of each part, by name.
        rate: Samples per second.
        extra: Content of each example's `extra`, such as `channels`.
        name: Prefix of the parts' ids; by default the table's stem.

    Example:
    >>> {name: (part.offset, part.duration) for name, part in parts("a.csv", {"train": 6, "test": 2}, 0.5).items()}
    {'train': (0.0, 12.0), 'test': (12.0, 4.0)}
    """
    drafts, start, stem = {}, 0, name or Path(path).stem
    for part, count in samples.items():
        drafts[part] = Draft(
            path, id=f"{stem}-{part}", offset=start / rate, duration=count / rate, extra=dict(extra or {})
        )
        start += count
    return drafts
