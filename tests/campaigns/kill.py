"""Programs killed at random moments: nothing half-written is taken for whole, and what is resumed ends the same.

`python -m tests.campaigns.kill --count 20 --seed 0` kills each of these so often: training, preparing, downloading
(from a server of its own), exporting, and transcribing to a folder. Each is a process that gets SIGKILL at a moment
drawn from its whole run; then its folder is looked at, and the same line is run again to its end. The processes are
forked from one that has imported what they need, so that the moments fall into their work.
"""

import argparse
import functools
import hashlib
import http.server
import importlib
import io
import json
import multiprocessing
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import soundfile

from speechrnn import cli
from speechrnn.data import archives, download, manifest
from speechrnn.runtime import onnxfile
from tests.campaigns.harness import forked

ROOT = Path(__file__).resolve().parents[2]
_BLOCK, _BLOCKS = 1 << 14, 100


@dataclass
class Program:
    """What is killed, and how one knows that all is well."""

    run: Callable[[list[str]], int]
    """Does the work in the current folder, given the words of `again` or none; gives an exit code."""
    check: Callable[[Path], str]
    """Looks at the folder after a kill; gives what is wrong, "" for nothing."""
    whole: Callable[[Path], object]
    """What the folder holds at the end, to be compared with a run that nobody killed."""
    again: list[str] = field(default_factory=list)
    """Words of the second run alone."""


def trial(make: Callable[[Path], Program], moments: Sequence[float], folder: Path) -> list[str]:
    """Run a program to its end, then kill it at each moment and run it again; gives what is wrong.

    Args:
        make: Makes a program that works in a folder.
        moments: When it is killed, as parts of the time that it takes.
        folder: Where.
    """
    (folder / "whole").mkdir(parents=True)
    program = make(folder / "whole")
    started = time.monotonic()
    code, told = forked(lambda: program.run([]), folder / "whole")
    if code:
        raise RuntimeError(f"the run that nobody kills ends with {code}: {told[-3000:]}")
    seconds, expected = time.monotonic() - started, program.whole(folder / "whole")
    found = []
    for number, moment in enumerate(moments):
        there = folder / f"killed-{number}"
        there.mkdir()
        program = make(there)
        forked(lambda: program.run([]), there, moment * seconds)  # noqa: B023 - it is run at once
        try:
            wrong = program.check(there)
            if not wrong:
                code, told = forked(lambda: program.run(program.again), there)  # noqa: B023
                if code not in (0, 1):
                    wrong = f"the second run ends with {code}: {told[-2000:]}"
                elif program.whole(there) != expected:
                    wrong = "the second run ends with something else than one that nobody killed"
        except (OSError, ValueError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            found.append(f"killed after {moment:.2f} of {seconds:.1f} s: {wrong}")
        shutil.rmtree(there)
    return found


def _verb(*words: str) -> Callable[[list[str]], int]:
    return lambda again: cli.main([*words, *again])


# --------------------------------------------------------------------------------------------------------- programs


def recordings(folder: Path, count: int) -> None:
    (folder / "wav").mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        (folder / "wav" / f"r{number}.wav").write_bytes(_wav(0.1 * rng.standard_normal(6000)))


def _wav(samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 8000, format="WAV")
    return out.getvalue()


def training(folder: Path) -> Program:
    """Six epochs over a dozen recordings."""
    importlib.import_module("speechrnn.training")
    recordings(folder, 12)
    texts = ["ab", "ba", "a b", "aab"] * 3
    examples = [
        manifest.Example(str(folder / "wav" / f"r{number}.wav"), 0.75, text=text) for number, text in enumerate(texts)
    ]
    manifest.write(folder / "m.jsonl", examples)
    words = ["train", "m.jsonl", "--valid", "m.jsonl", "--out", "m.keras", "--epochs", "6", "--units", "8"]
    words += ["--layers", "1", "--batch-seconds", "3", "--seed", "3", "--sample-rate", "8000"]
    return Program(_verb(*words), _sound_models, _weights, ["--resume"])


def _sound_models(folder: Path) -> str:
    """Every file that has a model's name is one; so is every manifest, and a state has its weights."""
    models = list(folder.rglob("[!.]*.keras"))
    if models:
        from speechrnn.models import guard  # which starts Keras

        for path in models:
            guard.check(str(path))
    for path in folder.rglob("[!.]*.onnx"):
        onnxfile.read(path)
    for path in folder.rglob("[!.]*.jsonl"):
        manifest.read(path)
    state = folder / "m.training" / "state.json"
    if state.exists():
        epoch = json.loads(state.read_text())["epoch"]
        if not (state.parent / f"state-{epoch:04d}.weights.h5").exists():
            return f"the state of epoch {epoch} has no weights"
    return ""


def _weights(folder: Path) -> object:
    """Digests of the weights of the best and of the last model, and the losses of the log."""
    found = []
    for path in (folder / "m.keras", folder / "m.training" / "last.keras"):
        with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            found.append(hashlib.sha256(b"".join(_arrays(file))).hexdigest())
    log = (folder / "m.training" / "log.csv").read_text().splitlines()
    return found, [line.split(",")[:2] for line in log]


def _arrays(group: h5py.Group) -> Iterator[bytes]:
    for name in sorted(group):
        value = group[name]
        if isinstance(value, h5py.Group):
            yield from _arrays(value)
        else:
            yield value[()].tobytes()


def preparing(folder: Path) -> Program:
    """A manifest of a few hundred recordings."""
    recordings(folder, 300)
    rows = [f"wav/r{number}.wav,text {number % 7}" for number in range(300)]
    (folder / "t.csv").write_text("path,text\n" + "\n".join(rows) + "\n")
    words = _verb("prepare", "table", "t.csv", "--out", "out")

    def whole(folder: Path) -> object:
        return (folder / "out" / "t.jsonl").read_bytes().replace(bytes(folder), b"")

    return Program(words, _sound_models, whole, ["--overwrite"])


def downloading(folder: Path, port: int) -> Program:
    """An archive from a server that is in no hurry."""

    def run(again: list[str]) -> int:
        checksum = f"sha256:{hashlib.sha256(_archive()).hexdigest()}"
        known = {"x": archives.Archive((f"http://127.0.0.1:{port}/x.tar.gz",), "x", "none", checksum)}
        download.archives = lambda: known  # in this process, which is a child
        download.download("x", "out", overwrite=True)
        return 0

    def check(folder: Path) -> str:
        for path in (folder / "out").glob("*"):
            if path.name == "x.tar.gz" and path.read_bytes() != _archive():
                return "the archive is there under its name, and is not whole"
        there = [path for path in (folder / "out" / "x").glob("*") if path.stat().st_size != _BLOCK]
        return f"{there[0]} is half there" if there else ""

    def whole(folder: Path) -> object:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "out" / "x").glob("*")}

    return Program(run, check, whole)


