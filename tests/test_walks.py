"""CONTRIBUTING's walks, done with toys in a copy of the package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from speechrnn import audio

ROOT, WALKS = Path(__file__).resolve().parents[1], Path(__file__).parent / "walks"


@pytest.fixture
def house(tmp_path):
    """A copy of the package, to which a file and a line can be added."""
    shutil.copytree(
        ROOT / "speechrnn", tmp_path / "speechrnn", ignore=shutil.ignore_patterns("pretrained", "__pycache__")
    )
    return tmp_path


def insert(path, behind, line):
    """Put a line behind the one that begins with `behind`."""
    text = path.read_text()
    assert text.count(f"\n{behind}") == 1, f"{path}: {behind}"
    path.write_text(text.replace(f"\n{behind}", f"\n{behind}\n    {line}", 1))


def python(house, *arguments, code=0):
    environment = {**os.environ, "PYTHONPATH": str(house), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=house)
    assert done.returncode == code, done.stderr
    return done.stdout


def recordings(folder, rng):
    folder.mkdir()
    for name, level in (("yes_please", 0.1), ("no", 0.5)):
        audio.write(folder / f"{name}.wav", np.full(4000, level, "float32"), 8000)
    return folder


def test_add_a_corpus(house, rng):
    shutil.copy(WALKS / "toy.py", house / "speechrnn/data/corpora/toy.py")
    insert(house / "speechrnn/data/corpora/__init__.py", "CORPORA = {", '"toy": "two recordings a folder",')
    folder = recordings(house / "toy", rng)
    python(house, "-m", "speechrnn", "prepare", "toy", str(folder), "--out", "manifests")
    assert '"text": "yes please"' in (house / "manifests/train.jsonl").read_text()


def test_add_an_export_target(house):
    shutil.copy(WALKS / "weights.py", house / "speechrnn/export/weights.py")
    line = '"weights": Target(".npz", "speechrnn.export.weights:write"),'
    insert(house / "speechrnn/export/targets.py", "TARGETS = {", line)
    model = ROOT / "tests/first_edition/classifier.keras"
    python(house, "-c", f"import speechrnn as sr; sr.load(r'{model}').export('w.npz')")
    assert "logits/bias" in {"/".join(name.split("/")[-2:]) for name in np.load(house / "w.npz")}


def test_add_a_kind(house, rng):
    shutil.copytree(WALKS / "level", house / "speechrnn/tasks/level")
    insert(house / "speechrnn/models/kinds.py", "KINDS = (", '"speechrnn.tasks.level",')
    recordings(house / "toy", rng)
    code = """
import speechrnn as sr
from speechrnn.models import kinds
levels = {"no": 5.0, "yes_please": 1.0}
examples = [sr.Example(f"toy/{name}.wav", 0.5, extra={"level": level}) for name, level in levels.items()]
model = kinds.resolve(kinds.named("level meter").build)(examples)
sr.train(model, examples, out="m.keras", options=sr.TrainingOptions(epochs=2), verbose=False)
kept = sr.load("m.keras")
kept.export("m.onnx")
session = sr.load("m.onnx")
one, other = kept.measure("toy/no.wav"), session.measure("toy/no.wav")
print(type(session).__name__, abs(one.level - other.level) < 1e-5, session.measure("gone.wav", on_error="collect").ok)
print(session.evaluate(examples))
"""
    out = python(house, "-c", code).splitlines()
    assert out[-2] == "LevelSession True False" and out[-1].startswith("mean error")
    assert (
        json.loads(python(house, "-m", "speechrnn", "measure", "toy/no.wav", "--model", "m.onnx"))["path"]
        == "toy/no.wav"
    )


def test_add_a_verb(house):
    shutil.copy(WALKS / "hello.py", house / "speechrnn/cli/hello.py")
    insert(house / "speechrnn/cli/register.py", "VERBS = {", '"hello": (_REST, "Greet somebody."),')
    assert python(house, "-m", "speechrnn", "hello", "you", "--loud") == "HELLO, YOU\n"
    assert "Whom to greet." in python(house, "-m", "speechrnn", "hello", "--help")
    assert "hello " in python(house, "-m", "speechrnn", "--help")
