"""Word boundaries of forced alignment beside those of hand-checked TextGrids, and the constant delay of CTC.

    python benchmarks/alignment.py MODEL FOLDER [--tier words] [--json]

FOLDER holds recordings, each with a `.TextGrid` of the same stem anywhere below it. The delay is the median of the
differences, measured on half of the speakers (the first part of a stem, up to `-`) and corrected on the other half,
both ways round. A model says something about a corpus only if it was trained on speech of its kind.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import speechrnn
from speechrnn import decoding, text
from speechrnn.data.examples import read_whole
from speechrnn.decoding import textgrid
from speechrnn.tasks.recognition import attachments, phones
from speechrnn.tasks.recognition.transcript import spell
from speechrnn.text import lexicons

AUDIO = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


def differences(model, folder, tier):
    """For each speaker float `(words, 2)`: seconds by which starts and ends come late; and what failed."""
    found, failed = {}, []
    held = attachments.attached_options(model).get("lexicon")
    lexicon = lexicons.load(held) if held else None
    grids = {path.stem: path for path in Path(folder).rglob("*.TextGrid")}
    for path in sorted(p for p in Path(folder).rglob("*") if p.suffix in AUDIO and p.stem in grids):
        known = [(a, b, text.normalize(label)) for a, b, label in textgrid.read(grids[path.stem])[tier]]
        known = [row for row in known if row[2] and " " not in row[2]]
        said = " ".join(word for *_, word in known)
        try:
            signal = read_whole(path, model.sample_rate)
            (logits,) = model.logits([signal])
            if lexicon is None:
                aligned = decoding.align(logits, model.vocabulary.encode(said))
            else:
                aligned = phones.align_words(logits, said, lexicon, model.vocabulary)
            words = spell(aligned, model.vocabulary, frame_period=model.frame_period)
        except ValueError as error:
            failed.append(f"{path.name}: {error}")
            continue
        rows = [(w.start - a, w.end - b) for w, (a, b, _) in zip(words, known, strict=True)]
        found.setdefault(path.stem.split("-")[0], []).extend(rows)
    return {speaker: np.array(rows) for speaker, rows in found.items()}, failed


def summary(found):
    """Mean absolute errors and delays, before and after the correction that the other half of the speakers gave."""
    speakers = sorted(found)
    halves = [np.concatenate([found[s] for s in speakers[i::2]]) for i in (0, 1)]
    delays = [np.median(half, axis=0) for half in halves]
    corrected = np.concatenate([halves[0] - delays[1], halves[1] - delays[0]])
    every = np.concatenate(halves)
    return {
        "words": len(every),
        "delay_ms": (1e3 * np.median(every, axis=0)).round(1).tolist(),
        "delay_of_halves_ms": [(1e3 * d).round(1).tolist() for d in delays],
        "error_ms": float(1e3 * np.abs(every).mean()),
        "error_corrected_ms": float(1e3 * np.abs(corrected).mean()),
        "within_50_ms": [float((np.abs(x) <= 0.05).mean()) for x in (every, corrected)],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--tier", default="words")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found, failed = differences(speechrnn.load(given.model), given.folder, given.tier)
    for line in failed:
        print(line)
    if len(found) < 2:
        raise SystemExit("At least two speakers must be aligned, to measure on one half and check on the other.")
    rows = summary(found)
    print(json.dumps(rows, indent=1) if given.json else "\n".join(f"{k}: {v}" for k, v in rows.items()))


if __name__ == "__main__":
    main()