@functools.cache
def _archive() -> bytes:
    out, rng = io.BytesIO(), np.random.default_rng(0)
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for number in range(_BLOCKS):
            entry = tarfile.TarInfo(f"x/{number}.bin")
            entry.size = _BLOCK
            tar.addfile(entry, io.BytesIO(rng.bytes(_BLOCK)))
    return out.getvalue()


class _Slow(http.server.BaseHTTPRequestHandler):
    """Serves the archive in pieces, with ranges."""

    def do_GET(self) -> None:  # the name that the class asks for
        """Serve."""
        content = _archive()
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        for place in range(start, len(content), 1 << 16):
            self.wfile.write(content[place : place + (1 << 16)])
            time.sleep(0.02)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def server() -> Iterator[int]:
    """A server of the archive; gives its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as one:
        one.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked was killed
        _archive()  # or each child would make one of its own
        process = multiprocessing.get_context("fork").Process(target=one.serve_forever, daemon=True)
        process.start()  # a thread here would be forked with every child
        try:
            yield one.server_address[1]
        finally:
            process.kill()


def exporting(folder: Path) -> Program:
    """A model of the first edition as ONNX."""
    importlib.import_module("speechrnn.export.writing")
    source = ROOT / "tests" / "first_edition" / "recognizer.keras"
    words = _verb("export", "--model", str(source), "--out", "m.onnx")

    def whole(folder: Path) -> object:
        return onnxfile.read(folder / "m.onnx").metadata["digest"]

    return Program(words, _sound_models, whole, ["--overwrite"])


def transcribing(folder: Path) -> Program:
    """Two dozen recordings, two files for each."""
    recordings(folder, 24)
    names = [f"wav/r{number}.wav" for number in range(24)]
    words = _verb("transcribe", *names, "--format", "json", "srt", "--out-dir", "out")

    def check(folder: Path) -> str:
        for path in (folder / "out").glob("[!.]*.json"):
            json.loads(path.read_text())
        return ""

    def whole(folder: Path) -> object:
        found = {path.name: path.read_text() for path in (folder / "out").glob("[!.]*")}
        assert len(found) == 48, sorted(found)
        return found

    return Program(words, check, whole, ["--overwrite"])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the campaign; 1 if it found anything."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.kill", description=(__doc__ or "").partition("\n")[0]
    )
    names = ["preparing", "downloading", "transcribing", "exporting", "training"]
    parser.add_argument("--count", type=int, default=20, help="how often each is killed (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--programs", nargs="+", choices=names, default=names, help="which")
    given = parser.parse_args(argv)
    print(f"seed {given.seed}, {given.count} kills of each of {', '.join(given.programs)}", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary, server() as port:
        for name in given.programs:
            moments = np.random.default_rng([given.seed, names.index(name)]).uniform(0.02, 1.0, given.count)
            make = functools.partial(downloading, port=port) if name == "downloading" else globals()[name]
            found = trial(make, list(moments), Path(temporary, name))
            print(f"{name}: killed {given.count} times, {len(found)} findings", *found, sep="\n  ", flush=True)
            failed += len(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
