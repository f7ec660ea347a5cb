"""Words that a recognizer of ours and pocketsphinx's English model get wrong of the same recordings, and their speed.

    python -m benchmarks.words MANIFEST ... [--model english] [--limit 100] [--json FILE]

Needs `pip install pocketsphinx`. Each recording is read once, and transcribed by both, one after the other. Intervals
are over recordings.
"""

import argparse
import json
import time
from pathlib import Path

import speechrnn as sr
from benchmarks import measuring
from pipelines.voice import pocketsphinx
from speechrnn import text
from speechrnn.data import manifest
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.intervals import rate_interval

RATE = 16000


def main(paths, model, limit):
    """A row for each manifest and recognizer."""
    ours, theirs = sr.load(model), pocketsphinx()
    if theirs is None:
        raise SystemExit("pocketsphinx is not installed: `pip install pocketsphinx`.")
    readers = {"speechrnn": lambda signal: ours.transcribe((signal, RATE)).text,
               "pocketsphinx": lambda signal: theirs(signal, RATE)}  # fmt: skip
    rows = []
    for path in paths:
        counts, seconds = {name: [] for name in readers}, dict.fromkeys(readers, 0.0)
        examples, heard = manifest.read(path)[:limit], 0.0
        for example in examples:
            signal, _ = sr.audio.read(example.path, sample_rate=RATE)
            heard += len(signal) / RATE
            for name, read in readers.items():
                start = time.perf_counter()
                found = read(signal)
                seconds[name] += time.perf_counter() - start
                counts[name].append(edits.counts(text.normalize(example.text).split(), text.normalize(found).split()))
        for name in readers:
            low, high = rate_interval(counts[name])
            rows.append({"what": f"{Path(path).stem}, {len(examples)} recordings", "name": name,
                         "wer": sum(counts[name], Edits()).rate, "interval": [low, high],
                         "times_real_time": heard / seconds[name]})  # fmt: skip
            print(f"{rows[-1]['what']}: {name} WER {100 * rows[-1]['wer']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], "
                  f"{rows[-1]['times_real_time']:.1f} times real time", flush=True)  # fmt: skip
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+")
    parser.add_argument("--model", default="english")
    parser.add_argument("--limit", type=int, help="only the first so many recordings of each")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there")
    given = parser.parse_args()
    found = main(given.manifests, given.model, given.limit)
    if given.json:
        Path(given.json).write_text(json.dumps({"machine": measuring.machine(), "rows": found}, indent=1))
