"""Our recipe for series beside aeon's classifiers on data sets of the UCR or UEA archives: accuracy, rank, seconds.

    python -m benchmarks.series --data-dir DIR NATOPS ECG200 [--peers Rocket MiniRocket InceptionTime] [--json]

All learn from the official training set, in the same run on the same processors, and answer the official test set.
aeon is measured where it is installed, with its own settings: LITETime and InceptionTime are five networks of 1,500
epochs each, whose probabilities are averaged; `--networks` takes fewer of them. Series of unequal length aeon's do not
take: they are last there. DIR may be aeon's own `aeon/datasets/data`.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import scipy.stats
from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from pipelines import ucr_uea
from speechrnn.data.corpora import ucr
from speechrnn.data.examples import read_example

WAYS = ("kernels", "recurrent", "both")
PEERS = ("Rocket", "MiniRocket", "MultiRocket", "LITETime", "InceptionTime")


def peer(name: str, out: str, networks: int):
    """A classifier of aeon's, not yet fitted."""
    from aeon.classification import convolution_based

    if name.endswith("Time"):
        from aeon.classification import deep_learning

        several = getattr(deep_learning, f"{name}Classifier")
        return several(n_classifiers=networks, file_path=f"{out}/", random_state=1)
    return getattr(convolution_based, f"{name}Classifier")(random_state=1)


def ours(folder: str, name: str, out: str, way: str) -> dict:
    """One way of `pipelines/ucr_uea.py`."""
    started = time.perf_counter()
    report = ucr_uea.main(folder, [name], f"{out}/{way}", way=way)[name]
    return {"who": f"speechrnn, {way}", "accuracy": report.accuracy, "seconds": time.perf_counter() - started}


def theirs(parts: list, out: str, who: str, networks: int) -> dict:
    """One classifier of aeon's on the arrays of both parts; accuracy 0 where it does not take the series."""
    (x, y), (test_x, test_y) = parts
    started, accuracy = time.perf_counter(), 0.0
    if x is not None and test_x is not None:
        classifier = peer(who, out, networks)
        classifier.fit(x, y)
        accuracy = float(np.mean(classifier.predict(test_x) == test_y))
    return {"who": f"aeon's {who}", "accuracy": accuracy, "seconds": time.perf_counter() - started}


def arrays(examples) -> tuple[np.ndarray | None, np.ndarray]:
    """float32 `(records, channels, samples)` or None where lengths differ, and the classes."""
    rows = [read_example(example)[0].T for example in examples]
    same = len({row.shape for row in rows}) == 1
    return np.stack(rows) if same else None, np.array([example.label for example in examples])


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="data sets, such as NATOPS")
    parser.add_argument("--data-dir", required=True, help="folder of the archive, or of some of its data sets")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="of ours")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS[:3], help="of aeon's")
    parser.add_argument("--networks", type=int, default=5, help="of LITETime and InceptionTime, each")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, list[dict]] = {}
    # What the recipe and Keras's progress print is no result.
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(sys.stderr):
        for name in args.names:
            found[name] = [ours(args.data_dir, name, out, way) for way in args.ways]
            splits = ucr.prepare(args.data_dir, Path(out, "peer", name), name=name, overwrite=True)
            parts = [arrays(splits[part]) for part in ("train", "test")]
            try:
                found[name] += [theirs(parts, out, who, args.networks) for who in args.peers]
            except ModuleNotFoundError as error:
                if error.name != "aeon":
                    raise
                Console(stderr=True).print("aeon is not installed: it is left out")
    ranks = [scipy.stats.rankdata([-row["accuracy"] for row in rows]) for rows in found.values()]
    who = [row["who"] for row in next(iter(found.values()))]
    mean = dict(zip(who, np.mean(ranks, axis=0).round(2).tolist(), strict=True))
    if args.json:
        print(json.dumps({"machine": measuring.machine(), "data": found, "mean_rank": mean}, indent=1))
        return
    table = Table("", *who, title="Accuracy in % (seconds), official split")
    for name, rows in found.items():
        table.add_row(name, *(f"{100 * row['accuracy']:.1f} ({row['seconds']:.0f})" for row in rows))
    table.add_row("mean rank", *map(str, mean.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
