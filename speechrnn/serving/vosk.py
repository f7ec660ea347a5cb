"""Vosk's WebSocket protocol, as in vosk-server's `asr_server.py`: one answer to each message of audio.

https://alphacephei.com/vosk/server
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from speechrnn.serving.refusals import Refusal, parse_json
from speechrnn.serving.service import Service
from speechrnn.serving.sockets import Connection, pcm16, utterance_recognizer
from speechrnn.serving.utterances import Endpointing, SpeechEvent, UtteranceRecognizer

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.transcript import Word

_log = logging.getLogger("speechrnn.serving")

_RATE = 16000.0


def routes(service: Service) -> list[WebSocketRoute]:
    """Routes of the protocol at `/`, as in vosk-server, and at `/vosk`."""

    async def endpoint(websocket: WebSocket) -> None:
        await Connection.serve(websocket, service, lambda connection: _Session(service, connection).run())

    return [WebSocketRoute(path, endpoint) for path in ("/", "/vosk")]


class _Session:
    """A session with one client.

    Args:
        service: The server.
        connection: Its connection.
    """

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service, self._connection = service, connection
        self._rate, self._words, self._alternatives = _RATE, True, 0
        self._recognizer: UtteranceRecognizer | None = None

    async def run(self) -> None:
        """Answer messages until the client sends the end, or disconnects."""
        try:
            async for message in self._connection.messages():
                if isinstance(message, bytes):
                    await self._connection.send(await self._push(message))
                    continue
                command = parse_json(message, "A text")
                if "config" in command:
                    self._configure(command["config"])
                elif command.get("eof") or command.get("reset"):
                    await self._connection.send(await self._commit())
                    if command.get("eof"):
                        return
                else:
                    raise Refusal(400, 'A message must be audio, {"config": {...}}, {"reset": 1} or {"eof": 1}.')
        finally:
            if self._recognizer is not None:
                self._service.metrics.audio.labels("/vosk").inc(self._recognizer.seconds)

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
        if rate != self._rate and self._recognizer is not None:
            if self._recognizer.utterance_seconds:
                raise Refusal(400, "The sample rate of an utterance cannot change. End it before, by `reset` or `eof`.")
            self._recognizer = None
        self._rate = rate

    def _get_recognizer(self) -> UtteranceRecognizer:
        if self._recognizer is None:
            try:
                self._recognizer = utterance_recognizer(self._service, self._rate, Endpointing())
            except ValueError as error:
                raise Refusal(400, str(error)) from error
        return self._recognizer

    async def _push(self, data: bytes) -> str:
        recognizer = self._get_recognizer()
        try:
            samples = pcm16(data)
            events = await self._service.listen(lambda: recognizer.push(samples))
        except ValueError as error:
            raise Refusal(400, str(error)) from error
        if any(one.kind == "final" for one in events):
            return self._result(events)
        return _json({"partial": recognizer.text})

    async def _commit(self) -> str:
        recognizer = self._get_recognizer()
        return self._result(await self._service.listen(recognizer.commit))

    def _result(self, events: Sequence[SpeechEvent]) -> str:
        """Answer for the final words, also if a message has the ends of two utterances."""
        words = [word for event in events if event.kind == "final" for word in event.words]
        text = " ".join(word.word for word in words)
        if self._service.options.log_text:
            _log.info("%s", text)
        result: dict[str, Any] = {"result": [_word(word) for word in words]} if self._words and words else {}
        result["text"] = text
        if self._alternatives:
            confidence = min((word.confidence for word in words), default=1.0)
            return _json({"alternatives": [{"confidence": round(confidence, 6), **result}]})
        return _json(result)


def _word(word: Word) -> dict[str, Any]:
    return {
        "conf": round(word.confidence, 6),
        "end": round(word.end, 3),
        "start": round(word.start, 3),
        "word": word.word,
    }


def _json(answer: dict[str, Any]) -> str:
    return json.dumps(answer, indent=2, ensure_ascii=False)
