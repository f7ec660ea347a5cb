"""Training and test speech of pipelines/english.py, and noise with empty transcripts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from speechrnn.data.corpora import an4, common_voice, esc10, fsdd, kaldi, librispeech, ljspeech
from speechrnn.data.manifest import Example, split_by_subject
from speechrnn.faults import Faults

TRAINING, VALID = ("train-clean-5", "train-clean-100-3"), "dev-clean-5"
TESTS = ("test-other-100",)
HELD_OUT = ("theo", "yweweler")  # of FSDD
NOISE = "esc10"


def corpora(folder: Path, out: Path, faults: Faults):
    """Prepare the training examples, those with spelled letters, and the test sets by name."""
    parts = librispeech.prepare(folder / "LibriSpeech", out / "librispeech", overwrite=True, faults=faults)
    training = {e.id: e for name in TRAINING for e in parts.get(name, ())}  # a speaker may be in both
    evaluated, spelled = {name: parts[name] for name in (VALID, *TESTS) if name in parts}, []
    if (folder / "speechocean762").is_dir():
        ocean = kaldi.prepare(folder / "speechocean762", out / "speechocean762", overwrite=True, faults=faults)
        training |= {f"speechocean-{e.id}": e for split in ocean.values() for e in split}
    if (folder / "common_voice/en").is_dir():
        options = {"splits": ("validated",), "overwrite": True, "faults": faults}
        voices = common_voice.prepare(folder / "common_voice/en", out / "common_voice", **options)["validated"]
        rest, evaluated["common voice"] = split_by_subject(voices, fraction=0.1, seed=1)
        training |= {e.id: e for e in rest}
    if (folder / "LJSpeech-1.1").is_dir():
        training |= {e.id: e for e in ljspeech.prepare(folder, out / "lj", overwrite=True, faults=faults)["train"]}
    if (folder / "an4").is_dir():
        letters = an4.prepare(folder / "an4", out / "an4", overwrite=True, faults=faults)
        spelled, evaluated["an4"] = letters["train"], letters["test"]
    if (folder / "fsdd").is_dir():
        options = {"by": "speaker", "held_out": HELD_OUT, "overwrite": True, "faults": faults}
        digits = fsdd.prepare(folder / "fsdd", out / "fsdd", **options)
        training |= {e.id: e for e in digits["train"]}
        evaluated["fsdd"] = digits["test"]
    if (folder / NOISE).is_dir():
        sounds = esc10.prepare(folder / NOISE, out / "esc10", overwrite=True, faults=faults)
        training |= {e.id: replace(e, label=None, text="") for split in sounds.values() for e in split}
    training |= {e.id: e for e in hums(out / "hums")}
    return list(training.values()), spelled, evaluated


def hums(folder: Path, count=60, rate=16000, seconds=4, seed=0) -> Iterator[Example]:
    """Create recordings with empty transcripts: noise of a random color, or a random chord, at a random level."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, times = np.random.default_rng(seed), np.arange(rate * seconds) / rate
    for number in range(count):
        spectrum = np.fft.rfft(rng.standard_normal(len(times))) / np.arange(1, 2 + len(times) // 2) ** rng.uniform(0, 1)
        chord = sum(np.sin(2 * np.pi * hertz * times) for hertz in rng.uniform(50, 2000, rng.integers(1, 5)))
        signal = np.fft.irfft(spectrum) if number % 2 else chord
        path = folder / f"hum{number}.flac"
        soundfile.write(path, 10 ** rng.uniform(-3, -0.3) * signal / np.abs(signal).max(), rate)
        yield Example(str(path), seconds, text="", id=path.stem)
