"""Ways to keep features on disk: one file for each example, or records in TFRecord, ArrayRecord or tar shards.

`python -m benchmarks.records formats [--count 2000] [--frames 300] [--json]` writes the same features in each form and
reads all of them: in another order every time, which training needs, and in the order of the file. ArrayRecord is
measured where it is installed. Times are of the processors, medians of alternating runs, with the files in memory: what
a form costs besides the disk.
"""

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import measuring

SHARD = 64 << 20
"""Bytes in a shard."""


def payloads(count, frames):
    """Features of that many utterances, as bytes."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(frames // 2, frames * 3 // 2, count)
    return [rng.standard_normal((length, 80), np.float32).tobytes() for length in lengths]


def sharded(records):
    """Records in groups of about `SHARD` bytes."""
    groups, size = [[]], 0
    for record in records:
        if size > SHARD:
            groups.append([])
            size = 0
        groups[-1].append(record)
        size += len(record)
    return groups


def files(folder, records, order):
    """One file for each example, in folders of a few hundred."""
    paths = [folder / f"{i % 256:02x}" / str(i) for i in range(len(records))]
    for path, record in zip(paths, records, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record)

    def read():
        for i in order:
            np.frombuffer(paths[i].read_bytes(), np.float32)

    return {"a file each, any order": read}


def by_place(places, order):
    """Reads records of open files by their places."""
    opened = {path: os.open(path, os.O_RDONLY) for path in {path for path, _, _ in places}}

    def read():
        for i in order:
            path, start, size = places[i]
            np.frombuffer(os.pread(opened[path], size, start), np.float32)

    return read


def tfrecord(folder, records, order):
    """TFRecord: length, its checksum, data, its checksum."""
    import tensorflow as tf

    places, paths = [], []
    for number, group in enumerate(sharded(records)):
        path = str(folder / f"{number}.tfrecord")
        paths.append(path)
        start = 0
        with tf.io.TFRecordWriter(path) as writer:
            for record in group:
                writer.write(record)
                places.append((path, start + 12, len(record)))
                start += 16 + len(record)

    def read():
        for record in tf.data.TFRecordDataset(paths).as_numpy_iterator():
            np.frombuffer(record, np.float32)

    return {"TFRecord, any order, by places": by_place(places, order), "TFRecord, in order": read}


def tar(folder, records, order):
    """Tar shards, as WebDataset reads them."""
    places, paths = [], []
    for number, group in enumerate(sharded(records)):
        path = str(folder / f"{number}.tar")
        paths.append(path)
        with tarfile.open(path, "w") as archive:
            for i, record in enumerate(group):
                member = tarfile.TarInfo(f"{i}.feat")
                member.size = len(record)
                places.append((path, archive.offset + 512, len(record)))
                archive.addfile(member, io.BytesIO(record))

    def read():
        for path in paths:
            with tarfile.open(path, "r|") as archive:
                for member in archive:
                    np.frombuffer(archive.extractfile(member).read(), np.float32)

    return {"tar, any order, by places": by_place(places, order), "tar, in order": read}


def arrayrecord(folder, records, order):
    """ArrayRecord: chunks of records with an index at the end."""
    from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

    where, readers = [], []
    for number, group in enumerate(sharded(records)):
        path = str(folder / f"{number}.arrayrecord")
        writer = ArrayRecordWriter(path, "group_size:1,uncompressed")
        for i, record in enumerate(group):
            writer.write(record)
            where.append((number, i))
        writer.close()
        readers.append(ArrayRecordReader(path, "readahead_buffer_size:0"))

    def one():
        for i in order:
            shard, place = where[i]
            np.frombuffer(readers[shard].read([place])[0], np.float32)

    def read():
        for reader in readers:
            for record in reader.read_all():
                np.frombuffer(record, np.float32)

    return {"ArrayRecord, any order": one, "ArrayRecord, in order": read}


def formats(options):
    """Seconds of processor time for a thousand records, by form."""
    records = payloads(options.count, options.frames)
    order = np.random.default_rng(1).permutation(options.count)
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for write in (files, tfrecord, tar, arrayrecord):
            into = Path(folder, write.__name__)
            into.mkdir()
            try:
                runs |= write(into, records, order)
            except ImportError:
                print(f"{write.__name__} is not installed: left out.")
        timed = measuring.alternate(runs, options.repeats)
    megabytes = sum(map(len, records)) / 1e6
    return {
        name: {"ms": 1e6 * t["median_cpu_s"] / options.count, "MB_s": megabytes / t["median_cpu_s"]}
        for name, t in timed.items()
    }


def hours(options):
    """Processor seconds for an hour of audio, by hours of audio, and the memory that the process then has."""
    import soundfile

    from speechrnn.data.manifest import Example
    from speechrnn.features import LogMel
    from speechrnn.pipeline import batches

    seconds, found = 10.0, {}
    for size in options.hours:
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            first = Path(folder, "0.flac")
            soundfile.write(first, 0.1 * np.random.default_rng(0).standard_normal(round(16000 * seconds)), 16000)
            paths = [first, *(Path(folder, f"{i}.flac") for i in range(1, round(3600 * size / seconds)))]
            for path in paths[1:]:
                os.link(first, path)
            examples = [Example(path, seconds) for path in paths]
            dataset = batches(
                examples, LogMel(16000), batch_size=16, shuffle=True, workers=1,
                cache=Path(folder, "cache"), cache_gigabytes=options.gigabytes,
            )  # fmt: skip
            spent = []
            for _ in range(2):
                before = time.process_time()
                for _ in dataset:
                    pass
                spent.append((time.process_time() - before) / size)
            kept = sum(file.stat().st_size for file in Path(folder, "cache").iterdir())
        peak = measuring.peak_memory() / 1e9
        found[size] = {"first": spent[0], "second": spent[1], "cache_GB": kept / 1e9, "memory_GB": peak}
        print(f"{size:g} h: {json.dumps(found[size])}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["formats", "hours"])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hours", type=float, nargs="+", default=[5.0, 10.0, 20.0, 50.0, 100.0])
    parser.add_argument("--gigabytes", type=float, default=None)
    parser.add_argument("--dir", default=None, help="where the corpora and their caches are put for a while")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.what == "hours":
        hours(options)
        return
    found = formats(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    table = Table("form", "ms of processor per 1,000 records", "MB/s")
    for name, row in found.items():
        table.add_row(name, f"{row['ms']:.2f}", f"{row['MB_s']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
