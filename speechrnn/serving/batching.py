"""One session for all requests: signals that come within some milliseconds run together, and so do steps of streams."""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, NamedTuple

import numpy as np

from speechrnn.runtime.batches import by_length
from speechrnn.serving.refusals import Stopped

_BUDGETS = 4
"""Batches that are gathered at once where many wait, so that those of about one length meet."""
_PATIENCE = 0.25
"""Seconds between two looks at whether anybody still waits for the answer."""


class Job:
    """What is worked on for one request, until nobody waits for it.

    Args:
        seconds: Time in which it must be done.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._cancelled.set()

    def check(self) -> None:
        """Raises: Stopped: Its time is over, or nobody waits any more."""
        if self._cancelled.is_set() or time.monotonic() > self._end:
            raise Stopped


class _Worker(ABC):
    """A thread that works on what is put into its queue, until it is closed.

    Args:
        name: Of the thread.
        on_batch: Called with the size of each batch.
    """

    def __init__(self, name: str, on_batch: Callable[[int], object] | None) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._on_batch = on_batch or (lambda size: None)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer what waits, and end."""
        self._queue.put(None)
        self._thread.join(timeout=30)

    @abstractmethod
    def _work(self) -> None:
        """Works until the queue gives None."""


class _Waiting(NamedTuple):
    parts: tuple[np.ndarray, ...]
    """The signal, and what else the model must know of it."""
    answer: Future[Any]

    @property
    def samples(self) -> int:
        return len(self.parts[0])


class Batcher(_Worker):
    """Runs signals of many threads in batches, in a thread of its own.

    Each signal gets the answer that it would get alone, and a signal that the model refuses spoils no other's answer.

    Args:
        run: Gives an answer for each of several signals, float32 `(samples[, channels])`. What else it must know
            of them are further sequences as long, such as inputs known ahead.
        gather: Seconds for which signals are gathered.
        most_samples: Samples of a batch, padding counted; a longer signal is run alone.
        on_batch: Called with the number of signals of each batch.
    """

    def __init__(
        self,
        run: Callable[..., Sequence[Any]],
        *,
        gather: float = 0.01,
        most_samples: float,
        on_batch: Callable[[int], object] | None = None,
    ) -> None:
        self._run, self._gather, self._most = run, gather, most_samples
        super().__init__("speechrnn-batches", on_batch)

    def __call__(self, *parts: Sequence[np.ndarray], job: Job | None = None) -> list[Any]:
        """The answers for signals, and for what else `run` takes; waits until they are there.

        Raises:
            Stopped: Nobody waits for the job any more.
            ValueError: The model refuses a signal.
        """
        waiting = [_Waiting(of_one, Future()) for of_one in zip(*parts, strict=True)]
        for one in waiting:
            self._queue.put(one)
        try:
            return [_answer(one.answer, job) for one in waiting]
        finally:
            for one in waiting:  # those that are not run yet will not be
                one.answer.cancel()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            gathered, more = self._gathered(first)
            for batch in by_length(gathered, lambda one: one.samples, self._most):
                self._answer([one for one in batch if one.answer.set_running_or_notify_cancel()])
            if not more:
                return

    def _gathered(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """What comes within the time, and all that waits already; and whether more will come."""
        gathered, held = [first], first.samples
        end = time.monotonic() + self._gather
        while held < _BUDGETS * self._most:
            left = end - time.monotonic()
            try:
                one = self._queue.get(timeout=left) if left > 0 and held < self._most else self._queue.get_nowait()
            except queue.Empty:
                break
            if one is None:
                return gathered, False
            gathered.append(one)
            held += one.samples
        return gathered, True

    def _answer(self, batch: list[_Waiting]) -> None:
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
            return future.result(timeout=None if job is None else _PATIENCE)
        except NotYet:
            if future.done():  # it is the model's own
                raise
            if job is not None:
                job.check()


class _Step(NamedTuple):
    outputs: Sequence[str]
    inputs: Mapping[str, np.ndarray]
    answer: Future[list[np.ndarray]]


class Together(_Worker):
    """Runs steps of many streams, those that wait at the same time as one batch; nobody waits for others to come.

    All inputs and outputs have a row for each stream. Steps of equal shapes share a batch.

    Args:
        session: What runs a batch; see `speechrnn.runtime.session.OnnxSession`.
        most: Streams in a batch.
        on_batch: Called with the number of streams of each batch.
    """

    def __init__(self, session: Any, *, most: int, on_batch: Callable[[int], object] | None = None) -> None:
        self._session, self._most = session, most
        super().__init__("speechrnn-steps", on_batch)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs by their names; waits until they are there.

        Raises:
            ValueError: The model cannot be run on these inputs.
        """
        step = _Step(outputs, inputs, Future())
        self._queue.put(step)
        return step.answer.result()

    def _work(self) -> None:
        more = True
        while more and (first := self._queue.get()) is not None:
            waiting = [first]
            while not self._queue.empty():
                if (step := self._queue.get()) is None:
                    more = False
                    break
                waiting.append(step)
            alike: dict[Any, list[_Step]] = {}
            for step in waiting:
                shapes = tuple(value.shape for value in step.inputs.values())
                alike.setdefault((tuple(step.outputs), shapes), []).append(step)
            for steps in alike.values():
                for start in range(0, len(steps), self._most):
                    self._answer(steps[start : start + self._most])

    def _answer(self, steps: list[_Step]) -> None:
        self._on_batch(len(steps))
        try:
            inputs = {name: np.concatenate([step.inputs[name] for step in steps]) for name in steps[0].inputs}
            found = self._session.run(steps[0].outputs, inputs)
            for row, step in enumerate(steps):
                step.answer.set_result([output[row : row + 1] for output in found])
        except Exception as error:  # of the model, and so of each of them
            for step in steps:
                if not step.answer.done():
                    step.answer.set_exception(error)


class Shared:
    """A model as one request sees it: its primitive goes through the batches of all, everything else is the model's.

    Args:
        model: A session.
        primitive: The name of its method that takes signals; see `speechrnn.models.kinds.Kind`.
        batcher: Of that method.
        job: What it is asked for.
    """

    def __init__(self, model: Any, primitive: str, batcher: Batcher, job: Job | None = None) -> None:
        self._model, self._primitive, self._batcher, self._job = model, primitive, batcher, job

    def __getattr__(self, name: str) -> Any:
        return self._batched if name == self._primitive else getattr(self._model, name)

    def _batched(self, *parts: Sequence[np.ndarray]) -> Any:
        if self._job is not None:
            self._job.check()
        return self._batcher(*parts, job=self._job)
