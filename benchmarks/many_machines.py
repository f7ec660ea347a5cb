"""What it costs to divide work into shards: the hash of the inputs, claims, markers, and the merge.

`python -m benchmarks.many_machines [--shards 1000] [--lines 100]` makes that many parts of so many transcripts and
joins them. The times of the processors are the steadier figure on a busy machine.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from speechrnn.data import shards
from speechrnn.data.shards import Shard


def timed(name, count, function):
    """Runs a function, and prints what it took for each of some things."""
    wall, busy = time.perf_counter(), time.process_time()
    result = function()
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    print(
        f"{name}: {count:,} in {wall:.2f} s, {busy:.2f} s of processor: {1000 * busy / count:.3f} ms each", flush=True
    )
    return result


def of_shards(options):
    """Parts of transcripts, each with a claim and a marker, and their merge."""
    words = [{"word": "word", "start": 1.0, "end": 1.25, "confidence": 0.9876}] * 20
    line = json.dumps({"path": "recordings/000000.wav", "text": "word " * 20, "duration": 10.0, "words": words}) + "\n"
    about = {"verb": "transcribe", "inputs": shards.digest(range(options.shards * options.lines)), "options": {}}
    inputs = [f"recordings/{i:09}.wav" for i in range(options.shards * options.lines)]
    timed("hash of the list of inputs", len(inputs), lambda: shards.digest(inputs))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.jsonl")

        def make():
            for index in range(1, options.shards + 1):
                with shards.claimed(out, Shard(index, options.shards), about) as (part, file):
                    part.count = options.lines
                    file.write(line.encode() * options.lines)

        timed("shards claimed, written and marked", options.shards, make)
        found = timed("markers and parts checked", options.shards, lambda: shards.parts(out))

        def merge():
            with open(out, "wb") as file:
                for part in found:
                    file.write(part.read())

        timed("parts joined", options.shards, merge)
        print(f"{out.stat().st_size / 1e6:.0f} MB merged")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=100)
    of_shards(parser.parse_args())


if __name__ == "__main__":
    main()
