"""Transcribe recordings in several processes, and return transcripts in the order of the recordings."""

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
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition import transcription as transcribe
from speechrnn.tasks.recognition.transcript import Transcript

_MAX_FILES = 64
"""Largest number of files in a chunk: enough for batches of similar lengths."""

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
    """Like `speechrnn.tasks.recognition.transcription.outcomes`, in `jobs` processes that share the processor's cores.

    Args:
        model: The path of a recognizer, or None for the included one. Each process loads it.
        paths: Audio files.
        jobs: Number of processes.
        decoding: Arguments of `speechrnn.tasks.recognition.attachments.decoder`.
        calibration: A file that `speechrnn calibrate` wrote.
        progress: Called with the path of each recording once it is done.
        **options: Options of `speechrnn.tasks.recognition.transcription.outcomes`.

    Raises:
        ValueError: `jobs` is not positive.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1. Received: jobs={jobs}.")
    jobs = min(jobs, len(paths)) or 1
    chunks = deque(split(paths, jobs))
    # Spawned and not forked: a fork would copy locks that other threads hold.
    context = multiprocessing.get_context("spawn")
    threads = max(1, cores() // jobs)
    with ProcessPoolExecutor(jobs, context, start, (model, threads, decoding or {}, calibration)) as pool:
        submitted: deque[Future[list[Transcript | Fault]]] = deque()
        try:
            while chunks or submitted:
                while chunks and len(submitted) < 2 * jobs:
                    submitted.append(pool.submit(work, chunks.popleft(), options))
                for outcome in submitted.popleft().result():
                    if progress:
                        progress(outcome.path if isinstance(outcome, Transcript) else outcome.where)
                    yield outcome
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def split(sources: Sequence[Any], workers: int) -> list[Sequence[Any]]:
    """Split sources into chunks of neighbors, at least four per worker if there are enough."""
    size = max(1, min(_MAX_FILES, -(-len(sources) // (4 * workers))))
    return [sources[first : first + size] for first in range(0, len(sources), size)]


def start(model: str | None, threads: int, decoding: dict[str, Any], calibration: str | None) -> None:
    """Load the model, the decoder and the calibration of a worker process."""
    global _model
    _model = load_session(DEFAULT if model is None else model, kind="recognizer", threads=threads)
    if decoding:
        _decoding["decoder"] = attachments.decoder(_model, **decoding)
    if calibration:
        _decoding["calibration"] = Calibration.read(calibration)


def work(paths: Sequence[Any], options: dict[str, Any]) -> list[Transcript | Fault]:
    """Transcribe a chunk of recordings, in a process in which `start` was called."""
    return list(transcribe.outcomes(_model, paths, **options, **_decoding))
