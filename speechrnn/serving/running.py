"""The server process: a socket, uvicorn, and a shutdown that finishes current requests."""

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
"""Time limit for the header of a request."""
_MESSAGE_BYTES = 1 << 22
"""Maximum size of a WebSocket message."""
_ARENAS, _LARGE_BYTES = 2, 1 << 18
"""Number of malloc arenas, and size of blocks that are returned to the system as soon as they are freed."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Parameters of glibc's `mallopt`."""


class _TimeoutProtocol(H11Protocol):
    """HTTP with a timeout for the header of a request, for which uvicorn waits forever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > 2 * (self.limit_concurrency or math.inf):
            transport.abort()  # too many even to answer
            return
        self.loop.call_later(_HEADER_SECONDS, self._check_idle, transport, None)

    def _check_idle(self, transport: asyncio.Transport, before: Any) -> None:
        """Close a connection without a new request since the last check."""
        if transport.is_closing() or transport.get_protocol() is not self:  # it may have become a WebSocket
            return
        cycle = self.cycle
        idle = cycle is None or cycle.response_complete
        if idle and cycle is before:
            transport.close()
            return
        self.loop.call_later(_HEADER_SECONDS, self._check_idle, transport, cycle if idle else self)


class Server(uvicorn.Server):
    """A uvicorn server that marks the service as stopping.

    Args:
        config: Configuration of uvicorn.
        service: The service.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        self._service.stopping = True
        super().handle_exit(sig, frame)


def configuration(service: Service) -> uvicorn.Config:
    """Configuration of uvicorn for a service."""
    options = service.options
    return uvicorn.Config(
        app.make(service),
        http=_TimeoutProtocol,
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
    """Open the server's socket, before models are loaded.

    Raises:
        OSError: The address is not available.
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
    """Serve until the process receives a signal; then finish current requests.

    Args:
        sock: The socket, from `listening`.
        make: Creates the service, which opens the models.
    """
    _limit_arenas()
    with sock:
        service = make()
        host, port = sock.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        _log.info("%s: http://%s:%d", ", ".join(served.name for served in service.models), host, port)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        with _ignore_repeated_signal():
            Server(configuration(service), service).run(sockets=[sock])
        _log.info("stopped.")


def _limit_arenas() -> None:
    """Limit the number of malloc arenas, so that memory does not grow for hours.

    glibc creates up to eight arenas per processor for threads. Each arena grows slowly to the maximum that any thread
    needs: on two processors by 1 MB per minute, for hours.
    """
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        for name, value in ((_M_ARENA_MAX, _ARENAS), (_M_MMAP_THRESHOLD, _LARGE_BYTES)):
            ctypes.CDLL(None).mallopt(name, value)


@contextlib.contextmanager
def _ignore_repeated_signal() -> Iterator[None]:
    """Ignore the signal that uvicorn raises again after a clean shutdown."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
