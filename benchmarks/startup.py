"""Start-up: help texts, `import speechrnn` and a first transcript, beside an interpreter that does nothing.

python -m benchmarks.startup [--json]

The transcripts are of a second of silence, by the English model that ships: as it is, and with its lexicon as text, as
files were packed before. Beside them stands what numba takes to compile its smallest function: what is kept of a search
runs without it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import soundfile

from benchmarks import measuring
from speechrnn.models.loading import shipped
from speechrnn.runtime import onnxfile
from speechrnn.text import packed

COMMANDS = {
    "an empty Python": ["-c", ""],
    "import speechrnn": ["-c", "import speechrnn"],
    "speechrnn --help": ["-m", "speechrnn", "--help"],
    "speechrnn train --help": ["-m", "speechrnn", "train", "--help"],
    "speechrnn train --task classify --help": ["-m", "speechrnn", "train", "--task", "classify", "--help"],
    "speechrnn transcribe --help": ["-m", "speechrnn", "transcribe", "--help"],
    "numba and its smallest function": ["-c", "import numba; numba.njit(lambda x: x)(1)"],
}


def commands(folder):
    """What is measured, and before it whatever it needs."""
    clip, text = folder / "clip.wav", folder / "text.onnx"
    soundfile.write(clip, np.zeros(16000), 16000)
    content = shipped().read_bytes()
    parts = {name: bytes(part) for name, part in onnxfile.attachments(content).items()}
    graph = onnxfile.without_attachments(content)
    held = packed.PackedLexicon(memoryview(parts.pop("tree")))
    text.write_bytes(onnxfile.with_attachments(graph, {"lexicon": zlib.compress(held.to_bytes(), 9), **parts}))
    verb = ["-m", "speechrnn", "transcribe", str(clip)]
    return {**COMMANDS, "speechrnn transcribe": verb, "the same, its lexicon as text": [*verb, "--model", str(text)]}


def rows(repeats=9):
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            name: lambda words=words: subprocess.run([sys.executable, *words], check=True, capture_output=True)
            for name, words in commands(Path(folder)).items()
        }
        found = measuring.alternate(runs, repeats)
    return [
        {"what": "start-up", "name": name, "median_s": times["median_s"], "median_cpu_s": times["median_cpu_s"]}
        for name, times in found.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    found = rows(options.repeats)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        print(f"{row['name']}: {row['median_s']:.3f} s, {row['median_cpu_s']:.3f} s of a processor")


if __name__ == "__main__":
    main()
