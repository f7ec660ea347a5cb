"""Wyoming, the protocol of Home Assistant's voice services, over TCP: describe, transcribe, audio, transcript.

A message is a line of JSON with a type, followed by the announced number of bytes of further JSON and of audio. The
`wyoming` library is not used here: its reader accepts any announced number of bytes, and waits for them forever.

https://github.com/OHF-Voice/wyoming
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from speechrnn import __version__
from speechrnn.serving.models import ServedModel
from speechrnn.serving.openai import language
from speechrnn.serving.refusals import Refusal
from speechrnn.serving.service import Service
from speechrnn.serving.sockets import pcm16, utterance_recognizer
from speechrnn.serving.utterances import UtteranceRecognizer

_log = logging.getLogger("speechrnn.serving")

_LINE_BYTES, _DATA_BYTES, _AUDIO_BYTES = 1 << 16, 1 << 20, 1 << 22
_SEND_SECONDS, _LINGER_SECONDS = 10.0, 2.0
_HIGHEST_RATE = 1_000_000


async def listen(service: Service, host: str, port: int) -> asyncio.Server:
    """Start a server of the protocol.

    Raises:
        OSError: The address is not available.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Session(service, reader, writer).run()

    return await asyncio.start_server(connected, host, port, limit=_LINE_BYTES)


class _Event(NamedTuple):
    type: str
    data: dict[str, Any]
    payload: bytes


def _format(data: dict[str, Any]) -> dict[str, Any]:
    """The format of audio: rate, width in bytes and channels."""
    return {name: data[name] for name in ("rate", "width", "channels") if data.get(name) is not None}


