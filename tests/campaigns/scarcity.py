"""Too little of everything: full disks, no home, closed streams, few descriptors, several processes on one cache.

`python -m tests.campaigns.scarcity` tries each; `--only full_disk` some of them. A command must end with one of its
exit codes and a sentence, never with a traceback; a file that could not be written whole must not be there; what was
there before must stay as it was. As root a tiny file system is mounted for the full disk, and a user without rights
takes over; else a limit of file sizes stands for the disk, and that user is left out.
"""

import argparse
import contextlib
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from speechrnn import cli
from speechrnn.data import download, manifest
from speechrnn.data.manifest import Example
from speechrnn.decoding.lm import ngram
from speechrnn.files import cache_folder
from speechrnn.pipeline import cache
from speechrnn.pipeline.records import Records
from speechrnn.pipeline.selection import Entry
from tests.campaigns.harness import forked
from tests.campaigns.kill import ROOT, recordings, server

_FIRST = ROOT / "tests" / "first_edition"
_NOBODY = 65534
_CODES = (0, 1, 2)


def _verb(*words: object) -> Callable[[], int]:
    return lambda: cli.main([str(word) for word in words])


def _told(code: int | None, output: str, wanted: Sequence[int], says: str = "") -> list[str]:
    """What is wrong with how a command ended."""
    if "Traceback" in output or code not in wanted or says not in output:
        return [f"wanted exit code {wanted} and {says!r}, got {code}: {output[-800:]}"]
    return []


def _data(folder: Path) -> Path:
    """Recordings, a table and a manifest of them, texts."""
    recordings(folder, 12)
    (folder / "t.csv").write_text("path,text\n" + "".join(f"wav/r{n}.wav,yes no {n}\n" for n in range(12)))
    examples = [Example(str(folder / "wav" / f"r{n}.wav"), 0.75, text="yes") for n in range(12)]
    manifest.write(folder / "m.jsonl", examples)
    (folder / "texts.txt").write_text("yes no\nno yes yes\n" * 500)
    np.savez(folder / "series.npz", signal=np.random.default_rng(0).normal(size=(50, 2)).astype("f4"), rate=1.0)
    return folder


