"""Every verb of an install without extras, on sound input and on bad: run by `make test-base` with the wheel alone.

Each command must end with the exit code that is promised, and never with a traceback.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

FIRST = Path(__file__).resolve().parent / "first_edition"
MISSING = ("tensorflow", "keras", "librosa", "pandas", "scipy", "sklearn", "wfdb", "matplotlib", "onnx", "pytest")

failures = []
codes = {}
"""Exit codes by verb."""
LACKING = {
    *["train", "export", "report", "doctor", "serve", "translate", "download", "merge", "spot", "speak"],
    "lexicon pack",
}
"""Verbs that can do nothing without an extra, a network, or what is not here: they say what is missing."""


def speechrnn(*words, code, says="", stdin=None):
    """Run a command line; note what is wrong with its end."""
    done = subprocess.run(
        [sys.executable, "-m", "speechrnn", *map(str, words)], capture_output=True, text=True, input=stdin, timeout=300
    )
    told = done.stdout + done.stderr
    verb = " ".join(map(str, words[:2])) if words[0] in ("lm", "lexicon") else words[0]
    codes.setdefault(verb, set()).add(done.returncode)
    line = "speechrnn " + " ".join(map(str, words))
    if "Traceback" in told or done.returncode != code or says not in told:
        failures.append(f"{line}\n  wanted {code} {says!r}, got {done.returncode}:\n{told[-1500:]}")
    print("ok    " if not failures or not failures[-1].startswith(line + "\n") else "FAULT ", line, file=sys.stderr)
    return done.stdout


def front_door(folder):
    """The Python of the front door, as far as it needs no TensorFlow."""
    import speechrnn as sr

    assert sr.transcribe(folder / "tone.wav").duration == 1.0
    model = sr.load("english_letters_numbers")
    good, bad = model.transcribe([folder / "tone.wav", folder / "bad.wav"], on_error="collect")
    assert good.ok and not bad.ok and "bad.wav" in bad.error
    splits = sr.prepare("table", folder / "all.csv", out=folder / "m", path_column="file", text_column="text")
    assert "WER" in str(model.evaluate(splits["all"]))
    assert sr.load(FIRST / "classifier.onnx").classify(folder / "record.npz").label in ("x", "y", "z")
    assert sr.load(FIRST / "forecaster.onnx").forecast(folder / "series.npz").median.shape == (4, 2)
    for path in (FIRST / "recognizer.keras", FIRST / "streaming.tflite"):
        try:
            sr.load(path)
        except ModuleNotFoundError as error:
            assert "pip install 'speechrnn[" in str(error), error
        else:
            raise AssertionError(f"{path} was loaded without what it needs")
    assert not {"tensorflow", "keras"} & sys.modules.keys()


def main():
    """Try everything; the exit code is 1 if anything is wrong."""
    for name in MISSING:
        assert importlib.util.find_spec(name) is None, f"{name} is installed here: this is no base install"
    folder = Path(tempfile.mkdtemp(prefix="base-"))
    os.chdir(folder)
    os.environ["SPEECHRNN_CACHE"] = str(folder / "cache")  # what the user's cache holds of these models opens them
    from speechrnn import audio

    rng = np.random.default_rng(0)
    audio.write("tone.wav", 0.1 * np.sin(np.arange(16000) / 5).astype("float32"), 16000)
    Path("bad.wav").write_bytes(b"RIFF no audio")
    Path("all.csv").write_text("file,text\ntone.wav,yes\n")
    Path("record.csv").write_text("a,b\n" + "1.5,2.5\n" * 50)
    Path("texts.txt").write_text("yes no\nno yes\nyes yes\n" * 5)
    Path("words.txt").write_text("yes Y EH S\nno N OW\n")
    np.savez("record.npz", signal=rng.normal(size=(50, 2)).astype("float32"), rate=50.0)
    np.savez("series.npz", signal=rng.normal(size=(50, 2)).astype("float32"), rate=1.0)
    front_door(folder)

    speechrnn("--help", code=0, says="transcribe")
    speechrnn("transcribe", "tone.wav", code=0)
    speechrnn("transcribe", "tone.wav", "bad.wav", "--json", code=1, says="bad.wav")
    speechrnn("transcribe", "tone.wav", "--model", FIRST / "recognizer.keras", code=2, says="speechrnn[train]")
    speechrnn("transcribe", "gone.wav", code=1, says="gone.wav")
    speechrnn("stream", "tone.wav", code=0)
    speechrnn("serve", "--port", "0", code=2, says="speechrnn[server]")
    speechrnn("align", "tone.wav", "yes", code=0)
    speechrnn("prepare", "table", "all.csv", "--out", "t", "--path-column", "file", "--text-column", "text", code=0)
    speechrnn("check-manifest", "t/all.jsonl", code=0)
    speechrnn("evaluate", "t/all.jsonl", code=0, says="WER")
    speechrnn("evaluate", "gone.jsonl", code=2, says="gone.jsonl")
    speechrnn("calibrate", "t/all.jsonl", "--out", "c.json", "--model", "english_letters_numbers", code=0)
    speechrnn("classify", "record.npz", "--model", FIRST / "classifier.onnx", code=0)
    speechrnn(
        "classify", "record.csv", "record.npz", "--model", FIRST / "classifier.onnx", code=1, says="speechrnn[signals]"
    )
    speechrnn("forecast", "series.npz", "--model", FIRST / "forecaster.onnx", code=0)
    speechrnn("forecast", "record.csv", "--model", FIRST / "forecaster.onnx", code=1, says="speechrnn[signals]")
    speechrnn("anomalies", "series.npz", "--model", FIRST / "forecaster.onnx", code=0)
    speechrnn("lm", "train", "texts.txt", "--out", "a.arpa", code=0)
    speechrnn("lm", "perplexity", "texts.txt", "--model", "a.arpa", code=0)
    speechrnn("lexicon", "build", "words.txt", "--out", "a.lexicon", code=0)
    speechrnn("train", "t/all.jsonl", "--out", "m.keras", code=2, says="speechrnn[train]")
    speechrnn("export", "--model", FIRST / "recognizer.keras", "--out", "m.onnx", code=2, says="speechrnn[train]")
    speechrnn("report", "t/all.jsonl", "--out", "page.html", code=2, says="speechrnn[report]")
    speechrnn("doctor", "--model", FIRST / "recognizer.keras", code=2, says="speechrnn[train]")
    speechrnn("stream", "gone.wav", code=2, says="gone.wav")
    speechrnn("align", "tone.wav", "zzqx", code=2, says="zzqx")
    speechrnn("align", "bad.wav", "yes", code=2, says="bad.wav")
    speechrnn("prepare", "table", "gone.csv", "--out", "u", code=2, says="gone.csv")
    speechrnn("check-manifest", "gone.jsonl", code=2, says="gone.jsonl")
    speechrnn("calibrate", "gone.jsonl", "--out", "d.json", code=2, says="gone.jsonl")
    speechrnn("anomalies", "record.csv", "--model", FIRST / "forecaster.onnx", code=1, says="speechrnn[signals]")
    speechrnn("generate", "a", "--model", FIRST / "language.onnx", code=0)
    speechrnn("generate", "a", "--model", FIRST / "classifier.onnx", code=2, says="classifier.onnx")
    speechrnn("speak", "a", "--model", FIRST / "classifier.onnx", "--json", code=2, says="classifier.onnx")
    speechrnn("spot", "tone.wav", "--model", FIRST / "classifier.onnx", code=2, says="A spotter needs")
    speechrnn("translate", "a", "--model", FIRST / "classifier.onnx", code=2, says="classifier.onnx")
    speechrnn("merge", "gone", code=2, says="gone")
    speechrnn("download", "nothing", "--out", "u", code=2, says="unknown corpus")
    speechrnn("lm", "train", "gone.txt", "--out", "b.arpa", code=2, says="gone.txt")
    speechrnn("lm", "perplexity", "texts.txt", "--model", "bad.wav", code=2, says="bad.wav")
    speechrnn("lm", "tune", "t/all.jsonl", "--lm", "a.arpa", "--out", "tuned.json", code=0)
    speechrnn("lm", "tune", "t/all.jsonl", "--lm", "bad.wav", code=2, says="bad.wav")
    speechrnn("lexicon", "build", "gone.txt", "--out", "b.lexicon", code=2, says="gone.txt")
    speechrnn("pronounce", "yes", "--lexicon", "a.lexicon", code=0, says="Y EH S")
    speechrnn("pronounce", "yes", "--lexicon", "gone.lexicon", code=2, says="gone.lexicon")
    speechrnn(
        "lexicon", "pack", "--model", FIRST / "recognizer.onnx", "--lexicon", "gone.lexicon", "--out", "p.onnx", code=2
    )
    speechrnn("completion", "bash", code=0)
    speechrnn("completion", "nothing", code=2)
    from speechrnn.cli import register

    for verb in register.names():
        seen = codes.get(verb, set())
        if not seen & {1, 2}:
            failures.append(f"{verb}: nothing bad was tried")
        if 0 not in seen and verb not in LACKING:
            failures.append(f"{verb}: nothing sound was tried")
    shutil.rmtree(folder)
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    print(f"{len(failures)} commands failed." if failures else "The base install does what it promises.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
