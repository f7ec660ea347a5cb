"""The server process: a socket, uvicorn, and an end that lets what is under way come to its end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from speechrnn.serving import app
from speechrnn.serving.options import ServeOptions
from speechrnn.serving.service import Service

_log = logging.getLogger("speechrnn.serving")

_HEADER_SECONDS = 10.0
"""Time in which a header must have arrived."""
_MESSAGE_BYTES = 1 << 22
"""Largest message of a WebSocket."""
_HEAPS, _LARGE_BYTES = 2, 1 << 18
"""Heaps of the C library that all threads share; what is larger goes back to the system as soon as it is freed."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Names of glibc's `mallopt`."""


class _Patient(H11Protocol):
    """HTTP, with an end to the patience for a client that does not say what it wants.

    uvicorn waits forever for the rest of a header.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > 2 * (self.limit_concurrency or math.inf):
            transport.abort()  # there is no answer for so many
            return
        self.loop.call_later(_HEADER_SECONDS, self._look, transport, None)

    def _look(self, transport: asyncio.Transport, before: Any) -> None:
        """Close a connection on which nothing has been asked since the look before."""
        if transport.is_closing() or transport.get_protocol() is not self:  # it may be a WebSocket by now
            return
        cycle = self.cycle
        idle = cycle is None or cycle.response_complete
        if idle and cycle is before:
            transport.close()
            return
        self.loop.call_later(_HEADER_SECONDS, self._look, transport, cycle if idle else self)


class Server(uvicorn.Server):
    """uvicorn, which tells the service when it is told to stop.

    Args:
        config: Of uvicorn.
        service: What is served.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        self._service.stopping = True
        super().handle_exit(sig, frame)


def configuration(service: Service) -> uvicorn.Config:
    """How uvicorn runs the application of a service."""
    options = service.options
    return uvicorn.Config(
        app.make(service),
        http=_Patient,
        ws="websockets-sansio",
        ws_max_size=_MESSAGE_BYTES,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=options.connections,
        timeout_graceful_shutdown=max(1, round(options.grace_seconds)),
    )


def listening(options: ServeOptions) -> socket.socket:
    """The socket of a server; known to be free before models are loaded.

    Raises:
        OSError: The address cannot be listened to.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else "unknown host" if number else error
        option = "--host" if number < 0 else "--port"  # a resolver's numbers are negative
        raise OSError(
            f"{options.host}:{options.port} cannot be listened to ({reason}). Choose another {option}."
        ) from error


def run(sock: socket.socket, make: Callable[[], Service]) -> None:
    """Serve until the process is told to stop; then answer what has been asked, and end.

    Args:
        sock: From `listening`.
        make: Opens the models.
    """
    _share_heaps()
    with sock:
        service = make()
        host, port = sock.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        _log.info("%s: http://%s:%d", ", ".join(served.name for served in service.models), host, port)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        with _ends_well():
            Server(configuration(service), service).run(sockets=[sock])
        _log.info("stopped.")


def _share_heaps() -> None:
    """Let memory not grow with the hours.

    glibc gives threads up to eight heaps per processor. What one of them needed at once stays in its heap, so that
    each heap slowly grows to the most that any thread ever needs: on two processors by 1 MB in a minute, for hours.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        for name, value in ((_M_ARENA_MAX, _HEAPS), (_M_MMAP_THRESHOLD, _LARGE_BYTES)):
            ctypes.CDLL(None).mallopt(name, value)


@contextlib.contextmanager
def _ends_well() -> Iterator[None]:
    """A server that was told to stop, and has, did what it should: uvicorn raises the signal once more in the end."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
