"""The models of a server: each is opened once, and its batches are shared by all requests."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn.models import kinds, loading
from speechrnn.serving.batching import BatchedSession, Batcher, Job, StepBatcher
from speechrnn.text import Phones

if TYPE_CHECKING:
    from speechrnn.decoding.options import Decoder
    from speechrnn.models.commands import Command
    from speechrnn.tasks.recognition.streaming_base import BaseStreamingSession

__all__ = ["Models", "ServedModel"]

_log = logging.getLogger("speechrnn.serving")

_CACHED_SEARCHES = 16
"""Decoders with hotwords that are cached."""
_MAX_TRIED = 8
"""Maximum number of hotwords that are tried one by one, since building a decoder may take a second."""
_TOLERANCE = 1e-2
"""Tolerance of the canary's output."""


class ServedModel:
    """A model and its batches.

    Args:
        name: Name for clients.
        model: The session.
        gather: See `Batcher`.
        batch_seconds: Seconds of signals in a batch.
        on_batch: See `Batcher`.
        decoding: Decoding options of a recognizer.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        *,
        gather: float = 0.01,
        batch_seconds: float = 60.0,
        on_batch: Callable[[int], object] | None = None,
        decoding: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.model = name, model
        self.kind = kinds.of(model)
        self.command: Command = kinds.resolve(self.kind.command)(self.kind)
        self._decoding = dict(decoding or {})
        self._batcher = Batcher(
            getattr(model, self.kind.primitive),
            gather=gather,
            max_samples=batch_seconds * model.sample_rate,
            on_batch=on_batch,
        )
        self._canary = _canary(model)
        self._first = self._run_canary(None)
        self._lock = threading.Lock()
        self._search = functools.lru_cache(_CACHED_SEARCHES)(self._build_search)
        if self.recognizes:
            self.search(())

    @property
    def recognizes(self) -> bool:
        """Whether it is a speech recognizer."""
        return hasattr(self.model, "transcribe")

    def shared(self, job: Job | None = None) -> Any:
        """The model for one request; it may be used in any thread."""
        return BatchedSession(self.model, self.kind.primitive, self._batcher, job)

    def search(self, hotwords: Sequence[str]) -> Decoder:
        """Get the decoder of a recognizer, with hotwords.

        Raises:
            ValueError: A hotword cannot be written with the vocabulary.
        """
        with self._lock:  # so that no decoder is built twice
            return self._search(tuple(hotwords))

    def usable_hotwords(self, hotwords: Sequence[str]) -> tuple[str, ...]:
        """The hotwords that the model can write; none if some of more than `_MAX_TRIED` cannot be written."""
        vocabulary = self.model.vocabulary
        if not isinstance(vocabulary, Phones):
            hotwords = [word for word in hotwords if not vocabulary.missing(word)]
        if not hotwords:
            return ()
        try:
            self.search(hotwords)
            return tuple(hotwords)
        except ValueError:
            return tuple(word for word in hotwords if len(hotwords) <= _MAX_TRIED and self._writes(word))

    def check_canary(self, job: Job) -> None:
        """Run the canary, a signal with a known answer.

        Raises:
            ValueError: The answer differs from that at the start.
            Cancelled: It took too long.
        """
        output = self._run_canary(job)
        if output.shape != self._first.shape or not np.allclose(output, self._first, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ValueError(f"{self.name}: the canary's answer is not what it was when the server started.")

    def close(self) -> None:
        """Process the queue, and end."""
        self._batcher.close()

    def _run_canary(self, job: Job | None) -> np.ndarray:
        output = np.asarray(getattr(self.shared(job), self.kind.primitive)(*([part] for part in self._canary))[0])
        if not np.isfinite(output).all():
            raise ValueError(f"{self.name}: the model gave no usable output for the canary: some of it is no number.")
        return output

    def _build_search(self, hotwords: tuple[str, ...]) -> Decoder:
        from speechrnn.tasks.recognition import attachments

        # The hotwords of the command line stay.
        options = self._decoding | {"hotwords": (*self._decoding.get("hotwords", ()), *hotwords)} if hotwords else {}
        return attachments.decoder(self.model, **(options or self._decoding))

    def _writes(self, word: str) -> bool:
        try:
            self.search((word,))
        except ValueError:
            return False
        return True


class Models:
    """All models of a server, by name.

    Args:
        models: Paths, or names of included models; by default the default recognizer.
        streaming: Recognizer for streams; by default the first recognizer, if it can stream.
        threads: Processor threads of each model.
        streams_together: Maximum number of streams in a batch, for models whose answers do not depend on batches.
        **options: Options of `ServedModel`.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A file is not a model of signals, or `streaming` cannot stream.
    """

    def __init__(
        self,
        models: Sequence[str] = (),
        *,
        streaming: str | None = None,
        threads: int | None = None,
        streams_together: int = 1,
        **options: Any,
    ) -> None:
        self._by_name: dict[str, ServedModel] = {}
        sources = {loading.DEFAULT if model == "default" else model: None for model in models or (loading.DEFAULT,)}
        self.listener: BaseStreamingSession | None = None
        self.listener_name = ""
        self._stepping: StepBatcher | None = None
        for source in sources:
            session = loading.load_session(source, threads=threads)
            if not session.takes_signals:
                raise ValueError(f"{source}: is a {kinds.of(session).noun}. Only models of signals are served.")
            self._add(source, session, **options)
        recognizers = [source for source in sources if self._by_name[_name_of(source)].recognizes]
        if streaming is not None:
            self._listen(streaming)
        elif recognizers:
            self._listen_by(recognizers[0])
        if self.listener is not None:
            search_options = options.get("decoding") or {}
            if search_options or not self.listener.searches:
                self._search_streams(self.listener, search_options)
            if streams_together > 1 and self.listener.can_batch_steps:
                self.listener.run_with(lambda session: self._batch_steps(session, streams_together))

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._by_name.values())

    def find(self, name: str | None, fits: Callable[[ServedModel], bool]) -> ServedModel | None:
        """Find the model of this name if it fits, else the first that fits, else None."""
        fitting = [served for served in self if fits(served)]
        return next((served for served in fitting if served.name == name), fitting[0] if fitting else None)

    def stream(self) -> BaseStreamingSession | None:
        """Open a new stream of the streaming recognizer; None if there is none."""
        return None if self.listener is None else self.listener.new_stream()

    def close(self) -> None:
        """End the threads of all models."""
        for served in self:
            served.close()
        if self._stepping is not None:
            self._stepping.close()

    def _add(self, source: str, session: Any, **options: Any) -> None:
        name = _name_of(source)
        if name in self._by_name:
            raise ValueError(f"{source}: another model is called {name!r}, too. Rename one of the files.")
        self._by_name[name] = ServedModel(name, session, **options)

    def _listen(self, source: str) -> None:
        self.listener = loading.load_session(source, streaming=True, threads=1)
        self.listener_name = _name_of(source)

    def _batch_steps(self, session: Any, max_streams: int) -> StepBatcher:
        self._stepping = StepBatcher(session, max_streams=max_streams)
        return self._stepping

    def _search_streams(self, listener: BaseStreamingSession, searching: Mapping[str, Any]) -> None:
        try:
            listener.search(**searching)
        except ValueError as error:
            _log.info("Streams are decoded greedily: %s", error)

    def _listen_by(self, recognizer: str) -> None:
        try:
            self._listen(recognizer)
        except ValueError:
            _log.info("%s cannot listen: each utterance is recognized at its end.", recognizer)


def _name_of(source: str) -> str:
    return Path(os.fspath(source)).stem


def _canary(model: Any) -> tuple[np.ndarray, ...]:
    """A constant random signal with the shape of a model's input, and its covariates known ahead, if it has any."""
    samples = max(int(model.sample_rate), 2 * int(getattr(model, "context", 0) or 0))
    channels, columns = getattr(model, "channels", None), getattr(model, "columns", None)
    shape = (samples,) if columns is None else (samples, columns)
    signal = (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    if channels is None or columns is None or columns == channels:
        return (signal,)
    return signal, np.zeros((model.horizon, columns - channels), np.float32)
