"""Keyword spotting on what is small: digits of FSDD as keywords, noise of ESC-10, in the layout of Speech Commands.

    python -m benchmarks.spotting --fsdd DIR --esc10 DIR [--out runs/spotting]

Writes a folder as `pipelines/keyword_spotting.py` takes it, and runs that recipe on it. Keywords are the digits zero to
five, other words are six to nine. Speakers theo and yweweler are the test, nicolas is the validation, the other three
are learned from; a word stands in the middle of a second. Noise is a minute each of five kinds.
"""

import argparse
import dataclasses
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pipelines import keyword_spotting
from speechrnn import audio
from speechrnn.data.corpora import fsdd
from speechrnn.data.corpora.speech_commands import NOISE

RATE = keyword_spotting.RATE
COMMANDS = fsdd.DIGITS[:6]
LISTS = {"validation_list.txt": ("nicolas",), "testing_list.txt": ("theo", "yweweler")}
NOISES = ("Rain", "Sea_waves", "Fire_crackling", "Helicopter", "Clock_tick")
FLOOR = 1e-4
"""Standard deviation of the noise around a word, of full scale: a recording is never quite silent."""


def layout(digits: str, sounds: str, out: Path, recordings: int) -> None:
    """Write the folder, with so many recordings of each word and speaker."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    for path in sorted(Path(digits, "recordings").iterdir()):
        digit, speaker, index = path.stem.split("_")
        if int(index) >= recordings:
            continue
        name = f"{fsdd.DIGITS[int(digit)]}/{speaker}_nohash_{index}.wav"
        word = audio.read(path, sample_rate=RATE)[0][:RATE]
        second = FLOOR * rng.standard_normal(RATE).astype(np.float32)
        start = (RATE - len(word)) // 2
        second[start : start + len(word)] += word
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        _write(out / name, second)
        for listed, speakers in LISTS.items():
            lists[listed] += [name] if speaker in speakers else []
    for listed, names in lists.items():
        (out / listed).write_text("\n".join(names) + "\n")
    (out / NOISE).mkdir(exist_ok=True)
    for kind in NOISES:
        parts = [audio.read(path, sample_rate=RATE)[0] for path in sorted(Path(sounds, kind).glob("*.ogg"))[:12]]
        _write(out / NOISE / f"{kind.lower()}.wav", np.concatenate(parts))


def _write(path: Path, samples: np.ndarray) -> None:
    audio.write(path, samples.clip(-1, 1), RATE, overwrite=True)  # resampling goes beyond full scale here and there


def main() -> None:
    """Parses, writes, measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", required=True, help="the Free Spoken Digit Dataset")
    parser.add_argument("--esc10", required=True, help="ESC-10, a folder for each class")
    parser.add_argument("--out", default="runs/spotting", help="folder for the layout and the run")
    parser.add_argument("--recordings", type=int, default=50, help="of each word and speaker, at most 50")
    parser.add_argument("--epochs", type=int, default=keyword_spotting.OPTIONS.epochs, help="epochs of training")
    parser.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    options = parser.parse_args()
    folder = Path(options.out, "layout")
    if not (options.resume and (folder / NOISE).is_dir()):
        layout(options.fsdd, options.esc10, folder, options.recordings)
    training = dataclasses.replace(keyword_spotting.OPTIONS, epochs=options.epochs)
    keyword_spotting.main(str(folder), options.out, COMMANDS, training, resume=options.resume)


if __name__ == "__main__":
    main()
