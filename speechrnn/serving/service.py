"""What all protocols share: the models, the limits, and the threads in which recordings are recognized."""

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
from speechrnn.serving.models import Models, Served
from speechrnn.serving.options import ServeOptions
from speechrnn.serving.refusals import Refusal, Stopped
from speechrnn.serving.uploads import Upload

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.transcript import Transcript, Word

__all__ = ["Service"]

Found = TypeVar("Found")

_log = logging.getLogger("speechrnn.serving")

_WINDOW_SECONDS = 60.0
"""Audio of a recording that is held at once."""
_MOST_HOTWORDS, _LONGEST_HOTWORD = 100, 50


class Service:
    """Runs what is asked of models, in threads, within limits.

    Args:
        models: Paths, or names that ship; see `Models`.
        streaming: What listens; see `Models`.
        options: Limits.
        threads: Processor threads of each model.
        decoding: Options of the search of recognizers.
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
        """Whether the server has been told to stop."""
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
        """Where uploads are kept."""
        return self._folder.name

    @property
    def upload_limits(self) -> dict[str, float]:
        """What `uploads.form` takes."""
        return {"most_bytes": 1e6 * self.options.most_megabytes, "seconds": self.options.upload_seconds}

    def note(self, route: str, found: Transcript) -> None:
        """Count what was recognized; the log has its text only if that was asked for."""
        self.metrics.audio.labels(route).inc(found.duration)
        if self.options.log_text:
            _log.info("%s: %.2f s: %s", found.path, found.duration, found.text)

    def close(self) -> None:
        """End all threads, and delete what is left of uploads."""
        self._workers.shutdown(cancel_futures=True)
        self._listeners.shutdown(cancel_futures=True)
        self.models.close()
        self._folder.cleanup()

    def named(self, name: str | None, fits: Callable[[Served], bool], what: str) -> Served:
        """A model by its name; another one that fits where there is none of that name, which the log says.

        Raises:
            Refusal: There is none.
        """
        found = self.models.find(name, fits)
        if found is None:
            raise Refusal(404, f"This server has no {what}.", code="model_not_found", param="model")
        if name not in (None, "", found.name):
            _log.info("There is no %s called %.60r here: %s answers.", what, name, found.name)
        return found

    def recognizer(self, name: str | None = None) -> Served:
        """A recognizer; see `named`."""
        return self.named(name, lambda served: served.recognizes, "recognizer")

    async def run(
        self, work: Callable[[Job], Found], *, seconds: float | None = None, gone: Awaitable[Any] | None = None
    ) -> Found:
        """The result of work that is done in a thread.

        Args:
            work: What to do; it checks its job at times.
            seconds: Time in which it must be done.
            gone: Ends when nobody waits any more.

        Raises:
            Refusal: 504, it takes too long.
            Stopped: Nobody waits any more.
        """
        limit = self.options.request_seconds if seconds is None else seconds
        job = Job(limit)
        working = asyncio.get_running_loop().run_in_executor(self._workers, work, job)
        leaving = asyncio.ensure_future(gone) if gone is not None else None
        try:
            waited: set[asyncio.Future[Any]] = {working} if leaving is None else {working, leaving}
            await asyncio.wait(waited, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            left = leaving is not None and leaving.done()
        except Stopped:
            left = False
        finally:
            job.cancel()
            if leaving is not None:
                leaving.cancel()
            if not working.cancel() and not working.done():
                await asyncio.wait({working}, timeout=10)  # which keeps its place in the queue
            if working.done() and not working.cancelled():
                working.exception()  # which nobody needs any more
        if left:
            raise Stopped
        raise Refusal(504, f"The answer took longer than {limit:g} s.", code="timeout")

    async def listen(self, work: Callable[[], Found]) -> Found:
        """The result of a step of a stream, done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._listeners, work)

    def transcribe(
        self,
        job: Job,
        served: Served,
        upload: Upload,
        hotwords: Sequence[str] = (),
        on_words: Callable[[Sequence[Word]], None] | None = None,
    ) -> Transcript:
        """What `speechrnn transcribe` writes of a recording.

        Args:
            job: Who waits for it.
            served: The recognizer.
            upload: The recording.
            hotwords: Words that are made likelier.
            on_words: Called with words as they become known.

        Raises:
            Refusal: It cannot be read, or is too long.
        """
        try:
            self._check_length(audio.probe(upload.path).duration)
        except (OSError, ValueError) as error:
            raise _unreadable(upload, error) from error
        written = served.fitting(hotwords)
        if len(written) < len(hotwords):
            _log.info("%d of %d hotwords cannot be used with %s.", len(hotwords) - len(written), len(hotwords),
                      served.name)  # fmt: skip
        outcomes = kinds.resolve(served.kind.run)(
            served.shared(job),
            [upload.path],
            decoder=served.search(written),
            batch_seconds=self.options.batch_seconds,
            window_seconds=_WINDOW_SECONDS,
            on_progress=lambda path, done, seconds: self._check_length(done),
            on_words=None if on_words is None else lambda path, words: on_words(words),
        )
        return replace(_answer(next(outcomes), upload), path=upload.name)

    def answer(self, job: Job, served: Served, upload: Upload, **options: Any) -> Any:
        """What a model of any other kind says of a record, as JSON can hold it.

        Raises:
            Refusal: It cannot be read, or the model cannot take it.
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
    """The words or phrases of a prompt, which commas, semicolons or line breaks divide.

    Example:
    >>> hotwords("Ada Lovelace, Turing;  enigma")
    ('ada lovelace', 'turing', 'enigma')
    """
    parts = prompt.replace(";", ",").replace("\n", ",").split(",")
    phrases = dict.fromkeys(" ".join(part.lower().split()) for part in parts)
    return tuple(phrase for phrase in phrases if 0 < len(phrase) <= _LONGEST_HOTWORD)[:_MOST_HOTWORDS]


def _answer(outcome: Any, upload: Upload) -> Any:
    if isinstance(outcome, Fault):
        raise _unreadable(upload, outcome)
    return outcome


def _unreadable(upload: Upload, reason: object) -> Refusal:
    return Refusal(400, upload.told(reason), code="invalid_file", param="file")
