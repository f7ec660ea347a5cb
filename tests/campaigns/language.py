"""Damaged files about language: ARPA and binary models, lexicons, grammars, word lists, calibrations.

`python -m tests.campaigns.language --count 2000 --seed 0` tries them; a finding is printed with the words that make its
file again. What is read is compared: an ARPA file with a plain parser below, a grammar with Python's regular
expressions, a calibration with `json`; what has a checksum or its own form must be what was there before.
"""

import functools
import gzip
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from speechrnn.decoding.automata import Grammar
from speechrnn.decoding.lm import arpa, kneser_ney, ngram
from speechrnn.decoding.options import decoder
from speechrnn.faults import Faults
from speechrnn.metrics.calibration import Calibration
from speechrnn.text import Vocabulary, lexicons, packed
from tests.campaigns.harness import WrongError, damage, main

_SENTENCES = ["yes no yes", "go to ten", "stop", "go to one", "no no stop", "yes go"] * 3
_VOCABULARY = Vocabulary(" abcdefghijklmnopqrstuvwxyz'")


def warm(folder: Path) -> None:
    """Read a whole file of each kind."""
    for kind in KINDS:
        name = folder / _NAMES[kind]
        name.write_bytes(_whole()[kind])
        _READ[kind](name, np.random.default_rng(0))


def attempt(kind: str, seed: int, folder: Path) -> None:
    """Make a file of a kind, damage it, read it, and compare.

    Raises:
        WrongError: It was read as something that it does not say.
        ValueError, OSError: It was refused.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    path = folder / _NAMES[kind]
    path.write_bytes(_hostile(rng, kind) or damage(rng, _whole()[kind])[0])
    _READ[kind](path, rng)


@functools.cache
def _whole() -> dict[str, bytes]:
    """The content of a whole file of each kind."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = kneser_ney.train(_SENTENCES, order=3)
        for name in ("a.arpa", "a.arpa.gz", "a.lm"):
            model.write(folder / name)
        (folder / "w.dict").write_text("YES  Y EH1 S\nNO  N OW1\nGO  G OW1\nTEN  T EH1 N\nTEN(2)  T IH1 N\n")
        held = lexicons.read(folder / "w.dict")
        held.write(folder / "a.lexicon")
        (folder / "a.packed").write_bytes(packed.pack(held, held.vocabulary()))
        Calibration(1.25, -0.5).write(folder / "c.json", words=10)
        (folder / "g.txt").write_text(
            "command = <verb> [again] | go <to>+ ; # what may be said\nto = to (one | ten)* ;\nverb = stop | repeat ;\n"
        )
        (folder / "words.txt").write_text("yes\nno\ngo to ten\n")
        return {kind: (folder / file).read_bytes() for kind, file in _NAMES.items()}


def _hostile(rng: np.random.Generator, kind: str) -> bytes | None:
    """One file in eight is made to take long, or to lie deep."""
    if rng.random() > 0.125:
        return None
    size = int(rng.integers(100, 100_000))
    if kind == "grammar":
        doubled = ";".join(f"r{n} = <r{n + 1}> <r{n + 1}>" for n in range(60)) + "; r60 = yes"
        hard = "(" + "yes | no)* yes " + "(yes | no) " * int(rng.integers(10, 40))
        options = "[yes] " * int(rng.integers(10, 3000))
        return str(rng.choice(["(" * size + "yes" + ")" * size, doubled, hard, options, "yes" * size])).encode()
    if kind == "calibration":
        numbers = ["NaN", "1e999", "-1", "true", '"1"', "[]", "1" * size, "{}", "null"]
        return str(
            rng.choice(["[" * size, f'{{"slope": {rng.choice(numbers)}, "offset": {rng.choice(numbers)}}}'])
        ).encode()
    if kind == "arpa":
        return f"\\data\\\nngram 1={10 ** int(rng.integers(2, 30))}\n\n\\1-grams:\n-1 yes\n".encode()
    if kind == "arpa-gz":
        return gzip.compress(bytes(int(rng.integers(1, 200)) << 20))
    return None


# --------------------------------------------------------------------------------------------- independent readers


