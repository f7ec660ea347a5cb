"""Vosk's WebSocket, as vosk-server's `asr_server.py` speaks it: one answer to each message of audio.

https://alphacephei.com/vosk/server
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from speechrnn.serving.hearing import Ear, Heard, Pauses
from speechrnn.serving.refusals import Refusal, of_json
from speechrnn.serving.service import Service
from speechrnn.serving.sockets import Line, ear, pcm16

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.transcript import Word

_log = logging.getLogger("speechrnn.serving")

_RATE = 16000.0


def routes(service: Service) -> list[WebSocketRoute]:
    """The protocol at `/`, where vosk-server has it, and at `/vosk`."""

    async def endpoint(websocket: WebSocket) -> None:
        await Line.served(websocket, service, lambda line: _Session(service, line).run())

    return [WebSocketRoute(path, endpoint) for path in ("/", "/vosk")]


class _Session:
    """One client.

    Args:
        service: The server.
        line: Its connection.
    """

    def __init__(self, service: Service, line: Line) -> None:
        self._service, self._line = service, line
        self._rate, self._words, self._alternatives = _RATE, True, 0
        self._ear: Ear | None = None

    async def run(self) -> None:
        """Answer until the client says that it has ended, or leaves."""
        try:
            async for message in self._line.messages():
                if isinstance(message, bytes):
                    await self._line.send(await self._heard(message))
                    continue
                told = of_json(message, "A text")
                if "config" in told:
                    self._configure(told["config"])
                elif told.get("eof") or told.get("reset"):
                    await self._line.send(await self._ended())
                    if told.get("eof"):
                        return
                else:
                    raise Refusal(400, 'A message must be audio, {"config": {...}}, {"reset": 1} or {"eof": 1}.')
        finally:
            if self._ear is not None:
                self._service.metrics.audio.labels("/vosk").inc(self._ear.seconds)

    def _configure(self, config: Any) -> None:
        if not isinstance(config, dict):
            raise Refusal(400, f"`config` must be an object. Received: {str(config)[:60]!r}.")
        try:
            rate = float(config.get("sample_rate", self._rate))
            self._alternatives = int(config.get("max_alternatives", self._alternatives))
        except (TypeError, ValueError, OverflowError) as error:
            raise Refusal(400, "`sample_rate` and `max_alternatives` must be numbers.") from error
        self._words = bool(config.get("words", self._words))
        if config.get("phrase_list"):
            _log.info("A phrase list of Vosk's is ignored: a stream recognizes all that its model knows.")
        if rate != self._rate and self._ear is not None:
            if self._ear.held:
                raise Refusal(400, "The sample rate of an utterance cannot change. End it before, by `reset` or `eof`.")
            self._ear = None
        self._rate = rate

    def _listening(self) -> Ear:
        if self._ear is None:
            try:
                self._ear = ear(self._service, self._rate, Pauses())
            except ValueError as error:
                raise Refusal(400, str(error)) from error
        return self._ear

    async def _heard(self, data: bytes) -> str:
        listening = self._listening()
        try:
            samples = pcm16(data)
            heard = await self._service.listen(lambda: listening.push(samples))
        except ValueError as error:
            raise Refusal(400, str(error)) from error
        if any(one.kind == "final" for one in heard):
            return self._result(heard)
        return _json({"partial": listening.text})

    async def _ended(self) -> str:
        listening = self._listening()
        return self._result(await self._service.listen(listening.commit))

    def _result(self, heard: Sequence[Heard]) -> str:
        """One answer, also where a message holds the ends of two utterances."""
        words = [word for one in heard if one.kind == "final" for word in one.words]
        text = " ".join(word.word for word in words)
        if self._service.options.log_text:
            _log.info("%s", text)
        found: dict[str, Any] = {"result": [_word(word) for word in words]} if self._words and words else {}
        found["text"] = text
        if self._alternatives:
            certain = min((word.confidence for word in words), default=1.0)
            return _json({"alternatives": [{"confidence": round(certain, 6), **found}]})
        return _json(found)


def _word(word: Word) -> dict[str, Any]:
    return {
        "conf": round(word.confidence, 6),
        "end": round(word.end, 3),
        "start": round(word.start, 3),
        "word": word.word,
    }


def _json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False)
