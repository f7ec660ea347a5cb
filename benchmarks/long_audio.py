"""What cutting a long recording costs in text, and what a very long one takes in memory and time.

    python benchmarks/long_audio.py text --an4 DIR              # edits of the text in pieces against the whole's
    python benchmarks/long_audio.py memory --an4 DIR --hours 1 3 10

`text` joins the clips of AN4's eight validation speakers to one recording and transcribes it whole, in pieces cut in
silence, in pieces that overlap throughout (as if there were no silence), and in pieces cut at the quietest place
without overlap. `memory` repeats the test set to a FLAC file of some hours and transcribes it in a process of its
own. A model that normalizes each utterance sees other statistics in a piece than in the whole.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

import speechrnn
from speechrnn import audio
from speechrnn.data.corpora import an4
from speechrnn.decoding import pieces as long_audio
from speechrnn.metrics.edits import align

RATE = 16000


def clips(folder, out, speakers=None):
    """Signals and texts of some training speakers, or of the test set, in a fixed order that mixes the speakers."""
    sets = an4.prepare(folder, out, overwrite=True)
    examples = [e for e in sets["train"] if e.subject in speakers] if speakers else sets["test"]
    order = np.random.default_rng(0).permutation(len(examples))
    return [(audio.read(examples[i].path)[0], examples[i].text) for i in order]


def text(model, an4_dir):
    from pipelines.an4_ctc import VALID_SPEAKERS  # imports TensorFlow, which `memory` must not

    with tempfile.TemporaryDirectory() as folder:
        found = clips(an4_dir, folder, VALID_SPEAKERS)
        path = Path(folder, "long.flac")
        audio.write(path, np.concatenate([signal for signal, _ in found]), RATE)
        spoken = " ".join(said for _, said in found).split()
        recognizer = speechrnn.load(model)
        print(f"{audio.probe(path).duration:.0f} s, {len(spoken)} words")
        whole = None
        print("| pieces | edits against the whole | WER |\n| --- | --- | --- |")
        for name, seconds, overlap, silence in CONDITIONS:
            long_audio._SILENCE, long_audio.OVERLAP_SECONDS = silence, overlap
            long_audio.cut.__kwdefaults__["overlap"] = overlap
            transcript = recognizer.transcribe(path, piece_seconds=seconds)
            words = transcript.text.split()
            whole = words if whole is None else whole
            changed, wrong = (align(reference, words).errors / len(reference) for reference in (whole, spoken))
            print(f"| {name} | {changed:.2%} | {wrong:.2%} |", flush=True)


CONDITIONS = (
    ("one", 3600.0, 4.0, long_audio._SILENCE),
    ("30 s, cut in silence or overlapping (default)", 30.0, 4.0, long_audio._SILENCE),
    ("30 s, overlapping by 4 s", 30.0, 4.0, -1.0),
    ("30 s, overlapping by 2 s", 30.0, 2.0, -1.0),
    ("15 s, cut in silence or overlapping", 15.0, 3.75, long_audio._SILENCE),
    ("15 s, overlapping by 3.75 s", 15.0, 3.75, -1.0),
    ("30 s, at the quietest place, no overlap", 30.0, 0.0, -1.0),
    ("60 s, cut in silence or overlapping", 60.0, 4.0, long_audio._SILENCE),
)


def memory(model, an4_dir, hours):
    with tempfile.TemporaryDirectory() as folder:
        signal = np.concatenate([signal for signal, _ in clips(an4_dir, folder)])
        print("| recording | peak memory | time | times real time |\n| --- | --- | --- | --- |")
        for amount in hours:
            path = Path(folder, "long.flac")
            with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
                for _ in range(round(amount * 3600 * RATE / len(signal))):
                    file.write(signal)
            command = [sys.executable, "-m", "speechrnn", "transcribe", str(path), "--out", os.devnull]
            start = time.perf_counter()
            process = subprocess.Popen(command + (["--model", model] if model else []), stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            taken, duration = time.perf_counter() - start, audio.probe(path).duration
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"transcribing failed with exit code {process.returncode}")
            peak, ratio = used.ru_maxrss / 1024, duration / taken
            print(f"| {duration / 3600:.2f} h | {peak:.0f} MB | {taken:.0f} s | {ratio:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["text", "memory"])
    parser.add_argument("--an4", help="AN4's official tree")
    parser.add_argument("--model", help="a recognizer; the one in the package by default")
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.what == "text":
        text(given.model, given.an4)
    else:
        memory(given.model, given.an4, given.hours)
