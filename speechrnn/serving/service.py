"""Shared by all protocols: the models, the limits, and the threads that process recordings."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from speechrnn import audio
from speechrnn.faults import Fault
from speechrnn.models import kinds
from speechrnn.serving.batching import Job
from speechrnn.serving.limits import Gate, Keys, Rate
from speechrnn.serving.metrics import Metrics
from speechrnn.serving.models import Models, ServedModel
from speechrnn.serving.options import ServeOptions
from speechrnn.serving.refusals import Cancelled, Refusal
from speechrnn.serving.uploads import Upload

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.transcript import Transcript, Word

__all__ = ["Service"]

Result = TypeVar("Result")

_log = logging.getLogger("speechrnn.serving")

_WINDOW_SECONDS = 60.0
"""Audio of a recording in memory at a time."""
_MAX_HOTWORDS, _MAX_HOTWORD_LENGTH = 100, 50


class Service:
    """Runs models in threads, within limits.

    Args:
        models: Paths, or names of included models; see `Models`.
        streaming: Recognizer for streams; see `Models`.
        options: Limits.
        threads: Processor threads of each model.
        decoding: Decoding options of recognizers.
    """

    def __init__(
        self,
        models: Sequence[str] = (),
        *,
        streaming: str | None = None,
        options: ServeOptions | None = None,
        threads: int | None = None,
        decoding: dict[str, Any] | None = None,
    ) -> None:
        self.options = options or ServeOptions()
        self.metrics = Metrics()
        self.keys = Keys.read(self.options.keys) if self.options.keys else Keys([])
        self.models = Models(
            models,
            streaming=streaming,
            threads=threads,
            streams_together=self.options.streams_together,
            gather=self.options.gather,
            batch_seconds=self.options.batch_seconds,
            on_batch=self.metrics.batch.observe,
            decoding=decoding,
        )
        self.stopping = False
        """Whether the server is being stopped."""
        self.rate = Rate(self.options.requests_per_minute)
        self.requests = Gate(
            self.options.queue,
            at_once=self.options.at_once,
            what="requests",
            on_change=self.metrics.waiting.set,
        )
        self.streams = Gate(self.options.streams, at_once=1, what="streams", on_change=self.metrics.streams.set)
        self._folder = tempfile.TemporaryDirectory(prefix="speechrnn-")
        self._workers = ThreadPoolExecutor(self.options.at_once, "speechrnn-requests")
        self._listeners = ThreadPoolExecutor(min(32, self.options.at_once), "speechrnn-streams")

    @property
    def folder(self) -> str:
        """Folder of uploads."""
        return self._folder.name

    @property
    def upload_limits(self) -> dict[str, float]:
        """Arguments of `uploads.form`."""
        return {"max_bytes": 1e6 * self.options.most_megabytes, "seconds": self.options.upload_seconds}

    def record(self, route: str, transcript: Transcript) -> None:
        """Count a transcript; the log has its text only with the option `log_text`."""
        self.metrics.audio.labels(route).inc(transcript.duration)
        if self.options.log_text:
            _log.info("%s: %.2f s: %s", transcript.path, transcript.duration, transcript.text)

    def close(self) -> None:
        """End all threads, and delete remaining uploads."""
        self._workers.shutdown(cancel_futures=True)
        self._listeners.shutdown(cancel_futures=True)
        self.models.close()
        self._folder.cleanup()

    def find_model(self, name: str | None, fits: Callable[[ServedModel], bool], what: str) -> ServedModel:
        """Find a model by name; without one of that name, another that fits, which is logged.

        Raises:
            Refusal: No model fits.
        """
        served = self.models.find(name, fits)
        if served is None:
            raise Refusal(404, f"This server has no {what}.", code="model_not_found", param="model")
        if name not in (None, "", served.name):
            _log.info("There is no %s called %.60r here: %s answers.", what, name, served.name)
        return served

    def recognizer(self, name: str | None = None) -> ServedModel:
        """Find a recognizer; see `find_model`."""
        return self.find_model(name, lambda served: served.recognizes, "recognizer")

    async def run(
        self, work: Callable[[Job], Result], *, seconds: float | None = None, gone: Awaitable[Any] | None = None
    ) -> Result:
        """Run work in a thread and return its result.

        Args:
            work: The work, which calls `Job.check` from time to time.
            seconds: Time limit.
            gone: Awaitable that ends when the client has disconnected.

        Raises:
            Refusal: 504, it took too long.
            Cancelled: The client has disconnected.
        """
        limit = self.options.request_seconds if seconds is None else seconds
        job = Job(limit)
        working = asyncio.get_running_loop().run_in_executor(self._workers, work, job)
        disconnect = asyncio.ensure_future(gone) if gone is not None else None
        try:
            pending: set[asyncio.Future[Any]] = {working} if disconnect is None else {working, disconnect}
            await asyncio.wait(pending, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            disconnected = disconnect is not None and disconnect.done()
        except Cancelled:
            disconnected = False
        finally:
            job.cancel()
            if disconnect is not None:
                disconnect.cancel()
            if not working.cancel() and not working.done():
                await asyncio.wait({working}, timeout=10)  # it still occupies its thread
            if working.done() and not working.cancelled():
                working.exception()  # marks the exception as retrieved
        if disconnected:
            raise Cancelled
        raise Refusal(504, f"The answer took longer than {limit:g} s.", code="timeout")

    async def listen(self, work: Callable[[], Result]) -> Result:
        """Run one step of a stream in a thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._listeners, work)

    def transcribe(
        self,
        job: Job,
        served: ServedModel,
        upload: Upload,
        hotwords: Sequence[str] = (),
        on_words: Callable[[Sequence[Word]], None] | None = None,
    ) -> Transcript:
        """Transcribe a recording, with the same result as `speechrnn transcribe`.

        Args:
            job: The request.
            served: The recognizer.
            upload: The recording.
            hotwords: Words to make more likely.
            on_words: Called with words as they become final.

        Raises:
            Refusal: It cannot be read, or is too long.
        """
        try:
            self._check_length(audio.probe(upload.path).duration)
        except (OSError, ValueError) as error:
            raise _unreadable(upload, error) from error
        usable = served.usable_hotwords(hotwords)
        if len(usable) < len(hotwords):
            _log.info("%d of %d hotwords cannot be used with %s.", len(hotwords) - len(usable), len(hotwords),
                      served.name)  # fmt: skip
        outcomes = kinds.resolve(served.kind.run)(
            served.shared(job),
            [upload.path],
            decoder=served.search(usable),
            batch_seconds=self.options.batch_seconds,
            window_seconds=_WINDOW_SECONDS,
            on_progress=lambda path, done, seconds: self._check_length(done),
            on_words=None if on_words is None else lambda path, words: on_words(words),
        )
        return replace(_answer(next(outcomes), upload), path=upload.name)

    def answer(self, job: Job, served: ServedModel, upload: Upload, **options: Any) -> Any:
        """Run a model of another kind on a record; returns a dictionary for JSON.

        Raises:
            Refusal: It cannot be read, or does not fit the model.
        """
        outcomes = served.command.outcomes(
            served.shared(job), [upload.path], path=None, progress=None, on_progress=None, **options
        )
        return {**served.command.to_dict(_answer(next(iter(outcomes)), upload)), "path": upload.name}

    def _check_length(self, seconds: float) -> None:
        if seconds > 60 * self.options.most_minutes:
            raise Refusal(
                413,
                f"A recording may last at most {self.options.most_minutes:g} minutes. Received: {seconds / 60:.1f}. "
                "Cut it.",
                code="audio_too_long",
                param="file",
            )


def hotwords(prompt: str) -> tuple[str, ...]:
    """Split a prompt into words or phrases at commas, semicolons and line breaks.

    Example:
    >>> hotwords("Ada Lovelace, Turing;  enigma")
    ('ada lovelace', 'turing', 'enigma')
    """
    parts = prompt.replace(";", ",").replace("\n", ",").split(",")
    phrases = dict.fromkeys(" ".join(part.lower().split()) for part in parts)
    return tuple(phrase for phrase in phrases if 0 < len(phrase) <= _MAX_HOTWORD_LENGTH)[:_MAX_HOTWORDS]


def _answer(outcome: Any, upload: Upload) -> Any:
    if isinstance(outcome, Fault):
        raise _unreadable(upload, outcome)
    return outcome


def _unreadable(upload: Upload, reason: object) -> Refusal:
    return Refusal(400, upload.reword(reason), code="invalid_file", param="file")
