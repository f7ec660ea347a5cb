"""Transcribe recordings with the workers of a Ray cluster, and return transcripts in the order of the recordings.

Workers are actors that open the model once and use one thread each, which is faster than several threads per recording.
They receive file names and return transcripts: each worker reads its audio files itself.

Ray Data, which also has pools of actors, is not used: its blocks go through the object store, and it needs pandas and
pyarrow, which transcription does not.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from speechrnn.faults import Fault
from speechrnn.tasks.recognition import parallel
from speechrnn.tasks.recognition.transcript import Transcript

RETRIES = 2
"""How often recordings are submitted again after their worker died."""

_AHEAD = 8
"""Largest number of chunks per worker that are submitted before the first one's outcomes are fetched."""

_log = logging.getLogger(__name__)


def recognize(
    model: str | None,
    sources: Sequence[Any],
    *,
    jobs: int | None = None,
    address: str | None = None,
    decoding: dict[str, Any] | None = None,
    calibration: str | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Iterator[Transcript | Fault]:
    """Like `speechrnn.tasks.recognition.parallel.recognize`, with the workers of a Ray cluster.

    A worker that dies is restarted, and its recordings are submitted again; each has exactly one outcome. A recording
    whose workers die three times becomes a fault.

    Args:
        model: The path of a recognizer, or None for the included one. Each worker loads it.
        sources: Audio files, channels or examples, with paths that are valid on every machine of the cluster.
        jobs: Number of workers; by default the number of processors of the cluster.
        address: Address of the cluster; `None` starts one on this machine, and stops it afterwards.
        decoding: Arguments of `speechrnn.tasks.recognition.attachments.decoder`.
        calibration: A file that `speechrnn calibrate` wrote.
        progress: Called with the path of each recording once it is done.
        **options: Options of `speechrnn.tasks.recognition.transcription.outcomes`.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: There is no cluster at the address.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--engine ray needs Ray. Install it: pip install 'speechrnn[ray]'") from error
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
        local = {"num_cpus": jobs, "include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="warning", **local)
        except Exception as error:  # Ray also raises plain exceptions
            message = (
                "No Ray cluster could be started here" if address is None else f"There is no Ray cluster at {address}"
            )
            raise ConnectionError(f"{message}: {str(error).strip().splitlines()[0]}") from error
    try:
        processors = int(ray.cluster_resources().get("CPU", 1))
        workers = max(1, min(jobs or processors, processors, len(sources)))
        if jobs and jobs > workers:
            _log.info("%d workers are started: the cluster has %d processors.", workers, processors)
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        arguments = (os.getcwd(), model, decoding or {}, calibration)
        pool = _Pool(ray, [actor.remote(*arguments) for _ in range(workers)], options)
        for outcome in pool.outcomes(parallel.split(sources, workers)):
            if progress:
                progress(outcome.path if isinstance(outcome, Transcript) else outcome.where)
            yield outcome
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """An actor with a recognizer."""

    def __init__(self, folder: str, model: str | None, decoding: dict[str, Any], calibration: str | None) -> None:
        os.chdir(folder)  # to which relative paths refer
        parallel.start(model, 1, decoding, calibration)

    def work(self, sources: Sequence[Any], options: dict[str, Any]) -> list[Transcript | Fault]:
        return parallel.work(sources, options)


class _Pool:
    """Distributes chunks of work to actors; the next chunk goes to the one with the fewest."""

    def __init__(self, ray: Any, workers: Sequence[Any], options: dict[str, Any]) -> None:
        self._ray, self._workers, self._options = ray, workers, options
        self._load = [0] * len(workers)
        self._worker_of: dict[Any, int] = {}
        """The worker of each chunk that is running."""

    def outcomes(self, chunks: Sequence[Sequence[Any]]) -> Iterator[Transcript | Fault]:
        """Yield the outcomes of all chunks, in order."""
        remaining, running = deque(chunks), deque[tuple[Sequence[Any], Any]]()
        while remaining or running:
            while remaining and len(running) < _AHEAD * len(self._workers) and min(self._load) < 2:
                running.append((remaining[0], self._submit(remaining.popleft())))
            self._release()
            if self._ray.wait([running[0][1]], timeout=0)[0] or not self._worker_of:
                yield from self._fetch(*running.popleft())
            elif not remaining or len(running) >= _AHEAD * len(self._workers) or min(self._load) >= 2:
                self._ray.wait(list(self._worker_of), num_returns=1)

    def _submit(self, sources: Sequence[Any]) -> Any:
        worker = self._load.index(min(self._load))
        reference = self._workers[worker].work.remote(list(sources), self._options)
        self._load[worker] += 1
        self._worker_of[reference] = worker
        return reference

    def _release(self) -> None:
        """Update the load of workers whose chunks are done."""
        if self._worker_of:
            for reference in self._ray.wait(list(self._worker_of), num_returns=len(self._worker_of), timeout=0)[0]:
                self._load[self._worker_of.pop(reference)] -= 1

    def _fetch(self, sources: Sequence[Any], reference: Any) -> Iterator[Transcript | Fault]:
        """Yield the outcomes of a chunk; if its workers died each time, its recordings are submitted one by one."""
        try:
            yield from self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            if len(sources) == 1:
                path = _path(sources[0])
                message = f"{path}: the workers that read it died, {1 + RETRIES} times. {str(error).splitlines()[0]}"
                yield Fault(path, "fatal to workers", message)
                return
            for source in sources:
                yield from self._fetch([source], self._submit([source]))
        except self._ray.exceptions.RayTaskError as error:  # an error that would also end a run on one machine
            raise error.as_instanceof_cause() from None


def _path(source: Any) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else source.path
