"""Shared by all WebSockets: the limit of streams, timeouts, and messages of bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from speechrnn.serving.refusals import Refusal
from speechrnn.serving.service import Service
from speechrnn.serving.utterances import BufferedStream, Endpointing, UtteranceRecognizer

_SEND_SECONDS = 10.0
"""Time in which a client must have received a message."""
_NORMAL, _AWAY, _POLICY, _FULL = 1000, 1001, 1008, 1013


class Connection:
    """An accepted WebSocket.

    Args:
        websocket: The connection.
        service: The server.
    """

    def __init__(self, websocket: WebSocket, service: Service) -> None:
        self._websocket, self._service = websocket, service

    @classmethod
    async def serve(cls, websocket: WebSocket, service: Service, talk: Callable[[Connection], Awaitable[None]]) -> None:
        """Accept a connection, call `talk` if the limit of streams allows it, and close the connection at the end.

        A disconnected client is not an error. If a subprotocol has a key, another one that was offered is accepted.
        """
        offered = [name for name in websocket.scope.get("subprotocols", ()) if not name.startswith("openai-insecure")]
        await websocket.accept(subprotocol=offered[0] if offered else None)
        connection = cls(websocket, service)
        try:
            with service.streams.entered():
                await talk(connection)
            await connection.close(_NORMAL)
        except Refusal as refusal:
            await connection.close(_FULL if refusal.status == 429 else _POLICY, refusal.message)
        except (WebSocketDisconnect, TimeoutError):
            await connection.close(_AWAY, "The client is too slow, or has nothing to say.")

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Yield the client's messages, until it disconnects or sends nothing for too long.

        Raises:
            Refusal: The stream is too long.
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
            TimeoutError: The client does not receive it.
            WebSocketDisconnect: It has disconnected, or did not answer pings.
        """
        async with asyncio.timeout(_SEND_SECONDS):
            try:
                await self._websocket.send_text(text)
            except RuntimeError as error:  # from uvicorn, if it has closed the connection
                raise WebSocketDisconnect from error

    async def close(self, code: int = _NORMAL, reason: str = "") -> None:
        """Close the connection with a reason, unless it is closed."""
        if WebSocketState.DISCONNECTED in (self._websocket.client_state, self._websocket.application_state):
            return
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._websocket.close(code, reason[:120])
        except (TimeoutError, RuntimeError):
            return


def utterance_recognizer(service: Service, rate: float, endpointing: Endpointing | None) -> UtteranceRecognizer:
    """Create the recognizer for one client.

    Raises:
        Refusal: This server has no recognizer.
        ValueError: The sample rate is out of range.
    """
    listener = service.models.listener
    if listener is not None:
        model_rate = int(listener.sample_rate)
        return UtteranceRecognizer(listener.new_stream, model_rate, rate=rate, endpointing=endpointing)
    served = service.recognizer()
    model_rate = int(served.model.sample_rate)
    return UtteranceRecognizer(lambda: BufferedStream(served), model_rate, rate=rate, endpointing=endpointing)


def pcm16(data: bytes) -> np.ndarray:
    """Convert 16-bit little-endian samples to float32 `(samples,)`.

    Raises:
        ValueError: The last sample is incomplete.
    """
    if len(data) % 2:
        raise ValueError(f"Audio must be whole samples of 16 bits. Received: {len(data)} bytes.")
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768