def _arpa(path: Path, rng: np.random.Generator) -> None:
    model = ngram.load(path, cache=False)
    content = path.read_bytes()
    expected = _parsed((gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig"))
    words, levels = arpa.read(path)
    found = {}
    for level in levels:
        rows = zip(level.words.tolist(), level.log_probabilities / arpa.LN10, level.backoffs / arpa.LN10, strict=True)
        for ids, log, backoff in rows:
            found[tuple(words[number] for number in ids)] = float(log), float(backoff)
    if found.keys() != expected.keys():
        raise WrongError(f"{len(found)} n-grams, and not {len(expected)}")
    for gram, numbers in found.items():
        if not np.allclose(numbers, expected[gram], rtol=1e-9, atol=1e-9):
            raise WrongError(f"{gram} has {numbers}, and not {expected[gram]}")
    if not math.isfinite(model.sentence(["yes", "no"])):
        raise WrongError("a sentence has no finite probability")


def _parsed(text: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """What a plain reader finds between `\\1-grams:` and `\\end\\`."""
    order, found = 0, {}
    for line in text.split("\n"):
        line = line.strip(" \t\r")
        if heading := re.fullmatch(r"\\(\d+)-grams:", line):
            order = int(heading[1])
        elif line == "\\end\\":
            break
        elif order and line:
            number, *rest = line.replace("\t", " ").split(" ")
            rest = [field for field in rest if field]
            gram = tuple(word.lower() if word.lower() in ("<s>", "</s>", "<unk>") else word for word in rest[:order])
            log = max(float(number), -99.0) if math.isinf(float(number)) else float(number)
            found[gram] = log, float(rest[order]) if len(rest) > order else 0.0
    return found


def _same(kind: str, made: Callable[[Path], object]) -> Callable[[Path, np.random.Generator], None]:
    """A reader of files that have a checksum: what is read is what was there."""

    def read(path: Path, rng: np.random.Generator) -> None:
        found = made(path)
        whole = path.with_name(f"whole-{path.name}")
        whole.write_bytes(_whole()[kind])
        if found != made(whole):
            raise WrongError("something else was read")

    return read


def _scores(path: Path) -> list[float]:
    model = ngram.load(path, cache=False)
    return [round(model.sentence(sentence.split()), 6) for sentence in _SENTENCES]


def _packed(path: Path) -> dict[str, object]:
    return dict(packed.PackedLexicon(memoryview(path.read_bytes()), str(path)))


def _lexicon(path: Path, rng: np.random.Generator) -> None:
    faults = Faults()
    found = lexicons.read(path, faults=faults)
    text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line.strip()]
    if sum(map(len, found.values())) + len(faults) > len(lines):
        raise WrongError(f"{len(found)} words of {len(lines)} lines")
    lexicons.read(path)


def _grammar(path: Path, rng: np.random.Generator) -> None:
    decoder(_VOCABULARY, grammar=path)
    text = path.read_text(encoding="utf-8-sig")
    grammar = Grammar.parse(_VOCABULARY, text)
    pattern = _regular(text)
    if pattern is None:
        return
    words = [word for word in re.findall(r"[a-z']+", text) if word not in ("command", "verb")] or ["yes"]
    for _ in range(100):
        said = " ".join(map(str, rng.choice(words, int(rng.integers(1, 5)))))
        wanted = pattern.fullmatch(said + " ") is not None
        if grammar.allows(_VOCABULARY.encode(said)) != wanted:
            raise WrongError(f"{said!r} is {'not ' * wanted}allowed")


def _regular(text: str) -> re.Pattern[str] | None:
    """The grammar as a regular expression of words, each with a space behind it; `None` where it is too large."""
    if len(text) > 2000:
        return None
    text = "\n".join(line.partition("#")[0] for line in re.split("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", text))
    rules: dict[str, str] = {}
    for number, rule in enumerate(part.strip() for part in text.split(";") if part.strip()):
        name, mark, body = rule.partition("=")
        rules[name.strip() if mark else f"\0{number}"] = body if mark else rule

    def within(body: str, left: int = 12) -> str:
        if left < 0:
            raise RecursionError
        made = ""
        for token in re.findall(r"<[^<>\s]+>|[|()\[\]*+]|[^\s|()\[\]*+<>]+", body):
            if token[0] == "<":
                made += f"(?:{within(rules[token[1:-1]], left - 1)})"
            elif token in "|*+":
                made += token
            else:
                made += {"(": "(?:", "[": "(?:(?:", ")": ")", "]": ")|)"}.get(token, f"(?:{re.escape(token)} )")
        return made

    try:
        return re.compile(within(next(iter(rules.values()))))
    except (RecursionError, re.error, KeyError):
        return None


def _calibration(path: Path, rng: np.random.Generator) -> None:
    found = Calibration.read(path)
    entry = json.loads(path.read_bytes().decode("utf-8-sig"))
    if (found.slope, found.offset) != (entry["slope"], entry["offset"]):
        raise WrongError(f"{found}, and not {entry}")
    p = found(np.linspace(0, 1, 11))
    if not (np.isfinite(p).all() and (np.diff(p) >= 0).all() and p.min() >= 0 and p.max() <= 1):
        raise WrongError(f"confidences become {p}")


_NAMES = {
    "arpa": "a.arpa", "arpa-gz": "a.arpa.gz", "lm": "a.lm", "lexicon": "w.dict", "lexicon-own": "a.lexicon",
    "grammar": "g.txt", "words": "words.txt", "calibration": "c.json",
    "lexicon-packed": "a.packed",
}  # fmt: skip
_READ: dict[str, Callable[[Path, np.random.Generator], object]] = {
    "arpa": _arpa,
    "arpa-gz": _arpa,
    "lm": _same("lm", _scores),
    "lexicon": _lexicon,
    "lexicon-own": _lexicon,
    "lexicon-packed": _same("lexicon-packed", _packed),
    "grammar": _grammar,
    "words": lambda path, rng: decoder(_VOCABULARY, words=path),
    "calibration": _calibration,
}
KINDS = list(_NAMES)

if __name__ == "__main__":
    sys.exit(main("tests.campaigns.language", KINDS, __doc__ or ""))
