"""What the benchmarks of losses share: a timed step of ours, agreement with the peers, the command line, the table."""

import argparse
import json

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks import measuring


def stepper(loss, x):
    """A run of a loss of `x` and its gradient, in one graph; it gives the loss."""

    @tf.function(jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss()
        return value, tape.gradient(value, x)

    return lambda: float(step()[0])


def rows(what, contenders, *, repeats, **sizes):
    """One row for each contender; raises if they disagree on the loss."""
    found = contenders(**sizes)
    values = {name: run() for name, run in found.items()}
    if not np.allclose(list(values.values()), values["speechrnn"], rtol=1e-3):
        raise SystemExit(f"The losses must agree. Received: {values}.")
    what = "{what} loss and gradient, B={batch}, T={frames}, U={labels}, V={vocabulary}".format(what=what, **sizes)
    return [{"what": what, "name": name, **times} for name, times in measuring.alternate(found, repeats).items()]


def main(doc, what, contenders, **defaults):
    """The command line of a benchmark, whose sizes and number of repeats are options with these defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {**defaults, "repeats": 9}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    found = rows(what, contenders, **options)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table("", "median ms", "CPU ms", "ours is", title=found[0]["what"])
    ours = found[0]["median_s"]
    for row in found:
        times = [f"{1e3 * row[kind]:.1f}" for kind in ("median_s", "median_cpu_s")]
        table.add_row(row["name"], *times, f"{ours / row['median_s']:.3f} of it")
    Console().print(table)
