"""Batches signals of concurrent requests, and steps of concurrent streams, in one session."""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, NamedTuple

import numpy as np

from speechrnn.runtime.batches import by_length
from speechrnn.serving.refusals import Cancelled

_GATHERED_BATCHES = 4
"""Batches that are gathered at once from a long queue, to group signals of similar length."""
_CHECK_SECONDS = 0.25
"""Seconds between checks of whether the client still waits for the answer."""


class Job:
    """The work for one request, with a time limit; it can be cancelled.

    Args:
        seconds: Time limit.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Cancel the job."""
        self._cancelled.set()

    def check(self) -> None:
        """Raises: Cancelled: The time limit is over, or the job was cancelled."""
        if self._cancelled.is_set() or time.monotonic() > self._end:
            raise Cancelled


class _Worker(ABC):
    """A thread that processes a queue until it is closed.

    Args:
        name: Name of the thread.
        on_batch: Called with the size of each batch.
    """

    def __init__(self, name: str, on_batch: Callable[[int], object] | None) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._on_batch = on_batch or (lambda size: None)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Process the queue, and end."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    @abstractmethod
    def _work(self) -> None:
        """Process the queue until it yields None."""


class _QueuedSignal(NamedTuple):
    parts: tuple[np.ndarray, ...]
    """The signal, and other inputs of the model."""
    answer: Future[Any]

    @property
    def samples(self) -> int:
        return len(self.parts[0])


class Batcher(_Worker):
    """Runs signals of many threads in batches, in its own thread.

    Each signal gets the answer that it would get alone, and a signal that the model refuses does not affect others.

    Args:
        run: Takes a list of signals, float32 `(samples[, channels])`, and returns an answer for each. Further
            arguments are lists of other inputs, such as covariates known ahead.
        gather: Seconds to wait for more signals.
        max_samples: Samples in a batch, including padding; a longer signal is run alone.
        on_batch: Called with the number of signals of each batch.
    """

    def __init__(
        self,
        run: Callable[..., Sequence[Any]],
        *,
        gather: float = 0.01,
        max_samples: float,
        on_batch: Callable[[int], object] | None = None,
    ) -> None:
        self._run, self._gather, self._max_samples = run, gather, max_samples
        super().__init__("speechrnn-batches", on_batch)

    def __call__(self, *parts: Sequence[np.ndarray], job: Job | None = None) -> list[Any]:
        """Queue signals and other inputs of `run`; waits for their answers.

        Raises:
            Cancelled: The job was cancelled.
            ValueError: The model refuses a signal.
        """
        queued = [_QueuedSignal(item_parts, Future()) for item_parts in zip(*parts, strict=True)]
        for item in queued:
            self._queue.put(item)
        try:
            return [_answer(item.answer, job) for item in queued]
        finally:
            for item in queued:  # cancels those that are not run yet
                item.answer.cancel()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            gathered, more = self._gathered(first)
            for batch in by_length(gathered, lambda item: item.samples, self._max_samples):
                self._answer([one for one in batch if one.answer.set_running_or_notify_cancel()])
            if not more:
                return

    def _gathered(self, first: _QueuedSignal) -> tuple[list[_QueuedSignal], bool]:
        """Collect signals from the queue within the time; also returns whether the queue is still open."""
        gathered, samples = [first], first.samples
        end = time.monotonic() + self._gather
        while samples < _GATHERED_BATCHES * self._max_samples:
            wait = end - time.monotonic() if samples < self._max_samples else 0.0
            try:
                item = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return gathered, False
            gathered.append(item)
            samples += item.samples
        return gathered, True

    def _answer(self, batch: list[_QueuedSignal]) -> None:
        if not batch:
            return
        self._on_batch(len(batch))
        try:
            answers = self._run(*map(list, zip(*(one.parts for one in batch), strict=True)))
            for one, answer in zip(batch, answers, strict=True):
                one.answer.set_result(answer)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for one in batch:
                if not one.answer.done():
                    self._answer([one])


def _answer(future: Future[Any], job: Job | None) -> Any:
    while True:
        try:
            return future.result(timeout=None if job is None else _CHECK_SECONDS)
        except FutureTimeoutError:
            if future.done():  # the exception is the model's
                raise
            if job is not None:
                job.check()


class _Step(NamedTuple):
    outputs: Sequence[str]
    inputs: Mapping[str, np.ndarray]
    answer: Future[list[np.ndarray]]


class StepBatcher(_Worker):
    """Runs steps of many streams; those in the queue at the same time form a batch, without waiting for more.

    All inputs and outputs have one row per stream. Steps of equal shapes share a batch.

    Args:
        session: Runs a batch; see `speechrnn.runtime.session.OnnxSession`.
        max_streams: Maximum number of streams in a batch.
        on_batch: Called with the number of streams of each batch.
    """

    def __init__(self, session: Any, *, max_streams: int, on_batch: Callable[[int], object] | None = None) -> None:
        self._session, self._max_streams = session, max_streams
        super().__init__("speechrnn-steps", on_batch)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run one step; waits for its outputs.

        Raises:
            ValueError: The model cannot be run on these inputs.
        """
        step = _Step(outputs, inputs, Future())
        self._queue.put(step)
        return step.answer.result()

    def _work(self) -> None:
        more = True
        while more and (first := self._queue.get()) is not None:
            steps_waiting = [first]
            while not self._queue.empty():
                if (step := self._queue.get()) is None:
                    more = False
                    break
                steps_waiting.append(step)
            by_shape: dict[Any, list[_Step]] = {}
            for step in steps_waiting:
                shapes = tuple(value.shape for value in step.inputs.values())
                by_shape.setdefault((tuple(step.outputs), shapes), []).append(step)
            for steps in by_shape.values():
                for start in range(0, len(steps), self._max_streams):
                    self._answer(steps[start : start + self._max_streams])

    def _answer(self, steps: list[_Step]) -> None:
        self._on_batch(len(steps))
        try:
            inputs = {name: np.concatenate([step.inputs[name] for step in steps]) for name in steps[0].inputs}
            outputs = self._session.run(steps[0].outputs, inputs)
            for row, step in enumerate(steps):
                step.answer.set_result([output[row : row + 1] for output in outputs])
        except Exception as error:  # it concerns all of them
            for step in steps:
                if not step.answer.done():
                    step.answer.set_exception(error)


class BatchedSession:
    """A session for one request: its primitive runs in shared batches, all else is the session's own.

    Args:
        model: A session.
        primitive: The name of its method that takes signals; see `speechrnn.models.kinds.Kind`.
        batcher: Batcher of that method.
        job: The request.
    """

    def __init__(self, model: Any, primitive: str, batcher: Batcher, job: Job | None = None) -> None:
        self._model, self._primitive, self._batcher, self._job = model, primitive, batcher, job

    def __getattr__(self, name: str) -> Any:
        return self._batched if name == self._primitive else getattr(self._model, name)

    def _batched(self, *parts: Sequence[np.ndarray]) -> Any:
        if self._job is not None:
            self._job.check()
        return self._batcher(*parts, job=self._job)
