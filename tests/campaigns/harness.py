"""What every campaign of damaged files shares: how to damage, processes with limits that try, and a table of what came.

A campaign is a module with a function `attempt(kind, seed, folder)` that makes one damaged file in an empty folder and
reads it. It returns if what was read is right, lets the package's own error through if the file is refused, and raises
`WrongError` if what was read is not what an independent reader reads. Everything else is a finding: another exception,
a refusal that does not name the file, a process that dies, more than five seconds of processor time, more than a
gigabyte. If the module has a function `warm(folder)`, it is called once in each process before limits are set.
"""

import argparse
import contextlib
import importlib
import math
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SECONDS, PATIENCE, MEMORY = 5.0, 300.0, 2**30
"""Processor time and time on the clock that one file may take, and bytes of memory beyond what was there before."""
REFUSALS = (ValueError, OSError)
"""What the package raises for a file that cannot be used."""


class WrongError(Exception):
    """A file was read, and what was read is not what is in it."""


@dataclass(frozen=True)
class Finding:
    """One file that was neither read rightly nor refused by name."""

    kind: str
    seed: int
    what: str
    """"crashed", "unnamed", "died", "hung", "took too much memory" or "wrong"."""
    told: str


@dataclass
class Tally:
    """What came of a campaign, by kind of file."""

    tried: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: float = 0.0
    """Processor seconds of the slowest file."""

    def add(self, kind: str, seed: int, what: str, told: str, seconds: float) -> None:
        """Count one file."""
        self.tried[kind] += 1
        self.slowest = max(self.slowest, seconds)
        if what in ("read", "refused"):
            getattr(self, what)[kind] += 1
        else:
            self.findings.append(Finding(kind, seed, what, told))

    def table(self) -> str:
        """Lines of a Markdown table: tried, refused by name, read, crashed."""
        failed = Counter(finding.kind for finding in self.findings)
        rows = [
            (kind, self.tried[kind], self.refused[kind], self.read[kind], failed[kind]) for kind in sorted(self.tried)
        ]
        rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
        head = "| files | tried | refused by name | read | crashed, hung or wrong |\n| --- | --- | --- | --- | --- |"
        return "\n".join([head, *("| " + " | ".join([row[0], *(f"{n:,}" for n in row[1:])]) + " |" for row in rows)])


# ---------------------------------------------------------------------------------------------------- how to damage


def damage(rng: np.random.Generator, data: bytes, *, header: int = 256) -> tuple[bytes, str]:
    """Damage bytes in one way drawn at random, once or a few times over.

    Args:
        rng: Draws.
        data: What a whole file holds.
        header: Its first bytes, which half of the edits fall into.

    Returns:
        The damaged bytes, and the name of the damage.
    """
    name = str(rng.choice(list(DAMAGES)))
    for _ in range(int(rng.choice([1, 1, 1, 2, 8]))):
        data = DAMAGES[name](rng, data, header)
    return data, name


def _place(rng: np.random.Generator, data: bytes, header: int) -> int:
    """A place in the data; one in two lies in the header."""
    most = min(header, len(data)) if rng.random() < 0.5 else len(data)
    return int(rng.integers(most)) if most else 0


