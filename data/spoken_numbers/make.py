"""Make the corpus again: `python data/spoken_numbers/make.py --out DIR` (Debian's speech engines are needed only here).

    apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts

Train and valid are recording sessions, one file a voice, whose utterances the manifests address with `offset` and
`duration`. Test is one file an utterance, as a person would hand it to `speechrnn transcribe`. The same packages and
seed give the same sentences and the same samples; the files' bytes differ only in Ogg's random serial number.
"""
# ruff: noqa: SIM905 - a row of words is easier to read than a list of strings

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from speechrnn.data import manifest
from speechrnn.data.manifest import Example

SEED = 7
SAMPLE_RATE = 16_000
OPUS_LEVEL = 0.985
"""libsndfile's compression level; this one spends about 10 kbit/s on clean speech."""

DIGITS = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
COMMANDS = (
    "start", "stop", "pause", "yes", "no", "turn left", "turn right", "lights on", "lights off", "volume up",
    "volume down", "open door", "close door", "call {digits}", "channel {number}", "page {number}",
    "set timer {number} minutes",
)  # fmt: skip

# Donor: the person (festival, flite) or the parameter family (espeak-ng) behind a voice. A donor is in one split only.
ESPEAK = {
    "train": (
        "f1 f2 f3 m1 m2 m3 m4 m8 Alicia Andrea Annie adam antonio aunty benjamin caleb david Denis Diogo ed edward2 "
        "Gene gustave Henrique Hugo iven2 Jacky kaukovalta linda marcelo Marco mario max michel Mike Nguyen norbert "
        "pablo paul pedro quincy rob robert sandro steph Storm travis victor"
    ).split(),
    "valid": "f4 m5 belinda Alex miguel boris".split(),
    "test": "f5 m6 m7 anika Andy Lee Michael zac klatt2 klatt4".split(),
}
ACCENTS = {
    "train": ("en-us", "en-gb", "en-us", "en-gb-scotland", "en-us", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbcwmd"),
    "valid": ("en-us", "en-gb", "en-gb-x-rp"),
    "test": ("en-us", "en-gb", "en-us-nyc", "en-gb-x-gbclan"),  # Lancaster is heard nowhere else
}
RECORDED = {  # engine voice -> donor: voices built from a person's recordings
    "train": {
        ("flite", "kal16"): "kal",
        ("flite", "slt"): "slt",
        ("flite", "awb"): "awb",
        ("festival", "kal_diphone"): "kal",
        ("festival", "cmu_us_slt_arctic_hts"): "slt",
    },
    "valid": {("festival", "ked_diphone"): "ked"},
    "test": {("flite", "rms"): "rms"},
}
THROATS = {"train": (1.0, 0.82, 0.88, 0.94, 1.06, 1.12, 1.18), "valid": (1.0,), "test": (1.0,)}
"""Training voices of recorded people are heard at several throat sizes (resampling moves pitch and formants)."""
ESPEAK_CLIPS = {"train": 14, "valid": 14, "test": 12}
RECORDED_CLIPS = {"train": 20, "valid": 28, "test": 36}


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker: an engine's voice and how it is spoken."""

    split: str
    engine: str
    voice: str
    donor: str
    clips: int
    throat: float = 1.0
    """Factor on pitch and formants, by resampling."""
    stretch: float = 1.0
    """Factor on durations."""
    pitch: int = 50
    """espeak-ng's 0 to 99."""
    lift: float = 1.0
    """Factor on flite's pitch alone."""

    @property
    def name(self) -> str:
        """Its file name and `subject`."""
        size = "" if self.throat == 1.0 else f"-{round(100 * self.throat)}"
        return f"{self.engine}-{self.voice}{size}".replace("+", "-").replace("_", "-").lower()


def cast(rng: np.random.Generator) -> list[Voice]:
    """Every voice of the corpus, with its manner drawn from `rng`."""
    voices = []
    for split, variants in ESPEAK.items():
        for index, variant in enumerate(variants):
            accent = ACCENTS[split][index % len(ACCENTS[split])]
            stretch, pitch = float(rng.uniform(0.9, 1.2)), int(rng.integers(35, 66))
            donor = variant.rstrip("0123456789") if variant.startswith("klatt") else variant
            voice = f"{accent}+{variant}"
            voices.append(Voice(split, "espeak", voice, donor, ESPEAK_CLIPS[split], stretch=stretch, pitch=pitch))
    for split, donors in RECORDED.items():
        for (engine, voice), donor in donors.items():
            for throat in THROATS[split]:
                stretch, lift = float(rng.uniform(0.85, 1.1)), float(rng.uniform(0.85, 1.2))
                manner = {"throat": throat, "stretch": stretch, "lift": 1.0 if throat == 1.0 else lift}
                voices.append(Voice(split, engine, voice, donor, RECORDED_CLIPS[split], **manner))
    return voices


def number(rng: np.random.Generator) -> str:
    """A number from zero to ninety-nine in words, each word about as often as another."""
    kind = rng.choice(["digit", "teen", "tens", "both"], p=[0.08, 0.45, 0.12, 0.35])
    if kind == "digit":
        return str(rng.choice(DIGITS))
    if kind == "teen":
        return str(rng.choice(TEENS))
    return f"{rng.choice(TENS)} {rng.choice(DIGITS[1:])}" if kind == "both" else str(rng.choice(TENS))


def digits(rng: np.random.Generator) -> str:
    """One to four digits, each in words."""
    return " ".join(rng.choice(DIGITS, size=rng.integers(1, 5)))


def sentence(rng: np.random.Generator) -> str:
    """A number, a row of digits or a command."""
    kind = rng.choice(["number", "digits", "command"], p=[0.3, 0.14, 0.56])
    if kind == "number":
        return number(rng)
    if kind == "digits":
        return digits(rng)
    command = str(rng.choice(COMMANDS))
    return command.format(digits=digits(rng), number=number(rng))


def stream(voice: Voice) -> np.random.Generator:
    """The voice's own random numbers, so that a missing engine does not change the other voices."""
    return np.random.default_rng([SEED, zlib.crc32(voice.name.encode())])


def sentences(voice: Voice, rng: np.random.Generator) -> list[str]:
    """What the voice says."""
    return [sentence(rng) for _ in range(voice.clips)]


def espeak(voice: Voice, texts: list[str], paths: list[Path]) -> None:
    """Speak each text into its path with espeak-ng."""
    options = ["-v", voice.voice, "-p", str(voice.pitch), "-s", str(round(160 / voice.stretch))]
    for text, path in zip(texts, paths, strict=True):
        subprocess.run(["espeak-ng", *options, "-w", str(path), text], check=True)


def flite(voice: Voice, texts: list[str], paths: list[Path]) -> None:
    """Speak each text into its path with flite."""
    options = ["-voice", voice.voice, "--setf", f"duration_stretch={voice.stretch * voice.throat:.3f}"]
    if voice.lift != 1.0:
        options += ["--setf", f"f0_shift={voice.lift:.3f}"]
    for text, path in zip(texts, paths, strict=True):
        subprocess.run(["flite", *options, "-t", text, "-o", str(path)], check=True)


def festival(voice: Voice, texts: list[str], paths: list[Path]) -> None:
    """Speak each text into its path with one run of festival."""
    lines = [f"(voice_{voice.voice})", f"(Parameter.set 'Duration_Stretch {voice.stretch * voice.throat:.3f})"]
    for text, path in zip(texts, paths, strict=True):
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}" \'riff)')
    script = paths[0].with_suffix(".scm")
    script.write_text("\n".join(lines), encoding="utf-8")
    subprocess.run(["festival", "-b", str(script)], check=True)


