"""CTC loss and gradient on a CPU: `keras.losses.CTC`, PyTorch where it is installed, and ours.

    python benchmarks/ctc.py [--json]

Medians of alternating runs in one process; every peer gets the same logits and labels, all rows full length, since
Keras's loss knows no lengths.
"""

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from speechrnn import losses


def contenders(batch, frames, labels, vocabulary):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, frames, vocabulary)).astype("float32")
    target = rng.integers(1, vocabulary, (batch, labels)).astype("int32")
    x, y, lengths = tf.constant(logits), tf.constant(target), tf.fill([batch], frames)

    def stepper(loss):
        @tf.function(jit_compile=False)
        def step():
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = loss()
            return value, tape.gradient(value, x)

        return lambda: float(step()[0])

    stock = keras.losses.CTC()
    found = {
        "speechrnn": stepper(lambda: losses.CTC()(y, x, None, lengths)),
        "keras.losses.CTC": stepper(lambda: stock(y, x)),
    }
    try:
        import torch
    except ImportError:
        return found
    z = torch.tensor(logits).transpose(0, 1).contiguous().requires_grad_()
    targets, sizes = torch.tensor(target), torch.full((batch,), frames)
    counts = torch.full((batch,), labels)

    def peer():
        z.grad = None
        value = torch.nn.functional.ctc_loss(z.log_softmax(-1), targets, sizes, counts, reduction="none").mean()
        value.backward()
        return float(value)

    return {**found, "PyTorch": peer}


def measure(found, repeats):
    values = {name: run() for name, run in found.items()}
    times = {name: [] for name in found}
    for _ in range(repeats):
        for name, run in found.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return values, {name: float(np.median(t)) for name, t in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("batch", 16), ("frames", 400), ("labels", 40), ("vocabulary", 29), ("repeats", 9)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json, repeats = options.pop("json"), options.pop("repeats")
    values, times = measure(contenders(**options), repeats)
    if as_json:
        print(json.dumps({"settings": options, "milliseconds": times, "loss": values}, indent=1))
        return
    table = Table("", "loss", "median ms", "ours is", title=f"CTC loss and gradient, {options}")
    for name, value in times.items():
        table.add_row(name, f"{values[name]:.2f}", f"{value:.1f}", f"{times['speechrnn'] / value:.3f} of it")
    Console().print(table)


if __name__ == "__main__":
    main()
