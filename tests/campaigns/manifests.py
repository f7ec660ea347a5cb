"""Damaged manifests, tables and corpora's lists: read as an independent reader reads them, or refused, line by line.

`python -m tests.campaigns.manifests --count 2000 --seed 0` tries them; a finding is printed with the words that make
its file again. Of a manifest every line that is not white must be an example or a fault, and an example must hold what
Python's `json` finds in its line; of the lists that corpora come with, every recording must be in a manifest or named.
"""

import csv
import functools
import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import soundfile

from speechrnn.data import corpora, manifest
from speechrnn.faults import Faults
from tests.campaigns.harness import WrongError, damage, main

_TEXTS = ["yes no", "naïve", "二", "don't", "go to ten", "Ω mega", "a, b", 'say "so"']
_NAMES = [f"r{number}" for number in range(6)]


def attempt(kind: str, seed: int, folder: Path) -> None:
    """Make a file of a kind, damage it, read it, and compare.

    Raises:
        WrongError: A line vanished, or holds something else.
        ValueError, OSError: It was refused.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind.startswith("jsonl"):
        _manifest(rng, folder, kind)
    else:
        _corpus(rng, folder, kind)


# --------------------------------------------------------------------------------------------------- our manifests


def _manifest(rng: np.random.Generator, folder: Path, kind: str) -> None:
    lines = [json.dumps(_entry(rng, number), ensure_ascii=bool(rng.integers(2))) for number in range(20)]
    content = ("\n".join(lines) + "\n").encode()
    damaged, _ = damage(rng, content, header=len(content) if kind == "jsonl-header" else 0)
    path = folder / "m.jsonl"
    path.write_bytes(damaged)
    faults = Faults()
    examples = manifest.read(path, faults=faults)
    lines_there = [line for line in damaged.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    if len(examples) + len(faults) != max(1, len(lines_there)):
        raise WrongError(f"{len(lines_there)} lines gave {len(examples)} examples and {len(faults)} faults")
    waiting = iter(examples)
    wrong = {fault.where for fault in faults}
    for number, line in enumerate(damaged.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip() and f"{path}:{number}" not in wrong:
            _compare(next(waiting), json.loads(line), folder)
    manifest.read(path)  # and without a collector the first fault is an error


def _compare(example: manifest.Example, entry: dict[str, object], folder: Path) -> None:
    found = {name: getattr(example, name) for name in entry}
    found["path"] = str(entry["path"]) if str(entry["path"]).startswith("/") else found["path"]
    wanted = {**entry, "path": str(folder / str(entry["path"]))}
    for name, value in wanted.items():
        held = found[name]
        if name == "labels" and held is not None:
            held = json.loads(json.dumps(held))
        if name == "path":
            held, value = Path(str(held)).resolve(), Path(str(value)).resolve()
        if value is None or (name == "id" and value == ""):
            continue
        if held != value and not (isinstance(value, float | int) and math.isclose(float(value), float(str(held)))):
            raise WrongError(f"`{name}` is {held!r}, and the line says {value!r}")


def _entry(rng: np.random.Generator, number: int) -> dict[str, object]:
    entry: dict[str, object] = {"path": f"wav/a{number}.flac", "duration": round(float(rng.uniform(0.1, 9)), 3)}
    choices = {
        "text": str(rng.choice(_TEXTS)), "label": int(rng.integers(9)), "labels": [[0.0, 0.5, "x"], [0.5, 1.0, "y"]],
        "offset": round(float(rng.uniform(0, 3)), 2), "channel": int(rng.integers(3)), "id": f"u{number}",
        "subject": str(rng.choice(_TEXTS)), "extra": {"rate": 100.0, "channels": ["a", 1], "table": {"decimal": ","}},
    }  # fmt: skip
    return entry | {name: value for name, value in choices.items() if rng.random() < 0.5}


# --------------------------------------------------------------------------------------------- lists of corpora


def _corpus(rng: np.random.Generator, folder: Path, kind: str) -> None:
    place, list_file, options = _CORPORA[kind](folder / "corpus")
    whole = list_file.read_bytes()
    damaged, _ = damage(rng, whole)
    list_file.write_bytes(damaged)
    faults = Faults()
    made = corpora.prepare_function(kind.partition("-")[0])(place, folder / "out", faults=faults, **options)
    for split, examples in made.items():
        written = manifest.read(folder / "out" / f"{split}.jsonl") if examples else []
        if [example.id for example in written] != [example.id for example in examples]:
            raise WrongError(f"the manifest of {split} holds other examples")
    named = sum(map(len, made.values())) + len(faults)
    lines = _lines(kind, damaged)
    if lines is not None and named < lines:
        raise WrongError(f"{lines} lines gave {named} examples and faults")


def _lines(kind: str, content: bytes) -> int | None:
    """How many recordings a list names, by an independent count."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if kind == "table":
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        return len(rows) - 1
    return sum(bool(line.strip()) for line in text.split("\n"))


def _recordings(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(_NAMES):
        (folder / f"{name}.wav").write_bytes(_recording(800 + 80 * number))


@functools.cache
def _recording(samples: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.full(samples, 0.1, "float32"), 8000, format="WAV")
    return out.getvalue()


def _table(folder: Path) -> tuple[Path, Path, dict[str, object]]:
    _recordings(folder)
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["file", "said", "who"])
    writer.writerows(
        [f"{name}.wav", text, f"s{i % 2}"] for i, (name, text) in enumerate(zip(_NAMES, _TEXTS, strict=False))
    )
    path = folder / "t.csv"
    path.write_text(out.getvalue(), newline="")
    return path, path, {"path_column": "file", "text_column": "said", "subject_column": "who"}


def _kaldi(which: str, folder: Path) -> tuple[Path, Path, dict[str, object]]:
    _recordings(folder)
    (folder / "wav.scp").write_text("".join(f"{name} {name}.wav\n" for name in _NAMES))
    (folder / "text").write_text("".join(f"{name} {text}\n" for name, text in zip(_NAMES, _TEXTS, strict=False)))
    (folder / "utt2spk").write_text("".join(f"{name} s1\n" for name in _NAMES))
    return folder, folder / which, {}


def _ljspeech(folder: Path) -> tuple[Path, Path, dict[str, object]]:
    _recordings(folder / "wavs")
    path = folder / "metadata.csv"
    path.write_text("".join(f"{name}|{text}|{text}\n" for name, text in zip(_NAMES, _TEXTS, strict=False)))
    return folder, path, {}


_CORPORA = {
    "table": _table,
    "kaldi-scp": lambda folder: _kaldi("wav.scp", folder),
    "kaldi-text": lambda folder: _kaldi("text", folder),
    "ljspeech": _ljspeech,
}
KINDS = ["jsonl", "jsonl-header", *_CORPORA]

if __name__ == "__main__":
    sys.exit(main("tests.campaigns.manifests", KINDS, __doc__ or ""))
