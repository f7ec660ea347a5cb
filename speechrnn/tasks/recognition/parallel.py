"""Many recordings in several processes, their transcripts in the order of the recordings."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from speechrnn.faults import Fault
from speechrnn.metrics.calibration import Calibration
from speechrnn.models.loading import DEFAULT, load_session
from speechrnn.runtime.session import cores
from speechrnn.tasks.recognition import carried
from speechrnn.tasks.recognition import transcription as transcribe
from speechrnn.tasks.recognition.transcript import Transcript

_MOST_FILES = 64
"""Most files given to a process at once: enough for batches of equal lengths."""

_model: Any = None
"""The recognizer of a worker process."""

_decoding: dict[str, Any] = {}
"""Its decoder and its calibration."""


def recognize(
    model: str | None,
    paths: Sequence[str],
    *,
    jobs: int,
    decoding: dict[str, Any] | None = None,
    calibration: str | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Iterator[Transcript | Fault]:
    """As `speechrnn.tasks.recognition.transcription.outcomes`, in `jobs` processes that share the processor's cores.

    Args:
        model: The path of a recognizer, or None for the one that comes with the package. Each process loads it.
        paths: Audio files.
        jobs: Number of processes.
        decoding: Arguments of `speechrnn.tasks.recognition.carried.decoder`.
        calibration: The file of one, as `speechrnn calibrate` writes it.
        progress: Called with the path of each recording once it is done.
        **options: Of `speechrnn.tasks.recognition.transcription.outcomes`.

    Raises:
        ValueError: `jobs` is not positive.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1. Received: jobs={jobs}.")
    jobs = min(jobs, len(paths)) or 1
    chunks = deque(divided(paths, jobs))
    # Spawned and not forked: a fork would copy locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    threads = max(1, cores() // jobs)
    with ProcessPoolExecutor(jobs, context, start, (model, threads, decoding or {}, calibration)) as pool:
        waiting: deque[Future[list[Transcript | Fault]]] = deque()
        try:
            while chunks or waiting:
                while chunks and len(waiting) < 2 * jobs:
                    waiting.append(pool.submit(work, chunks.popleft(), options))
                for outcome in waiting.popleft().result():
                    if progress:
                        progress(outcome.path if isinstance(outcome, Transcript) else outcome.where)
                    yield outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def divided(sources: Sequence[Any], workers: int) -> list[Sequence[Any]]:
    """Neighbors that a worker takes at once."""
    size = max(1, min(_MOST_FILES, -(-len(sources) // (4 * workers))))
    return [sources[first : first + size] for first in range(0, len(sources), size)]


def start(model: str | None, threads: int, decoding: dict[str, Any], calibration: str | None) -> None:
    """Open what a worker process needs."""
    global _model
    _model = load_session(DEFAULT if model is None else model, kind="recognizer", threads=threads)
    if decoding:
        _decoding["decoder"] = carried.decoder(_model, **decoding)
    if calibration:
        _decoding["calibration"] = Calibration.read(calibration)


def work(paths: Sequence[Any], options: dict[str, Any]) -> list[Transcript | Fault]:
    """The outcomes of some recordings, in a process that has been started."""
    return list(transcribe.outcomes(_model, paths, **options, **_decoding))
