"""What it costs to divide work: claims, markers and the merge of shards, and the tasks that one Ray process hands out.

`python -m benchmarks.many_machines shards [--shards 1000] [--lines 100]` makes that many parts of so many transcripts
and merges them. `python -m benchmarks.many_machines ray [--tasks 2000]` hands tasks that do nothing to two workers: the
most that one leading process can do. Both print seconds and what follows for one shard or task. The times of the
processors are the steadier figure on a busy machine.
"""

import argparse
import json
import os
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


def of_ray(options):
    """Tasks that do nothing, as the engine hands out pieces of work."""
    import ray

    from speechrnn.tasks.recognition import cluster

    class Idle:
        """A worker whose work takes no time."""

        def work(self, sources, options):
            return [(source, options) for source in sources]

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="warning")
    actors = [ray.remote(num_cpus=1)(Idle).remote() for _ in range(2)]
    chunks = [[f"recordings/{64 * i + j:09}.wav" for j in range(64)] for i in range(options.tasks)]
    pool = cluster.WorkerPool(ray, actors, {})
    list(pool.outcomes(chunks[:10]))
    found = timed("tasks of 64 recordings", options.tasks, lambda: list(pool.outcomes(chunks)))
    print(f"{len(found):,} outcomes; the figure is of the leading process, workers not counted")
    ray.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["shards", "ray"])
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=2000)
    options = parser.parse_args()
    of_shards(options) if options.what == "shards" else of_ray(options)


if __name__ == "__main__":
    main()