@contextmanager
def _tiny(folder: Path, size: int = 16384) -> Iterator[Callable[[], object] | None]:
    """A folder on a file system of a few bytes; where none can be mounted, a limit of file sizes for a child."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
    )
    try:
        yield None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(folder: Path) -> list[str]:
    """Every verb that writes, onto a disk that is full or becomes so."""
    data, wav = _data(folder), [f"wav/r{n}.wav" for n in range(12)]
    with _tiny(folder / "disk") as limit:
        disk = folder / "disk"
        (disk / "kept.txt").write_text("kept")
        (disk / "filler").write_bytes(bytes(8192))
        lines = {
            "transcribe to a file": ("transcribe", *wav * 16, "--json", "--out", disk / "a.json"),
            "transcribe to a folder": ("transcribe", *wav, "--format", "json", "srt", "--out-dir", disk / "many"),
            "prepare": ("prepare", "table", "t.csv", "--out", disk / "m"),
            "lm train": ("lm", "train", "texts.txt", "--out", disk / "a.arpa", "--order", "5"),
            "lm train over a file": ("lm", "train", "texts.txt", "--out", disk / "kept.txt", "--overwrite"),
            "forecast": ("forecast", "series.npz", "--model", _FIRST / "forecaster.onnx", "--out", disk / "f.csv"),
        }
        (folder / "texts.txt").write_text("".join(f"{chr(97 + n % 26)}{n} b{n % 7} c{n % 11}\n" for n in range(2000)))
        (folder / "t.csv").write_text("path,text\n" + "".join(f"wav/r{n}.wav,{'yes ' * 400}\n" for n in range(12)))
        (disk / "last").write_bytes(bytes(max(0, shutil.disk_usage(disk).free - 4096)) if limit is None else b"")
        found = []
        for name, line in lines.items():
            code, output = forked(_verb(*line), data, before=limit)
            wanted = (0, 1, 2) if name in ("forecast", "transcribe to a folder") else (2,)
            found += [f"{name}: {one}" for one in _told(code, output, wanted)]
        partial = [str(path) for path in disk.rglob(".*.part")]
        if partial:
            found.append(f"left behind: {partial}")
        if (disk / "kept.txt").read_text() != "kept":
            found.append("what was there is no more")
        for path in (disk / "many").glob("*.json") if (disk / "many").exists() else ():
            json.loads(path.read_text())
    return found


def read_only(folder: Path) -> list[str]:
    """A user without a home, in a folder and with a package that cannot be written."""
    if os.geteuid():
        return []
    data, found = _data(folder), []
    os.chmod(folder, 0o755)
    _import_what_it_imports(_verb("transcribe", "wav/r0.wav"), data)  # that user may not read this Python's folder
    model = ngram.load(_arpa(folder))
    os.unlink(folder / "a.arpa.cache.lm")

    def become(user: int) -> Callable[[], None]:
        def change() -> None:
            for name in ("XDG_CACHE_HOME", "SPEECHRNN_CACHE"):
                os.environ.pop(name, None)
            os.environ["HOME"] = "/nonexistent"
            if user != _NOBODY:
                del os.environ["HOME"]
            os.setgid(user)
            os.setuid(user)

        return change

    def load() -> int:
        return int(abs(ngram.load("a.arpa").sentence(["yes"]) - model.sentence(["yes"])) > 1e-6)

    def place() -> int:
        try:
            return int(not cache_folder().is_absolute())
        except OSError as error:
            print(error)
            return 0

    for user in (_NOBODY, 54321):  # the second is in no list of users
        for name, work, wanted in (
            ("transcribe", _verb("transcribe", "wav/r0.wav"), (0,)),
            ("transcribe to a file", _verb("transcribe", "wav/r0.wav", "--out", "a.txt"), (2,)),
            ("prepare", _verb("prepare", "table", "t.csv", "--out", "m"), (2,)),
            ("a language model beside which nothing can be written", load, (0,)),
            ("a cache", place, (0,)),
        ):
            code, output = forked(work, data, before=become(user))
            found += [f"{name} as {user}: {one}" for one in _told(code, output, wanted)]
    return found


def _import_what_it_imports(work: Callable[[], int], folder: Path) -> None:
    def name_them() -> int:
        work()
        (folder / "modules.json").write_text(json.dumps(list(sys.modules)))
        return 0

    forked(name_them, folder)
    for name in json.loads((folder / "modules.json").read_text()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _arpa(folder: Path) -> Path:
    from speechrnn.decoding.lm import kneser_ney

    path = folder / "a.arpa"
    kneser_ney.train(["yes no", "no yes"], order=2).write(path)
    return path


def closed_streams(folder: Path) -> list[str]:
    """A parent that closed standard input, output or error."""
    data, found = _data(folder), []
    for words in ("--version", "transcribe -", "transcribe wav/r0.wav", "check-manifest m.jsonl", "transcribe --help"):
        for closed in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
            line = f"exec {sys.executable} -m speechrnn {words} 3>told {closed}"
            line += " 2>&3" if "2>" not in closed else ""
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                line, shell=True, cwd=data, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            told = (data / "told").read_text() + done.stdout.decode()
            found += [f"{words} {closed}: {one}" for one in _told(done.returncode, told, _CODES)]
    return found


def few_descriptors(folder: Path) -> list[str]:
    """A limit of two dozen open files."""
    data, found = _data(folder), []
    part = (data / "wav" / "r0.wav").read_bytes()
    (data / "joined.wav").write_bytes(part * 60)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    for name, line, wanted in (
        ("transcribe", ("transcribe", *[f"wav/r{n}.wav" for n in range(12)]), (0,)),
        ("prepare", ("prepare", "table", "t.csv", "--out", "m"), (0,)),
        ("check-manifest", ("check-manifest", "m.jsonl"), (0, 1)),
        ("sixty recordings in a file", ("transcribe", "joined.wav", "wav/r0.wav"), (0,)),
        ("lm train", ("lm", "train", "texts.txt", "--out", "a.arpa"), (0,)),
    ):
        code, output = forked(_verb(*line), data, before=limit)
        found += [f"{name}: {one}" for one in _told(code, output, wanted)]
    return found


def one_cache(folder: Path) -> list[str]:
    """Several processes that make the same cache, and download the same file, at once."""
    data, found = _data(folder), []
    path, examples = _arpa(data), manifest.read(data / "m.jsonl")
    begin = time.time() + 1.0

    def model() -> int:
        time.sleep(max(0.0, begin - time.time()))
        return int(len(ngram.load(path).words) != 5)

    def features() -> int:
        time.sleep(max(0.0, begin - time.time()))
        store = Records(data / "cache", "test")
        for _ in range(20):
            for number, example in enumerate(examples):
                entry = Entry(number, example, 30_000, np.zeros(0, "int32"), 0)
                values = cache.cached(store, entry, lambda number=number: np.full(30_000, number, "float32"))
                if not (values == number).all():
                    return 1
        return 0

    for name, work in (("a language model", model), ("features", features)):
        found += [f"{name}: {one}" for one in _together(work, data, 4)]
    with server() as port:

        def receive() -> int:
            try:
                download.fetch(f"http://127.0.0.1:{port}/x.tar.gz", data / "x.tar.gz", pause=0.01)
            except OSError as error:
                return 0 if "another process is downloading it" in str(error) else 1
            return 0

        found += [f"a download: {one}" for one in _together(receive, data, 4)]
        download.fetch(f"http://127.0.0.1:{port}/x.tar.gz", data / "y.tar.gz")
        if (data / "x.tar.gz").read_bytes() != (data / "y.tar.gz").read_bytes():
            found.append("a download that several processes made is another")
    left = [path.name for path in data.rglob("*.part*")]
    return [*found, *([f"left behind: {left}"] if left else [])]


def _together(work: Callable[[], int], folder: Path, count: int) -> list[str]:
    children = []
    for _ in range(count):
        child = os.fork()
        if not child:
            code = 70
            try:
                code = work()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return [f"exit codes {codes}"] if any(codes) else []


SCARCITIES = {one.__name__: one for one in (full_disk, read_only, closed_streams, few_descriptors, one_cache)}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the campaign; 1 if it found anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.scarcity", description="Takes things away.")
    parser.add_argument("--only", nargs="+", choices=list(SCARCITIES), default=list(SCARCITIES), help="which")
    given = parser.parse_args(argv)
    failed = 0
    for name in given.only:
        with tempfile.TemporaryDirectory() as temporary:
            (folder := Path(temporary, "there")).mkdir()
            os.chmod(temporary, 0o755)
            found = SCARCITIES[name](folder)
        print(f"{name}: {len(found)} findings", *found, sep="\n  ", flush=True)
        failed += len(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
