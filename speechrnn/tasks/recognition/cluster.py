"""Many recordings by the workers of a Ray cluster, their transcripts in the order of the recordings.

Workers are actors that open the model once and run one thread each, since many single threads recognize more than few
that share a recording. What travels is names of files and transcripts: each worker reads audio itself.

Ray Data, which has such pools too, was not taken: its blocks go through the object store, and it needs pandas and
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
"""How often recordings are given to a worker again, if theirs has died."""

_AHEAD = 8
"""Pieces of work a worker that are begun before the first one's outcomes are taken."""

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
    """As `speechrnn.tasks.recognition.parallel.recognize`, by the workers of a Ray cluster.

    A worker that dies is started again, and its recordings are given out again; each has one outcome. One whose
    workers die three times is a fault, and stops no other.

    Args:
        model: The path of a recognizer, or None for the one that comes with the package. Each worker loads it.
        sources: Audio files, channels or examples, under names by which every machine of the cluster finds them.
        jobs: Number of workers; as many as the cluster has processors if `None`.
        address: The cluster; `None` starts one on this machine, which ends with the work.
        decoding: Arguments of `speechrnn.tasks.recognition.carried.decoder`.
        calibration: The file of one, as `speechrnn calibrate` writes it.
        progress: Called with the path of each recording once it is done.
        **options: Of `speechrnn.tasks.recognition.transcription.outcomes`.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: There is no cluster at the address.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--engine ray needs Ray. Install it: pip install 'speechrnn[ray]'") from error
    begun = not ray.is_initialized()
    if begun:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about this run goes anywhere
        local = {"num_cpus": jobs, "include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="warning", **local)
        except Exception as error:  # Ray raises plain ones, too
            what = (
                "No Ray cluster could be started here" if address is None else f"There is no Ray cluster at {address}"
            )
            raise ConnectionError(f"{what}: {str(error).strip().splitlines()[0]}") from error
    try:
        processors = int(ray.cluster_resources().get("CPU", 1))
        workers = max(1, min(jobs or processors, processors, len(sources)))
        if jobs and jobs > workers:
            _log.info("%d workers are started: the cluster has %d processors.", workers, processors)
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        of = (os.getcwd(), model, decoding or {}, calibration)
        pool = _Pool(ray, [actor.remote(*of) for _ in range(workers)], options)
        for outcome in pool.outcomes(parallel.divided(sources, workers)):
            if progress:
                progress(outcome.path if isinstance(outcome, Transcript) else outcome.where)
            yield outcome
    finally:
        if begun:
            ray.shutdown()


class _Worker:
    """An actor with a recognizer."""

    def __init__(self, folder: str, model: str | None, decoding: dict[str, Any], calibration: str | None) -> None:
        os.chdir(folder)  # from where the files are named
        parallel.start(model, 1, decoding, calibration)

    def work(self, sources: Sequence[Any], options: dict[str, Any]) -> list[Transcript | Fault]:
        return parallel.work(sources, options)


class _Pool:
    """Work given to actors, the next piece to the one that has the least to do."""

    def __init__(self, ray: Any, workers: Sequence[Any], options: dict[str, Any]) -> None:
        self._ray, self._workers, self._options = ray, workers, options
        self._load = [0] * len(workers)
        self._at: dict[Any, int] = {}
        """The worker of each piece under way."""

    def outcomes(self, chunks: Sequence[Sequence[Any]]) -> Iterator[Transcript | Fault]:
        """The outcomes of all pieces, in their order."""
        left, begun = deque(chunks), deque[tuple[Sequence[Any], Any]]()
        while left or begun:
            while left and len(begun) < _AHEAD * len(self._workers) and min(self._load) < 2:
                begun.append((left[0], self._give(left.popleft())))
            self._release()
            if self._ray.wait([begun[0][1]], timeout=0)[0] or not self._at:
                yield from self._taken(*begun.popleft())
            elif not left or len(begun) >= _AHEAD * len(self._workers) or min(self._load) >= 2:
                self._ray.wait(list(self._at), num_returns=1)

    def _give(self, sources: Sequence[Any]) -> Any:
        worker = self._load.index(min(self._load))
        reference = self._workers[worker].work.remote(list(sources), self._options)
        self._load[worker] += 1
        self._at[reference] = worker
        return reference

    def _release(self) -> None:
        """Note what is done."""
        if self._at:
            for reference in self._ray.wait(list(self._at), num_returns=len(self._at), timeout=0)[0]:
                self._load[self._at.pop(reference)] -= 1

    def _taken(self, sources: Sequence[Any], reference: Any) -> Iterator[Transcript | Fault]:
        """The outcomes of a piece; where its workers have died each time, of each of its recordings alone."""
        try:
            yield from self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            if len(sources) == 1:
                path = _path(sources[0])
                message = f"{path}: the workers that read it died, {1 + RETRIES} times. {str(error).splitlines()[0]}"
                yield Fault(path, "fatal to workers", message)
                return
            for source in sources:
                yield from self._taken([source], self._give([source]))
        except self._ray.exceptions.RayTaskError as error:  # what would end the work on one machine
            raise error.as_instanceof_cause() from None


def _path(source: Any) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else source.path
