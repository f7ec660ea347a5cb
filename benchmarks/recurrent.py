"""Stacked bidirectional layers, training and inference: this package, stock Keras, and PyTorch where it is installed.

    python -m benchmarks.recurrent --cell lstm gru --frames 400 --json recurrent.json

Medians of alternating runs in one process, so that a busy machine slows all of them alike; read the ratios. A training
step is whole: forward pass, CTC, all gradients, AdamW. `--memory` runs each of them alone and adds its peak memory.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import speechrnn.layers as ours
from benchmarks import measuring
from speechrnn import losses
from speechrnn.training.optimizer import GuardedAdamW

try:
    import torch
except ImportError:
    torch = None

KERAS_NAMES = {"lstm": "LSTM", "gru": "GRU", "simple": "SimpleRNN"}
TORCH_NAMES = {"lstm": "LSTM", "gru": "GRU", "simple": "RNN"}


VOCABULARY = 29
RATE, DECAY = 1e-3, 1e-2


def targets(args, frames: int) -> np.ndarray:
    """Labels a tenth as long as the shortest row."""
    rng = np.random.default_rng(1)
    return rng.integers(1, VOCABULARY, (args.batch, max(1, frames // 30 if args.ragged else frames // 10))).astype(
        "int32"
    )


def keras_runs(
    library, args, cell: str, frames: int, lengths: np.ndarray | None, dtype: str = "float32"
) -> dict[str, Callable]:
    """The training step and the inference of a stack of a Keras library's layers."""
    layer = getattr(library, KERAS_NAMES[cell])
    stack = [
        keras.layers.Bidirectional(layer(args.units, return_sequences=True, dtype=dtype), dtype=dtype)
        for _ in range(args.layers)
    ]
    head = keras.layers.Dense(VOCABULARY, dtype="float32")
    x = tf.random.normal((args.batch, frames, args.features))
    mask = None if lengths is None else tf.sequence_mask(lengths, frames)
    counts = tf.constant(np.full(args.batch, frames) if lengths is None else lengths, tf.int32)
    labels = tf.constant(targets(args, frames))

    def network(training):
        y = x
        for bidirectional in stack:
            y = bidirectional(y, mask=mask, training=training)
        return head(y)

    network(False)
    variables = [v for part in (*stack, head) for v in part.trainable_variables]
    if library is ours:
        ctc, optimizer = losses.CTC(), GuardedAdamW(RATE, decay=DECAY)
    else:
        ctc, optimizer = keras.losses.CTC(), keras.optimizers.AdamW(RATE, weight_decay=DECAY)
    optimizer.build(variables)

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            logits = network(True)
            # Stock Keras's loss knows no lengths.
            loss = ctc(labels, logits, None, counts) if library is ours else ctc(labels, logits)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    @tf.function
    def infer():
        return network(False)

    return {"train": lambda: train().numpy(), "infer": lambda: infer().numpy()}


def torch_runs(args, cell: str, frames: int, lengths: np.ndarray | None, packed: bool) -> dict[str, Callable]:
    """The same of a PyTorch module; `packed` gives it the lengths."""
    torch.set_num_threads(measuring.processors())
    module = getattr(torch.nn, TORCH_NAMES[cell])(
        args.features, args.units, args.layers, bidirectional=True, batch_first=True
    )
    head = torch.nn.Linear(2 * args.units, VOCABULARY)
    optimizer = torch.optim.AdamW([*module.parameters(), *head.parameters()], RATE, weight_decay=DECAY)
    x = torch.randn(args.batch, frames, args.features)
    rows = torch.tensor(np.full(args.batch, frames) if lengths is None else lengths)
    labels = torch.tensor(targets(args, frames))
    counts = torch.full((args.batch,), labels.shape[1])

    def network():
        if not packed:
            return head(module(x)[0])
        sequence = torch.nn.utils.rnn.pack_padded_sequence(x, rows, batch_first=True, enforce_sorted=False)
        return head(torch.nn.utils.rnn.pad_packed_sequence(module(sequence)[0], batch_first=True)[0])

    def train():
        optimizer.zero_grad()
        log_probabilities = network().log_softmax(-1).transpose(0, 1)
        torch.nn.functional.ctc_loss(log_probabilities, labels, rows, counts).backward()
        optimizer.step()

    def infer():
        with torch.inference_mode():
            network()

    return {"train": train, "infer": infer}


