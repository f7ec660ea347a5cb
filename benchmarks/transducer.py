"""Transducer loss and gradient: torchaudio's where it is installed, and ours.

    python -m benchmarks.transducer [--json]

Medians of alternating runs in one process; every peer gets the same logits and labels, all rows full length.
"""

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from speechrnn import losses


def contenders(batch, frames, labels, vocabulary):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, frames, labels + 1, vocabulary)).astype("float32")
    target = rng.integers(1, vocabulary, (batch, labels)).astype("int32")
    x, y, lengths = tf.constant(logits), tf.constant(target), tf.fill([batch], frames)

    @tf.function(jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = losses.Transducer()(y, x, None, lengths)
        return value, tape.gradient(value, x)

    found = {"speechrnn": lambda: float(step()[0])}
    try:
        import torch
        import torchaudio
    except ImportError:
        return found
    torch.set_num_threads(measuring.processors())
    z, targets = torch.tensor(logits).requires_grad_(), torch.tensor(target)
    sizes, counts = (torch.full((batch,), size, dtype=torch.int32) for size in (frames, labels))

    def peer():
        z.grad = None
        value = torchaudio.functional.rnnt_loss(z, targets, sizes, counts, blank=0)
        value.backward()
        return value.item()

    return {**found, "torchaudio": peer}


def rows(batch=8, frames=100, labels=30, vocabulary=29, repeats=9):
    """One row for each contender; raises if they disagree on the loss."""
    found = contenders(batch, frames, labels, vocabulary)
    values = {name: run() for name, run in found.items()}
    if not np.allclose(list(values.values()), values["speechrnn"], rtol=1e-3):
        raise SystemExit(f"The losses must agree. Received: {values}.")
    what = f"transducer loss and gradient, B={batch}, T={frames}, U={labels}, V={vocabulary}"
    return [{"what": what, "name": name, **times} for name, times in measuring.alternate(found, repeats).items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("batch", 8), ("frames", 100), ("labels", 30), ("vocabulary", 29), ("repeats", 9)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    found = rows(**options)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table("", "median ms", "CPU ms", "ours is", title=found[0]["what"])
    ours = found[0]["median_s"]
    for row in found:
        times = [f"{1e3 * row[kind]:.1f}" for kind in ("median_s", "median_cpu_s")]
        table.add_row(row["name"], *times, f"{ours / row['median_s']:.3f} of it")
    Console().print(table)


if __name__ == "__main__":
    main()