def _flip(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    if not data:
        return data
    changed, at = bytearray(data), _place(rng, data, header)
    changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    return data[: _place(rng, data, header)]


def _insert(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    at = _place(rng, data, header)
    return data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:]


def _repeat(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    at = _place(rng, data, header)
    block = data[at : at + int(rng.integers(1, max(2, len(data) // 4)))]
    return data[: at + len(block)] + block + data[at + len(block) :]


def _lose(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    at = _place(rng, data, header)
    return data[:at] + data[at + int(rng.integers(1, max(2, len(data) // 4))) :]


def _zero(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    at = _place(rng, data, header)
    size = min(len(data) - at, int(rng.integers(1, 600)))
    return data[:at] + bytes(size) + data[at + size :]


def _edit(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    """A digit of the header becomes another, or a sign, a mark or a letter: a field that says something else."""
    digits = [at for at, byte in enumerate(data[:header]) if chr(byte).isalnum()]
    if not digits:
        return _flip(rng, data, header)
    changed = bytearray(data)
    changed[int(rng.choice(digits))] = int(rng.choice(list(b"0123456789-+.,;:/ eEx%\n")))
    return bytes(changed)


def _swap(rng: np.random.Generator, data: bytes, header: int) -> bytes:
    """Two stretches change places."""
    if len(data) < 4:
        return data
    first, second, third = sorted(int(at) for at in rng.integers(0, len(data), 3))
    return data[:first] + data[second:third] + data[first:second] + data[third:]


DAMAGES: dict[str, Callable[[np.random.Generator, bytes, int], bytes]] = {
    "bits flipped": _flip,
    "cut off": _cut,
    "bytes put in": _insert,
    "a block twice": _repeat,
    "a block lost": _lose,
    "zeros": _zero,
    "header edited": _edit,
    "blocks swapped": _swap,
}


# ------------------------------------------------------------------------------------------- processes with limits


def campaign(
    attempt: str, cases: Sequence[tuple[str, int]], *, workers: int = 2, on_done: Callable[[int], object] | None = None
) -> Tally:
    """Try files in processes of their own, each with a limit of time and of memory.

    Args:
        attempt: Module and function, such as `tests.campaigns.records:attempt`.
        cases: Kind and seed of each file.
        workers: Processes.
        on_done: Called with the number of files tried so far.
    """
    tally, lock, left = Tally(), threading.Lock(), queue.SimpleQueue()
    for case in cases:
        left.put(case)

    def work() -> None:
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(_Process(attempt))
            while True:
                try:
                    kind, seed = left.get_nowait()
                except queue.Empty:
                    return
                what, told, seconds = process.attempt(kind, seed)
                with lock:
                    tally.add(kind, seed, what, told, seconds)
                    if on_done:
                        on_done(sum(tally.tried.values()))

    workers = max(1, min(workers, len(cases)))
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work) for _ in range(workers)]:
            done.result()
    tally.findings.sort(key=lambda finding: (finding.kind, finding.seed))
    return tally


class _Process:
    """A process that tries one file after the other; a new one takes its place when it hangs or dies."""

    def __init__(self, attempt: str) -> None:
        self._attempt = attempt
        self._context = multiprocessing.get_context("spawn")

    def __enter__(self) -> "_Process":
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, self._attempt), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(3600):
            raise TimeoutError(f"{self._attempt}: its process did not start.")
        self._pipe.recv()

    def _stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def attempt(self, kind: str, seed: int) -> tuple[str, str, float]:
        before, started = self._seconds(), time.monotonic()
        try:
            self._pipe.send((kind, seed))
            while not self._pipe.poll(0.25):
                spent = self._seconds() - before
                if spent > SECONDS or time.monotonic() - started > PATIENCE:
                    self._stop()
                    self._start()
                    return "hung", f"after {spent:.1f} s of processor time", spent
            return self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            self._stop()
            self._start()
            return "died", signal.Signals(-code).name if code < 0 else f"exit code {code}", 0.0

    def _seconds(self) -> float:
        """Processor time of the process so far; 0 where the system does not say."""
        try:
            words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _serve(pipe: "multiprocessing.connection.Connection", attempt: str) -> None:
    """What the process does: files come through the pipe, answers go back."""
    module, _, name = attempt.partition(":")
    function = getattr(importlib.import_module(module), name)
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    with tempfile.TemporaryDirectory() as folder:
        warm = getattr(importlib.import_module(module), "warm", None)
        if warm is not None:  # libraries that are imported late belong to nobody's limit
            warm(Path(folder))
    _limit_memory()
    pipe.send("ready")
    while True:
        kind, seed = pipe.recv()
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            what, told = _outcome(function, kind, seed, folder)
        pipe.send((what, told, time.process_time() - started))


def _outcome(function: Callable[[str, int, Path], object], kind: str, seed: int, folder: str) -> tuple[str, str]:
    try:
        function(kind, seed, Path(folder))
    except BaseException as error:
        told = "".join(traceback.format_exception(error))
        if any(isinstance(one, MemoryError) for one in _chain(error)):
            return "took too much memory", told
        if isinstance(error, WrongError):
            return "wrong", str(error)
        if not isinstance(error, REFUSALS):
            return "crashed", told
        return ("refused", str(error)) if folder in str(error) else ("unnamed", told)
    return "read", ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _limit_memory() -> None:
    """Let the process take `MEMORY` bytes more than it has; what asks for more gets a MemoryError."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # another system, without a limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY,) * 2)


def forked(
    work: Callable[[], int], folder: Path, seconds: float | None = None, *, before: Callable[[], object] | None = None
) -> tuple[int | None, str]:
    """Exit code and output of a child of this process that works in a folder.

    Args:
        work: What it does; gives its exit code.
        folder: Its current folder; what it says goes to a file beside it.
        seconds: It is killed after so many seconds, and has no code then.
        before: Called in the child when its output is open, such as to set limits.
    """
    log = folder.with_name(f"{folder.name}.log")
    child = os.fork()
    if not child:
        code = 70
        try:
            os.chdir(folder)
            to = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            for stream in (1, 2):
                os.dup2(to, stream)
            os.close(to)
            if before is not None:
                before()
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    end = math.inf if seconds is None else time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, ""
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(done[1]), log.read_text(errors="replace")


# ------------------------------------------------------------------------------------------------------ as a program


def main(module: str, kinds: Sequence[str], document: str, argv: Sequence[str] | None = None) -> int:
    """The command line of a campaign; 1 if it found anything.

    Args:
        module: Name of the campaign's module, which has `attempt`.
        kinds: Kinds of files, each of which gets an equal part of the count.
        document: The module's docstring.
        argv: Words of the command line.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=document.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many files (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first file; the next ones count on (default: 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--kinds", nargs="+", choices=list(kinds), default=list(kinds), help="kinds of files")
    parser.add_argument("--keep", metavar="DIR", help="make one file, --seed of one of --kinds, there, and read it")
    given = parser.parse_args(argv)
    if given.keep:
        Path(given.keep).mkdir(parents=True, exist_ok=True)
        function = getattr(importlib.import_module(module), "attempt")  # noqa: B009 - the module is not known here
        print(function(given.kinds[0], given.seed, Path(given.keep)) or "read, and right")
        return 0
    print(f"seed {given.seed}, {given.count:,} files of {len(given.kinds)} kinds", flush=True)
    started = time.monotonic()

    def on_done(count: int) -> None:
        if count % 500 == 0:
            print(f"{count:,} after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    tally = campaign(
        f"{module}:attempt", list(spread(given.kinds, given.count, given.seed)), workers=given.workers, on_done=on_done
    )
    for finding in tally.findings:
        print(f"\n{finding.what}: python -m {module} --kinds {finding.kind} --seed {finding.seed} --keep DIR")
        print(finding.told.rstrip()[-1500:])
    print(f"\n{tally.table()}\n\nthe slowest took {tally.slowest:.2f} s of processor time")
    return 1 if tally.findings else 0


def spread(kinds: Iterable[str], count: int, seed: int) -> Iterator[tuple[str, int]]:
    """Kind and seed of each file: kinds take turns, seeds count on."""
    kinds = list(kinds)
    for index in range(count):
        yield kinds[index % len(kinds)], seed + index