def contenders(args, cell: str, frames: int) -> dict[str, Callable[[], dict[str, Callable]]]:
    """What is compared, by name; each builds itself when called."""
    lengths = None
    if args.ragged:
        lengths = np.random.default_rng(0).integers(frames // 3, frames + 1, args.batch)
        lengths[0] = frames
    found = {"speechrnn": lambda: keras_runs(ours, args, cell, frames, lengths)}
    if args.bfloat16:
        found["speechrnn, bfloat16"] = lambda: keras_runs(ours, args, cell, frames, lengths, "mixed_bfloat16")
    if args.stock:
        found["Keras"] = lambda: keras_runs(keras.layers, args, cell, frames, lengths)
    if torch is not None:
        found["PyTorch padded"] = lambda: torch_runs(args, cell, frames, lengths, packed=False)
        if args.packed:
            found["PyTorch packed"] = lambda: torch_runs(args, cell, frames, lengths, packed=True)
    if args.only:
        return {name: build for name, build in found.items() if name == args.only}
    return found


def measure(args, cell: str, frames: int) -> list[dict]:
    """One row for each contender and kind of run."""
    rows = []
    built = {name: build() for name, build in contenders(args, cell, frames).items()}
    for kind in args.what:
        times = measuring.alternate({name: by_kind[kind] for name, by_kind in built.items()}, args.repeats)
        for name, found in times.items():
            row = {"cell": cell, "frames": frames, "batch": args.batch, "units": args.units, "layers": args.layers}
            rows.append(row | {"kind": kind, "name": name, "ragged": args.ragged, **found})
    return rows


def peak_memory(args, cell: str, frames: int, kind: str, name: str) -> int:
    """Bytes that a contender's runs add to a process that has only imported and built it."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.recurrent",
        "--only",
        name,
        "--cell",
        cell,
        "--frames",
        str(frames),
        "--what",
        kind,
    ]
    for option in ("batch", "features", "units", "layers"):
        command += [f"--{option}", str(getattr(args, option))]
    command += ["--ragged"] * args.ragged + ["--bfloat16", "--stock", "--packed", "--repeats", "2", "--peak"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(args) -> None:
    """Runs the only contender and prints the memory it added, in bytes."""
    _, build = next(iter(contenders(args, args.cell[0], args.frames[0]).items()))
    run = build()[args.what[0]]
    print(measuring.added_memory(lambda: [run() for _ in range(args.repeats)]))


def show(rows: list[dict], memory: bool) -> None:
    """Prints the table; a ratio is ours divided by the other's."""
    title = (
        f"{measuring.processors()} cores, {platform.processor() or platform.machine()}, TensorFlow {tf.__version__}, "
    )
    title += f"Keras {keras.__version__}" + (f", PyTorch {torch.__version__}" if torch else "")
    table = Table(title=title)
    columns = ["", "cell", "frames", "batch", "median ms", "best ms", "first s", "ours / it", "best / best"]
    for column in columns + ["peak MB"] * memory:
        table.add_column(column, justify="left" if column in ("", "cell") else "right")
    for row in rows:
        same = [r for r in rows if all(r[k] == row[k] for k in ("cell", "frames", "kind"))]
        mine = next((r for r in same if r["name"] == "speechrnn"), row)
        cells = [f"{row['name']}, {row['kind']}", row["cell"], str(row["frames"]), str(row["batch"])]
        cells += [f"{1e3 * row['median_s']:.0f}", f"{1e3 * row['best_s']:.0f}", f"{row['first_s']:.1f}"]
        cells += [f"{mine['median_s'] / row['median_s']:.2f}", f"{mine['best_s'] / row['best_s']:.2f}"]
        table.add_row(*cells, *([f"{row['peak'] / 1e6:.0f}"] if memory else []), end_section=row is same[-1])
    Console(width=max(120, Console().width)).print(table)


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", choices=KERAS_NAMES, default=["lstm", "gru"])
    parser.add_argument("--frames", nargs="+", type=int, default=[400])
    parser.add_argument("--what", nargs="+", choices=["train", "infer"], default=["train", "infer"])
    for name, value in {"batch": 16, "features": 80, "units": 256, "layers": 3, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--ragged", action="store_true", help="rows of unequal length, masked or packed")
    parser.add_argument("--stock", action=argparse.BooleanOptionalAction, default=True, help="stock Keras too")
    parser.add_argument("--packed", action=argparse.BooleanOptionalAction, default=False, help="PyTorch packed too")
    parser.add_argument("--bfloat16", action="store_true", help="ours under mixed_bfloat16 too")
    parser.add_argument("--memory", action="store_true", help="peak memory too, each in a process of its own")
    parser.add_argument("--json", metavar="FILE", help="write the rows to a file; - is stdout")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        return print_peak(args)
    rows = [row for cell in args.cell for frames in args.frames for row in measure(args, cell, frames)]
    for row in rows if args.memory else []:
        row["peak"] = peak_memory(args, row["cell"], row["frames"], row["kind"], row["name"])
    if args.json != "-":
        show(rows, args.memory)
    if args.json:
        text = json.dumps(rows, indent=1)
        print(text) if args.json == "-" else Path(args.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
