"""Our recipe for series beside aeon's LITETime on one data set of the UCR or UEA archive: accuracy and training time.

    python -m benchmarks.series --data-dir DIR NATOPS [--networks 1] [--json]

Both learn from the official training set, in the same run on the same processors, and answer the official test set.
aeon is measured where it is installed, with its own settings: LITETime is five networks of 1,500 epochs each, whose
probabilities are averaged; `--networks` takes fewer of them. Series of unequal length it does not take.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from pipelines import ucr_uea
from speechrnn.data.corpora import ucr
from speechrnn.data.examples import read_example


def ours(folder: str, name: str, out: str) -> dict:
    """One seed of `pipelines/ucr_uea.py`."""
    started = time.perf_counter()
    report = ucr_uea.main(folder, [name], out, seeds=ucr_uea.SEEDS[:1])[name]
    return {"who": "speechrnn, one seed", "accuracy": report.accuracy, "seconds": time.perf_counter() - started}


def theirs(folder: str, name: str, out: str, networks: int) -> dict:
    """LITETime of so many networks."""
    from aeon.classification.deep_learning import LITETimeClassifier

    splits = ucr.prepare(folder, Path(out, "peer"), name=name, overwrite=True)
    (x, y), (test_x, test_y) = (arrays(splits[part]) for part in ("train", "test"))
    started = time.perf_counter()
    classifier = LITETimeClassifier(n_classifiers=networks, file_path=f"{out}/", random_state=1)
    classifier.fit(x, y)
    accuracy = float(np.mean(classifier.predict(test_x) == test_y))
    who = f"aeon's LITETime, {networks} of 5 networks"
    return {"who": who, "accuracy": accuracy, "seconds": time.perf_counter() - started}


def arrays(examples) -> tuple[np.ndarray, np.ndarray]:
    """float32 `(records, channels, samples)`, as aeon wants them, and the classes."""
    rows = [read_example(example)[0].T for example in examples]
    if len({row.shape for row in rows}) > 1:
        raise SystemExit("aeon's LITETime needs series of equal length. Take another data set.")
    return np.stack(rows), np.array([example.label for example in examples])


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="data set, such as NATOPS")
    parser.add_argument("--data-dir", required=True, help="folder of the archive, or of some of its data sets")
    parser.add_argument("--networks", type=int, default=5, help="of LITETime")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        rows = [ours(args.data_dir, args.name, out)]
        try:
            rows.append(theirs(args.data_dir, args.name, out, args.networks))
        except ModuleNotFoundError as error:
            if error.name != "aeon":
                raise
            Console(stderr=True).print("aeon is not installed: it is left out")
    if args.json:
        print(json.dumps({"machine": measuring.machine(), "data": args.name, "rows": rows}, indent=1))
        return
    table = Table("", "accuracy", "seconds", title=f"{args.name}, official split")
    for row in rows:
        table.add_row(row["who"], f"{100 * row['accuracy']:.1f} %", f"{row['seconds']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
