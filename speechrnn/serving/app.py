"""The ASGI application: checks access before any route, and reports errors in one form."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechrnn.serving import health, openai, pages, realtime, records, vosk, wyoming
from speechrnn.serving.refusals import Cancelled, Refusal
from speechrnn.serving.service import Service

_log = logging.getLogger("speechrnn.serving")

_OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no key, as the page's files below."""
_FILES = "/page/"
_SEND_SECONDS = 30.0
"""Time in which a client must have received a part of a response."""
_KEY_PROTOCOL = "openai-insecure-api-key."
"""Prefix of the WebSocket subprotocol with a key, for browsers, which cannot set headers."""


def make(service: Service) -> Starlette:
    """Create the application of a server.

    Args:
        service: Models and limits; closed when the application ends.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        wyoming_server = None
        if service.options.wyoming_port is not None:
            wyoming_server = await wyoming.listen(service, service.options.host, service.options.wyoming_port)
            app.state.wyoming_port = wyoming_server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            if wyoming_server is not None:
                wyoming_server.close()
            service.close()

    middleware = [Middleware(_RequestGuard, service=service)]
    if service.options.cors:
        middleware.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=list(service.options.cors),
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
                expose_headers=["retry-after", "x-request-id"],
            ),
        )
    return Starlette(
        routes=[
            *pages.routes(),
            *health.routes(service),
            *openai.routes(service),
            *realtime.routes(service),
            *vosk.routes(service),
            *records.routes(service),
        ],
        middleware=middleware,
        exception_handlers={Refusal: _refused, Cancelled: _gone, ClientDisconnect: _gone, HTTPException: _http_error},
        lifespan=lifespan,
    )


class _RequestGuard:
    """Middleware that checks origin, key and rate of each request, counts it, and logs it without its content.

    Args:
        app: The application.
        service: The server.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id, start, status = secrets.token_hex(6), time.monotonic(), 0

        async def send_response(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close":
                status = status or 403
            async with asyncio.timeout(_SEND_SECONDS):
                await send(message)

        try:
            try:
                client = self._check_access(scope)
            except Refusal as refusal:
                await _deny(refusal, scope, receive, send_response)
            else:
                scope.setdefault("state", {})["client"] = client
                await self._app(scope, receive, send_response)
        except TimeoutError:
            status = 499
            _log.info("%s: the client does not take its answer.", request_id)
        except Exception:
            status = status or 500
            _log.exception("%s: the server failed.", request_id)
            if status == 500:
                failure = Refusal(500, f"The server failed. Its log has more, under {request_id}.")
                await _deny(failure, scope, receive, send)
        finally:
            self._count(scope, request_id, status or 499, time.monotonic() - start)

    def _check_access(self, scope: Scope) -> str:
        """Check access; returns the client's name for limits.

        Raises:
            Refusal: Access is denied.
        """
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host")
        if origin is not None and _host(origin) != host and origin not in self._service.options.cors:
            raise Refusal(403, f"Pages of {origin[:100]} may not use this server; see --cors.", code="foreign_origin")
        client = (scope.get("client") or ("?",))[0]
        if (scope["path"] in _OPEN and scope["type"] == "http") or scope["path"].startswith(_FILES):
            return client
        if self._service.keys:
            name = self._service.keys.name(_key(scope, headers))
            if name is None:
                raise Refusal(
                    401,
                    "A key is needed, as `Authorization: Bearer KEY`.",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            client = name
        if scope["type"] == "websocket" or scope["method"] == "POST":
            self._service.rate.check(client)
        return client

    def _count(self, scope: Scope, number: str, status: int, seconds: float) -> None:
        method = scope.get("method", "WEBSOCKET")
        endpoint = scope.get("route")
        route = getattr(endpoint, "path", scope["path"] if status == 101 else "none")
        self._service.metrics.requests.labels(route, str(status)).inc()
        self._service.metrics.seconds.labels(route).observe(seconds)
        if scope["path"] not in ("/healthz", "/readyz", "/metrics"):
            _log.info("%s %s %s %d %.0f ms", number, method, route, status, 1000 * seconds)


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as `http://[`
        return None


def _key(scope: Scope, headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(_KEY_PROTOCOL):
            return protocol.removeprefix(_KEY_PROTOCOL)
    return None


def _response(refusal: Refusal) -> Response:
    return JSONResponse(refusal.to_dict(), refusal.status, refusal.headers)


async def _deny(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await _response(refusal)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:120]})


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return _response(error)


async def _gone(request: Request, error: Exception) -> Response:
    return _response(Refusal(499, "The client has left.", code="client_left"))


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    messages = {404: f"There is nothing at {request.url.path}.", 405: f"{request.method} is not possible here."}
    return _response(Refusal(error.status_code, messages.get(error.status_code, error.detail), headers=error.headers))
