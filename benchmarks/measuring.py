"""What the benchmarks share: alternating runs, and where they ran."""

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


PAUSE = 0.3
"""Seconds before each run: the threads of the run before wait busily for a while (200 ms with some OpenMP), and would
take the processors from the next one."""


def alternate(runs: dict[str, Callable], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds, and of all processors together, of each run, taking turns so that all see the same machine.

    Every run is called once before, to load and compile; that is its `first_s`.
    """
    first = {name: _seconds(run)[0] for name, run in runs.items()}
    times: dict[str, list] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(_seconds(run))
    found = {}
    for name, pairs in times.items():
        wall, busy = zip(*pairs, strict=True)
        found[name] = {"median_s": statistics.median(wall), "best_s": min(wall), "first_s": first[name]}
        found[name]["median_cpu_s"] = statistics.median(busy)
    return found


def added_memory(run: Callable[[], object]) -> int:
    """Bytes by which a run raises this process's resident memory at its peak."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten: imports have one of their own
        before = _status("VmRSS")
    except OSError:
        before = peak_memory()
    run()
    return peak_memory() - before


def peak_memory() -> int:
    """Bytes of resident memory that this process had at its peak.

    Not `getrusage`'s where /proc tells: that one is inherited from the process that started this one.
    """
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def _seconds(run: Callable) -> tuple[float, float]:
    time.sleep(PAUSE)
    wall, busy = time.perf_counter(), _busy()
    run()
    return time.perf_counter() - wall, _busy() - busy


def _busy() -> float:
    """Processor seconds of this process and of those that it has started and that have ended."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def machine() -> dict:
    """Where and with what the figures were made."""
    versions = {}
    for package in ("tensorflow", "keras", "torch", "librosa"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processors": processors(), "machine": platform.machine(), "system": platform.system(),
        "load": round(os.getloadavg()[0], 1), **versions,
    }  # fmt: skip
