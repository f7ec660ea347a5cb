"""What the benchmarks share: alternating runs, and where they ran."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


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


def _seconds(run: Callable) -> tuple[float, float]:
    wall, busy = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - busy


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
