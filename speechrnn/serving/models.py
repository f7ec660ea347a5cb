"""The models of a server: each opened once, its batches shared by all who ask."""

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
from speechrnn.serving.batching import Batcher, Job, Shared, Together
from speechrnn.text import Phones

if TYPE_CHECKING:
    from speechrnn.decoding.options import Decoder
    from speechrnn.models.commands import Command
    from speechrnn.tasks.recognition.streaming_base import BaseStreamingSession

__all__ = ["Models", "Served"]

_log = logging.getLogger("speechrnn.serving")

_SEARCHES = 16
"""Searches with hot words that are kept."""
_TRIED = 8
"""Hot words that are tried one by one, since a search may take a second to make."""
_SAME = 1e-2
"""How far the canary's answer may lie from the first one."""


class Served:
    """One model.

    Args:
        name: What clients call it.
        model: A session.
        gather: See `Batcher`.
        batch_seconds: Seconds of signals that are run together.
        on_batch: See `Batcher`.
        decoding: Options of the search of a recognizer.
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
            most_samples=batch_seconds * model.sample_rate,
            on_batch=on_batch,
        )
        self._canary = _canary(model)
        self._first = self._run_canary(None)
        self._lock = threading.Lock()
        self._search = functools.lru_cache(_SEARCHES)(self._made_search)
        if self.recognizes:
            self.search(())

    @property
    def recognizes(self) -> bool:
        """Whether it turns speech into text."""
        return hasattr(self.model, "transcribe")

    def shared(self, job: Job | None = None) -> Any:
        """The model for one request; it may be used in any thread."""
        return Shared(self.model, self.kind.primitive, self._batcher, job)

    def search(self, hotwords: Sequence[str]) -> Decoder:
        """What turns the logits of a recognizer into words, with some of them made likelier.

        Raises:
            ValueError: A hot word cannot be written.
        """
        with self._lock:  # what is being made need not be made twice
            return self._search(tuple(hotwords))

    def fitting(self, hotwords: Sequence[str]) -> tuple[str, ...]:
        """Those of these words that the model can write; of many of which some cannot be written, none."""
        vocabulary = self.model.vocabulary
        if not isinstance(vocabulary, Phones):
            hotwords = [word for word in hotwords if not vocabulary.missing(word)]
        if not hotwords:
            return ()
        try:
            self.search(hotwords)
            return tuple(hotwords)
        except ValueError:
            return tuple(word for word in hotwords if len(hotwords) <= _TRIED and self._writes(word))

    def answers(self, job: Job) -> None:
        """Run the canary.

        Raises:
            ValueError: The answer is not what it was at the start.
            Stopped: It takes too long.
        """
        found = self._run_canary(job)
        if found.shape != self._first.shape or not np.allclose(found, self._first, rtol=_SAME, atol=_SAME):
            raise ValueError(f"{self.name}: the canary's answer is not what it was when the server started.")

    def close(self) -> None:
        """Answer what waits, and end."""
        self._batcher.close()

    def _run_canary(self, job: Job | None) -> np.ndarray:
        found = np.asarray(getattr(self.shared(job), self.kind.primitive)(*([part] for part in self._canary))[0])
        if not np.isfinite(found).all():
            raise ValueError(f"{self.name}: the model gave no usable output for the canary: some of it is no number.")
        return found

    def _made_search(self, hotwords: tuple[str, ...]) -> Decoder:
        from speechrnn.tasks.recognition import attachments

        # Those of the command line stay.
        own = self._decoding | {"hotwords": (*self._decoding.get("hotwords", ()), *hotwords)} if hotwords else {}
        return attachments.decoder(self.model, **(own or self._decoding))

    def _writes(self, word: str) -> bool:
        try:
            self.search((word,))
        except ValueError:
            return False
        return True


class Models:
    """All models of a server, by name.

    Args:
        models: Paths, or names that ship; without any the one that transcribes where none is given.
        streaming: What listens; None takes what goes with the first recognizer, if it can listen.
        threads: Processor threads of each.
        streams_together: Streams whose steps run as one batch, where that changes no answer.
        **options: Of `Served`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file holds no model that takes signals, or `streaming` cannot listen.
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
        self._by_name: dict[str, Served] = {}
        sources = {loading.DEFAULT if model == "default" else model: None for model in models or (loading.DEFAULT,)}
        self.listener: BaseStreamingSession | None = None
        self.listener_name = ""
        self._stepping: Together | None = None
        for source in sources:
            session = loading.load_session(source, threads=threads)
            if not session.takes_signals:
                raise ValueError(f"{source}: is a {kinds.of(session).noun}. Only models of signals are served.")
            self._add(source, session, **options)
        recognizers = [source for source in sources if self._by_name[_named(source)].recognizes]
        if streaming is not None:
            self._listen(streaming)
        elif recognizers:
            self._listen_by(recognizers[0])
        if self.listener is not None:
            searching = options.get("decoding") or {}
            if searching or not self.listener.searches:
                self._search_streams(self.listener, searching)
            if streams_together > 1 and self.listener.can_batch_steps:
                self.listener.run_with(lambda session: self._together(session, streams_together))

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_name.values())

    def find(self, name: str | None, fits: Callable[[Served], bool]) -> Served | None:
        """The model of a name where it fits, or else the first that does; None where none does."""
        fitting = [served for served in self if fits(served)]
        return next((served for served in fitting if served.name == name), fitting[0] if fitting else None)

    def stream(self) -> BaseStreamingSession | None:
        """A new stream of the model that listens; None where there is none."""
        return None if self.listener is None else self.listener.new_stream()

    def close(self) -> None:
        """End their threads."""
        for served in self:
            served.close()
        if self._stepping is not None:
            self._stepping.close()

    def _add(self, source: str, session: Any, **options: Any) -> None:
        name = _named(source)
        if name in self._by_name:
            raise ValueError(f"{source}: another model is called {name!r}, too. Rename one of the files.")
        self._by_name[name] = Served(name, session, **options)

    def _listen(self, source: str) -> None:
        self.listener = loading.load_session(source, streaming=True, threads=1)
        self.listener_name = _named(source)

    def _together(self, session: Any, most: int) -> Together:
        self._stepping = Together(session, most=most)
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


def _named(source: str) -> str:
    return Path(os.fspath(source)).stem


def _canary(model: Any) -> tuple[np.ndarray, ...]:
    """A signal of the shape that a model takes, the same each time, and what is known ahead of it if that is asked."""
    samples = max(int(model.sample_rate), 2 * int(getattr(model, "context", 0) or 0))
    channels, columns = getattr(model, "channels", None), getattr(model, "columns", None)
    shape = (samples,) if columns is None else (samples, columns)
    signal = (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    if channels is None or columns is None or columns == channels:
        return (signal,)
    return signal, np.zeros((model.horizon, columns - channels), np.float32)
