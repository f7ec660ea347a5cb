"""What a block costs: ONNX Runtime and LiteRT, in full and in 8 bits, one thread each.

    python -m benchmarks.streaming MODEL.keras [--seconds 20]

The model must be able to stream. Each runtime listens to the same noise in blocks of 20 ms, in a process of its own,
so that its memory can be told; rounds alternate. `a step` is the time of a block that completes a frame of logits.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import peak_memory

FORMATS = {
    "onnx": ("onnx", False),
    "onnx int8": ("onnx", True),
    "litert": ("litert", False),
    "litert int8": ("litert", True),
}


def measured(path, seconds):
    """Milliseconds of steps and blocks, and megabytes, of one runtime in this process."""
    from speechrnn.models import loading

    session = loading.load_session(path, streaming=True)
    size = session.sample_rate // 50
    signal = 0.1 * np.random.default_rng(0).normal(size=round(seconds * 50) * size).astype("float32")
    steps, others = [], []
    for start in range(0, len(signal), size):
        begin = time.perf_counter()
        count = len(session.advance(signal[start : start + size]))
        taken = time.perf_counter() - begin
        (steps if count else others).append(taken)
    step, other = float(np.median(steps)), float(np.median(others or [0.0]))
    block = (len(steps) * step + len(others) * other) / (len(steps) + len(others))
    memory = peak_memory() / 2**20
    return {"step": 1000 * step, "block": 1000 * block, "memory": memory, "latency": session.latency}


def main(model, seconds, rounds):
    from speechrnn.export.writing import export
    from speechrnn.models.loading import load_bundle as load

    recognizer = load(model)
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, (to, int8) in FORMATS.items():
            paths[name] = Path(folder, name.replace(" ", "-"))
            export(recognizer, paths[name], to=to, int8=int8, streaming=True)
        found = {name: [] for name in paths}
        for _ in range(rounds):
            for name, path in paths.items():
                command = [sys.executable, "-m", "benchmarks.streaming", str(path), "--one", "--seconds", str(seconds)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
        print(f"algorithmic latency {1000 * found['onnx'][0]['latency']:.0f} ms")
        print("| runtime | file | a step | a block of 20 ms | whole process |\n| --- | --- | --- | --- | --- |")
        for name, path in paths.items():
            step, block, memory = (np.median([r[key] for r in found[name]]) for key in ("step", "block", "memory"))
            size = path.stat().st_size / 1e6
            print(f"| {name} | {size:.2f} MB | {step:.2f} ms | {block:.2f} ms | {memory:.0f} MB |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.model, given.seconds)))
    else:
        main(given.model, given.seconds, given.rounds)
