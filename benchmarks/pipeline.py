"""Input pipeline alone: hours of audio a second, from FLAC files to padded log-mel batches, beside librosa in a loop.

`python -m benchmarks.pipeline --data-dir DIR [--runs 5] [--json]` reads every FLAC file under DIR (AN4, for one) in
alternating runs and prints medians: wall time, and the time of all processors together, which is the steadier figure on
a busy machine. librosa's loop loads each file, takes 80 mel bands and the logarithm, and batches nothing.
"""

import argparse
import json
import os
import platform
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import librosa
import numpy as np
import soundfile
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks import measuring
from speechrnn.data.manifest import Example
from speechrnn.features import Augmentation, LogMel
from speechrnn.pipeline import batches, plan_of

RATE, WINDOW, HOP, FFT, MELS, BATCH = 16000, 400, 160, 512, 80, 16
LIBROSA = "librosa in a loop"


def examples_under(folder, limit):
    """One example for each FLAC file, in a reproducible order."""
    paths = sorted(Path(folder).rglob("*.flac"))[:limit]
    if not paths:
        raise SystemExit(f"{folder}: holds no .flac file. Give a corpus in FLAC, such as AN4, with --data-dir.")
    return [Example(str(path), soundfile.info(path).duration) for path in paths]


def librosa_loop(examples):
    """Loads and transforms one file after another."""
    for example in examples:
        signal, _ = librosa.load(example.path, sr=RATE)
        power = librosa.feature.melspectrogram(
            y=signal, sr=RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=MELS, center=False
        )
        np.log(np.maximum(power, 1e-10))


def consume(dataset):
    """One epoch, with nothing done to it."""
    for _ in dataset:
        pass


def contenders(examples):
    """What is measured, by name; each is called once before, to load, compile and fill caches."""
    layer = LogMel(RATE, window=WINDOW, hop=HOP, fft_length=FFT, num_mels=MELS)
    made = {
        "speechrnn": batches(examples, layer, batch_size=BATCH, shuffle=True),
        "speechrnn, in one worker": batches(examples, layer, batch_size=BATCH, shuffle=True, workers=1),
        "speechrnn, augmented": batches(
            examples, layer, batch_size=BATCH, shuffle=True, augmentation=Augmentation.speech()
        ),
        "speechrnn, cached in memory": batches(examples, layer, batch_size=BATCH, shuffle=True, cache="memory"),
    }
    runs = {name: lambda dataset=dataset: consume(dataset) for name, dataset in made.items()}
    plans = {name: plan_of(dataset) for name, dataset in made.items()}
    return {LIBROSA: lambda: librosa_loop(examples), **runs}, plans


def report(examples, repeats):
    """All figures as one dictionary."""
    hours = sum(example.duration for example in examples) / 3600
    runs, plans = contenders(examples)
    times = measuring.alternate(runs, repeats)
    medians = {name: (found["median_s"], found["median_cpu_s"]) for name, found in times.items()}
    wall, processor = medians[LIBROSA]
    rows = [
        {
            "what": name,
            "hours_per_second": hours / seconds,
            "times_librosa": wall / seconds,
            "processor_seconds_per_hour": busy / hours,
            "times_librosa_per_processor": processor / busy,
            "padding_efficiency": plans[name].padding_efficiency() if name in plans else None,
        }
        for name, (seconds, busy) in medians.items()
    ]
    return {
        "files": len(examples), "hours": hours, "runs": repeats, "batch_size": BATCH,
        "processors": measuring.processors(),
        "load": os.getloadavg()[0], "machine": platform.machine(), "tensorflow": tf.__version__,
        "librosa": librosa.__version__, "rows": rows,
    }  # fmt: skip


def show(figures):
    """Prints the table."""
    title = (
        f"{figures['files']:,} FLAC files, {figures['hours']:.2f} h, to log-mel batches of {figures['batch_size']} on "
        f"{figures['processors']} processors (load {figures['load']:.1f}), medians of {figures['runs']} runs"
    )
    table = Table(title=title)
    for heading in ("", "hours/s", "x librosa", "CPU s an hour", "x librosa, CPU", "padding used"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in figures["rows"]:
        used = row["padding_efficiency"]
        table.add_row(
            row["what"], f"{row['hours_per_second']:.3f}", f"{row['times_librosa']:.2f}",
            f"{row['processor_seconds_per_hour']:.2f}", f"{row['times_librosa_per_processor']:.2f}",
            "" if used is None else f"{used:.1%}",
        )  # fmt: skip
    Console().print(table)


def main():
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder of FLAC files, searched with its subfolders")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each")
    parser.add_argument("--limit", type=int, default=None, help="most files to read")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    options = parser.parse_args()
    figures = report(examples_under(options.data_dir, options.limit), options.runs)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
