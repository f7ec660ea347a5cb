"""What all WebSockets share: a place among the streams, patience that has an end, and messages of a bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from speechrnn.serving.hearing import Ear, Pauses, WholeStream
from speechrnn.serving.refusals import Refusal
from speechrnn.serving.service import Service

_SEND_SECONDS = 10.0
"""Time in which a client must have taken a message."""
_NORMAL, _AWAY, _POLICY, _FULL = 1000, 1001, 1008, 1013


class Line:
    """A WebSocket that was accepted.

    Args:
        websocket: The connection.
        service: The server.
    """

    def __init__(self, websocket: WebSocket, service: Service) -> None:
        self._websocket, self._service = websocket, service

    @classmethod
    async def served(cls, websocket: WebSocket, service: Service, talk: Callable[[Line], Awaitable[None]]) -> None:
        """Accept a connection, talk on it if there is a place, and close it in the end; one that is gone is no error.

        A browser that gave its key as a subprotocol is told the one beside it.
        """
        offered = [name for name in websocket.scope.get("subprotocols", ()) if not name.startswith("openai-insecure")]
        await websocket.accept(subprotocol=offered[0] if offered else None)
        line = cls(websocket, service)
        try:
            with service.streams.entered():
                await talk(line)
            await line.close(_NORMAL)
        except Refusal as refusal:
            await line.close(_FULL if refusal.status == 429 else _POLICY, refusal.message)
        except (WebSocketDisconnect, TimeoutError):
            await line.close(_AWAY, "The client is too slow, or has nothing to say.")

    async def messages(self) -> AsyncIterator[str | bytes]:
        """What the client sends, until it leaves or is silent for too long.

        Raises:
            Refusal: It has been listened to for too long.
        """
        options = self._service.options
        end = asyncio.get_running_loop().time() + 60 * options.most_minutes
        while True:
            async with asyncio.timeout(options.idle_seconds):
                message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if asyncio.get_running_loop().time() > end:
                raise Refusal(413, f"A stream may last at most {options.most_minutes:g} minutes. Start another one.")
            text, data = message.get("text"), message.get("bytes")
            yield text if text is not None else data or b""

    async def send(self, text: str) -> None:
        """Send a message.

        Raises:
            TimeoutError: The client does not take it.
            WebSocketDisconnect: It has left, or did not answer to pings.
        """
        async with asyncio.timeout(_SEND_SECONDS):
            try:
                await self._websocket.send_text(text)
            except RuntimeError as error:  # of uvicorn, if it has closed the connection
                raise WebSocketDisconnect from error

    async def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Say why it ends; nothing happens if it has ended."""
        if WebSocketState.DISCONNECTED in (self._websocket.client_state, self._websocket.application_state):
            return
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._websocket.close(code, reason[:120])
        except (TimeoutError, RuntimeError):
            return


def ear(service: Service, rate: float, pauses: Pauses | None) -> Ear:
    """What listens for one client.

    Raises:
        Refusal: This server has no recognizer.
        ValueError: The rate is none of audio.
    """
    model = service.models.listener
    if model is not None:
        return Ear(model.new_stream, model_rate=int(model.sample_rate), rate=rate, pauses=pauses)
    served = service.recognizer()
    return Ear(lambda: WholeStream(served), model_rate=int(served.model.sample_rate), rate=rate, pauses=pauses)


def pcm16(data: bytes) -> np.ndarray:
    """16-bit little-endian samples as float32 `(samples,)`.

    Raises:
        ValueError: The last sample is cut off.
    """
    if len(data) % 2:
        raise ValueError(f"Audio must be whole samples of 16 bits. Received: {len(data)} bytes.")
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768
