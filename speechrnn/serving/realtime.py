"""OpenAI's `/v1/realtime`, transcription sessions: 16-bit PCM at 24 kHz in, words out as they become final.

https://platform.openai.com/docs/guides/realtime-transcription
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from speechrnn.faults import choice_message
from speechrnn.serving.refusals import Refusal, invalid, parse_json
from speechrnn.serving.service import Service
from speechrnn.serving.sockets import Connection, pcm16, utterance_recognizer
from speechrnn.serving.utterances import Endpointing, SpeechEvent, UtteranceRecognizer

_RATE = 24000
_MIN_SECONDS = 0.1
"""Minimum seconds of audio in a buffer that is committed."""
_TRANSCRIPTION = ("model", "language", "prompt")
"""Keys of `transcription` that a session stores."""
_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


def routes(service: Service) -> list[WebSocketRoute]:
    """Route of the protocol at `/v1/realtime`."""

    async def endpoint(websocket: WebSocket) -> None:
        await Connection.serve(websocket, service, lambda connection: _Session(service, connection).run())

    return [WebSocketRoute("/v1/realtime", endpoint)]


class _Session:
    """A session with one client.

    Args:
        service: The server.
        connection: Its connection.
    """

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service, self._connection = service, connection
        self._id = f"sess_{secrets.token_hex(12)}"
        self._turns: dict[str, Any] | None = dict(_VAD)
        self._transcription: dict[str, Any] = {"model": service.models.listener_name or service.recognizer().name}
        self._recognizer = self._new_recognizer()
        self._item, self._sent = _new_item(), 0
        self._before: str | None = None

    async def run(self) -> None:
        """Answer messages until the client disconnects."""
        await self._send("session.created", session=self._session())
        handlers = {
            "session.update": self._update,
            "transcription_session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        try:
            async for message in self._connection.messages():
                event: Mapping[str, Any] = {}
                try:
                    event = parse_json(message, "A message")
                    kind = event.get("type")
                    if not isinstance(kind, str) or kind not in handlers:
                        raise invalid(choice_message("type", kind, handlers), "type")
                    await handlers[kind](event)
                except Refusal as refusal:
                    if refusal.status == 429 or refusal.status == 404:
                        raise
                    details = refusal.to_dict()["error"]
                    await self._send("error", error={**details, "event_id": event.get("event_id")})
        finally:
            self._service.metrics.audio.labels("/v1/realtime").inc(self._recognizer.seconds)

    def _session(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": _RATE},
                    "transcription": self._transcription,
                    "turn_detection": self._turns,
                    "noise_reduction": None,
                }
            },
        }

    def _new_recognizer(self) -> UtteranceRecognizer:
        endpointing = None
        if self._turns is not None:
            try:
                endpointing = Endpointing(
                    silence=float(self._turns.get("silence_duration_ms") or 500) / 1000,
                    threshold=float(0.5 if self._turns.get("threshold") is None else self._turns["threshold"]),
                )
            except (TypeError, ValueError, OverflowError) as error:
                raise invalid(str(error), "session.audio.input.turn_detection") from error
        return utterance_recognizer(self._service, _RATE, endpointing)

    async def _update(self, event: Mapping[str, Any]) -> None:
        session = _object(event.get("session"), "session")
        beta = event["type"].startswith("transcription_session")
        if not beta and session.get("type", "transcription") != "transcription":
            message = "`session.type` must be transcription: this server listens, and does not speak."
            raise invalid(message, "session.type")
        settings = session if beta else _object(_object(session.get("audio", {}), "session.audio").get("input", {}),
                                             "session.audio.input")  # fmt: skip
        encoding = settings.get("input_audio_format" if beta else "format")
        if encoding not in (None, "pcm16") and not (
            isinstance(encoding, dict) and encoding.get("type") == "audio/pcm" and encoding.get("rate") in (None, _RATE)
        ):
            message = f"Audio must be audio/pcm at {_RATE} Hz. Received: {str(encoding)[:80]}."
            raise invalid(message, "session.audio.input.format")
        before = self._turns
        if "turn_detection" in settings:
            turns = settings["turn_detection"]
            self._turns = None if turns is None else {**_VAD, **_object(turns, "session.audio.input.turn_detection")}
        try:
            new_recognizer = self._new_recognizer() if self._turns != before else None
        except Refusal:
            self._turns = before
            raise
        if isinstance(transcription := settings.get("input_audio_transcription" if beta else "transcription"), dict):
            self._transcription |= {name: transcription[name] for name in _TRANSCRIPTION if name in transcription}
        if new_recognizer is not None:
            self._recognizer = new_recognizer
        await self._send("transcription_session.updated" if beta else "session.updated", session=self._session())

    async def _append(self, event: Mapping[str, Any]) -> None:
        audio = event.get("audio")
        try:
            samples = pcm16(base64.b64decode(audio if isinstance(audio, str) else "*", validate=True))
        except (binascii.Error, ValueError) as error:
            raise invalid(f"`audio` must be PCM of 16 bits in base64. {error}", "audio") from error
        await self._process(lambda: self._recognizer.push(samples))

    async def _commit(self, event: Mapping[str, Any]) -> None:
        if (seconds := self._recognizer.utterance_seconds) < _MIN_SECONDS:
            message = f"The buffer has {1000 * seconds:.0f} ms of audio; 100 ms are needed."
            raise Refusal(400, message, code="input_audio_buffer_commit_empty")
        await self._committed()
        await self._process(self._recognizer.commit)

    async def _clear(self, event: Mapping[str, Any]) -> None:
        self._recognizer.clear()
        self._item, self._sent = _new_item(), 0
        await self._send("input_audio_buffer.cleared")

    async def _process(self, step: Any) -> None:
        """Run a step and send its events; if the model fails, only the current item fails, not the session."""
        try:
            events = await self._service.listen(step)
        except ValueError as error:
            failed = Refusal(500, str(error), code="transcription_failed").to_dict()["error"]
            await self._transcribed("failed", error=failed)
            self._next()
            self._recognizer = self._new_recognizer()
            return
        for event in events:
            await self._send_event(event)

    async def _send_event(self, event: SpeechEvent) -> None:
        if event.kind == "started":
            await self._send(
                "input_audio_buffer.speech_started", audio_start_ms=round(1000 * event.at), item_id=self._item
            )
        elif event.kind == "words":
            text = " ".join(word.word for word in event.words)
            await self._transcribed("delta", delta=f"{' ' if self._sent else ''}{text}")
            self._sent += len(event.words)
        elif event.kind == "stopped":
            await self._send(
                "input_audio_buffer.speech_stopped", audio_end_ms=round(1000 * event.at), item_id=self._item
            )
            await self._committed()
        else:
            text = " ".join(word.word for word in event.words)
            seconds = event.words[-1].end - event.words[0].start if event.words else 0.0
            await self._transcribed(
                "completed", transcript=text, usage={"type": "duration", "seconds": round(seconds, 3)}
            )
            self._next()

    async def _committed(self) -> None:
        await self._send("input_audio_buffer.committed", item_id=self._item, previous_item_id=self._before)
        item = {
            "id": self._item,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        await self._send("conversation.item.added", item=item, previous_item_id=self._before)

    def _next(self) -> None:
        self._item, self._before, self._sent = _new_item(), self._item, 0

    async def _transcribed(self, what: str, **about: Any) -> None:
        kind = f"conversation.item.input_audio_transcription.{what}"
        await self._send(kind, item_id=self._item, content_index=0, **about)

    async def _send(self, kind: str, **about: Any) -> None:
        event = {"type": kind, "event_id": f"event_{secrets.token_hex(10)}", **about}
        await self._connection.send(json.dumps(event))  # in ASCII, since a client may have sent invalid Unicode


def _new_item() -> str:
    return f"item_{secrets.token_hex(10)}"


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"`{name}` must be an object. Received: {str(value)[:60]!r}.", name)
    return value