ENGINES = {"espeak": ("espeak-ng", espeak), "flite": ("flite", flite), "festival": ("festival", festival)}


@functools.cache
def available(engine: str, voice: str) -> bool:
    """Whether `voice` can be spoken here; says on stderr what is missing."""
    program = ENGINES[engine][0]
    folder = Path("/usr/share/festival/voices")
    if shutil.which(program) is None:
        print(f"Skipped: {engine} {voice}: `{program}` is not installed.", file=sys.stderr)
        return False
    if engine == "festival" and not any(folder.glob(f"*/{voice}")):
        print(f"Skipped: {engine} {voice}: no such voice under {folder}.", file=sys.stderr)
        return False
    return True


def trim(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut silence at both ends, leaving 60 to 160 ms (less where the engine gave less); whole blocks of 10 ms."""
    block = SAMPLE_RATE // 100
    signal = signal[: len(signal) // block * block]
    energy = np.square(signal.reshape(-1, block)).mean(axis=1)
    loud = np.flatnonzero(energy > 1e-4 * energy.max())
    before, after = rng.integers(6, 17, size=2)
    return signal[max(0, loud[0] - before) * block : (loud[-1] + 1 + after) * block]


def finish(path: Path, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Read what an engine wrote: 16 kHz, throat size, trimmed, an ordinary loudness and a little room noise."""
    signal, rate = soundfile.read(path, dtype="float64")
    signal = trim(soxr.resample(signal, rate * voice.throat, SAMPLE_RATE), rng)
    loud = np.sort(np.abs(signal))[-len(signal) // 3 :]  # the loudest third, so that pauses do not count
    level = 10 ** (rng.uniform(-24, -15) / 20)
    signal = signal * min(level / np.sqrt(np.square(loud).mean()), 0.9 / np.abs(signal).max())
    return signal + rng.normal(scale=10 ** (rng.uniform(-66, -56) / 20), size=len(signal))


def record(voice: Voice, texts: list[str], rng: np.random.Generator) -> list[np.ndarray]:
    """The finished signals of one voice."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{index}.wav") for index in range(len(texts))]
        ENGINES[voice.engine][1](voice, texts, paths)
        return [finish(path, voice, rng) for path in paths]


def write_opus(path: Path, signal: np.ndarray) -> None:
    """Write Ogg Opus."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = signal.astype("float32")
    soundfile.write(path, signal, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL)


def save(voice: Voice, texts: list[str], signals: list[np.ndarray], out: Path) -> list[Example]:
    """Write one voice's audio, as a session or one file an utterance, and return its examples."""
    extra = {"engine": voice.engine, "voice": voice.voice, "donor": voice.donor}
    common = {"subject": voice.name, "extra": extra}
    if voice.split == "test":
        examples = []
        for index, (text, signal) in enumerate(zip(texts, signals, strict=True)):
            path = Path("test", f"{voice.name}-{index:02d}.opus")
            write_opus(out / path, signal)
            examples.append(Example(str(out / path), len(signal) / SAMPLE_RATE, text=text, **common))
        return examples
    path = Path(voice.split, f"{voice.name}.opus")
    write_opus(out / path, np.concatenate(signals))
    starts = np.cumsum([0, *(len(signal) for signal in signals)]) / SAMPLE_RATE
    spans = zip(starts, np.diff(starts), texts, strict=False)
    return [
        Example(
            str(out / path), round(float(length), 2), text=text, offset=round(float(start), 2),
            id=f"{voice.name}-{index:02d}", **common,
        )
        for index, (start, length, text) in enumerate(spans)
    ]  # fmt: skip


def make(out: Path) -> None:
    """Write the audio and the three manifests below `out`."""
    splits: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    for voice in cast(np.random.default_rng(SEED)):
        if available(voice.engine, voice.voice):
            rng = stream(voice)
            texts = sentences(voice, rng)
            splits[voice.split] += save(voice, texts, record(voice, texts, rng), out)
    for split, examples in splits.items():
        manifest.write(out / f"{split}.jsonl", examples, overwrite=True)
        seconds = sum(example.duration for example in examples)
        voices = len({example.subject for example in examples})
        print(f"{split}: {len(examples)} utterances, {voices} voices, {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    make(parser.parse_args().out)