class _Session:
    """A session with one client.

    Args:
        service: The server.
        reader: Stream from the client.
        writer: Stream to the client.
    """

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service, self._reader, self._writer = service, reader, writer
        self._recognizer: UtteranceRecognizer | None = None
        self._format: dict[str, Any] = {}
        self._channels = self._sent = 0

    async def run(self) -> None:
        """Answer messages until the client disconnects, or sends an invalid one."""
        try:
            with self._service.streams.entered():
                while (event := await self._read()) is not None:
                    await self._answer(event)
        except Refusal as refusal:
            await self._send_error(refusal.message, refusal.code or "invalid-message")
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has disconnected, or is too slow
        except Exception:
            _log.exception("wyoming: the server failed.")
            await self._send_error("The server failed.", "server-failed")
        finally:
            self._discard()
            self._writer.close()

    async def _answer(self, event: _Event) -> None:
        if event.type == "describe":
            await self._send("info", **self._info())
        elif event.type == "ping":
            await self._send("pong", **event.data)
        elif event.type == "transcribe":
            self._service.find_model(event.data.get("name"), lambda served: served.recognizes, "recognizer")
        elif event.type == "audio-start":
            self._begin(event.data)
            await self._send("transcript-start", language=self._language())
        elif event.type == "audio-chunk":
            if self._recognizer is None:
                self._begin(event.data)
                await self._send("transcript-start", language=self._language())
            elif (audio_format := {**self._format, **_format(event.data)}) != self._format:  # each chunk has a format
                if self._recognizer.utterance_seconds:
                    raise Refusal(400, "The rate, width and channels of audio cannot change before `audio-stop`.")
                self._begin(audio_format)
            await self._push(event)
        elif event.type == "audio-stop":
            await self._commit()

    def _begin(self, data: dict[str, Any]) -> None:
        rate: Any = data.get("rate")
        width: Any = data.get("width")
        channels: Any = data.get("channels")
        integers = isinstance(rate, int) and isinstance(channels, int)
        if not integers or abs(rate) > _HIGHEST_RATE or width != 2 or channels not in (1, 2):
            received = ", ".join(f"{name}={str(data.get(name))[:20]}" for name in ("rate", "width", "channels"))
            raise Refusal(400, f"Audio must have 16 bits, one or two channels, and a rate. Received: {received}.")
        try:
            self._discard()
            self._recognizer, self._sent, self._channels = utterance_recognizer(self._service, rate, None), 0, channels
            self._format = _format(data)
        except ValueError as error:
            raise Refusal(400, str(error)) from error

    async def _push(self, event: _Event) -> None:
        recognizer = self._recognizer
        if recognizer is None:
            return
        try:
            samples = pcm16(event.payload).reshape(-1, self._channels)
            samples = samples[:, 0] if self._channels == 1 else samples.mean(axis=1, dtype=np.float32)
            events = await self._service.listen(lambda: recognizer.push(samples))
        except ValueError as error:
            raise Refusal(400, str(error)) from error
        if recognizer.seconds > 60 * self._service.options.most_minutes:
            raise Refusal(413, f"A stream may last at most {self._service.options.most_minutes:g} minutes.")
        for one in events:
            await self._chunk([word.word for word in one.words])

    async def _commit(self) -> None:
        if self._recognizer is None:
            raise Refusal(400, "There was no audio before `audio-stop`.")
        recognizer = self._recognizer
        events = await self._service.listen(recognizer.commit)
        final = events[-1].words
        await self._chunk([word.word for word in final[self._sent :]])
        await self._send("transcript", text=" ".join(word.word for word in final), language=self._language())
        await self._send("transcript-stop")
        self._discard()

    async def _chunk(self, words: list[str]) -> None:
        if words:
            await self._send("transcript-chunk", text=f"{' ' if self._sent else ''}{' '.join(words)}")
            self._sent += len(words)

    def _discard(self) -> None:
        if self._recognizer is not None:
            self._service.metrics.audio.labels("wyoming").inc(self._recognizer.seconds)
        self._recognizer = None

    def _language(self, served: ServedModel | None = None) -> str:
        """Language of a recognizer, by default of the first one."""
        spoken = language(served or self._service.recognizer())
        return "en" if spoken == "english" else spoken

    def _info(self) -> dict[str, Any]:
        attribution = {"name": "speechrnn", "url": ""}
        recognizers = [served for served in self._service.models if served.recognizes]
        models = [
            {
                "name": served.name,
                "languages": [self._language(served)],
                "attribution": attribution,
                "installed": True,
                "description": str(served.model.card.get("description", served.name)),
                "version": __version__,
            }
            for served in recognizers
        ]
        program = {
            "name": "speechrnn",
            "attribution": attribution,
            "installed": True,
            "description": "Recurrent speech recognition",
            "version": __version__,
            "models": models,
            "supports_transcript_streaming": True,
        }
        return {"asr": [program] if models else []}

    async def _read(self) -> _Event | None:
        """Read the next message; None at the end.

        Raises:
            Refusal: It is invalid.
            TimeoutError: It does not arrive in time.
        """
        async with asyncio.timeout(self._service.options.idle_seconds):
            try:
                line = await self._reader.readline()
            except ValueError as error:
                raise Refusal(400, f"A header may have at most {_LINE_BYTES:,} bytes.") from error
            if not line:
                return None
            try:
                head = json.loads(line)
                kind, data = head["type"], head.get("data") or {}
                sizes = [int(head.get(name) or 0) for name in ("data_length", "payload_length")]
                if not isinstance(kind, str) or not isinstance(data, dict) or min(sizes) < 0:
                    raise ValueError("it has no type")
                if sizes[0] > _DATA_BYTES or sizes[1] > _AUDIO_BYTES:
                    raise Refusal(413, f"A message may have at most {_AUDIO_BYTES:,} bytes. Received: {max(sizes):,}.")
                if sizes[0]:
                    data = {**data, **json.loads(await self._reader.readexactly(sizes[0]))}
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
                raise Refusal(400, "A message must be a line of JSON with a `type`.") from error
            return _Event(kind, data, await self._reader.readexactly(sizes[1]) if sizes[1] else b"")

    async def _send(self, kind: str, /, **data: Any) -> None:
        body = json.dumps(data).encode() if data else b""  # in ASCII, since a client may have sent invalid Unicode
        head = {"type": kind, "version": __version__, **({"data_length": len(body)} if data else {})}
        self._writer.write(json.dumps(head).encode() + b"\n" + body)
        async with asyncio.timeout(_SEND_SECONDS):
            await self._writer.drain()

    async def _send_error(self, text: str, code: str) -> None:
        """Send an error, and read what the client still sends, else closing would lose the message."""
        with suppress(OSError, TimeoutError):
            await self._send("error", text=text, code=code)
            self._writer.write_eof()
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(_LINE_BYTES):
                    pass
