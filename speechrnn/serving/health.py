"""Health checks and metrics: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from speechrnn.serving.batching import Job
from speechrnn.serving.metrics import CONTENT_TYPE_LATEST
from speechrnn.serving.refusals import Cancelled, Refusal
from speechrnn.serving.service import Service

_DEADLINE = 5.0
"""Seconds in which the canary must answer."""
_CACHE_SECONDS = 1.0
"""Seconds for which the canary's result is cached, so that probes are no load."""


def routes(service: Service) -> list[Route]:
    """Routes of `/healthz`, `/readyz` and `/metrics`."""
    canary = _Canary(service)

    async def alive(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> Response:
        reason = "the server is being stopped" if service.stopping else await canary.reason()
        if reason:
            return JSONResponse({"status": "not ready", "reason": reason}, 503, {"Retry-After": "5"})
        return JSONResponse({"status": "ready", "models": [served.name for served in service.models]})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [Route("/healthz", alive), Route("/readyz", ready), Route("/metrics", metrics)]


class _Canary:
    """Runs a signal with a known answer through every model.

    Args:
        service: The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._checked_at, self._reason = float("-inf"), ""

    async def reason(self) -> str:
        """Why the server is not ready; "" if it is."""
        async with self._lock:
            if time.monotonic() - self._checked_at > _CACHE_SECONDS:
                self._reason = await self._run()
                self._checked_at = time.monotonic()
            return self._reason

    async def _run(self) -> str:
        def work() -> None:
            # Not through the queue of requests, but in the same batches: a busy server is ready.
            job = Job(_DEADLINE)
            for served in self._service.models:
                served.check_canary(job)

        try:
            await asyncio.get_running_loop().run_in_executor(None, work)
        except Cancelled:
            return f"the models do not answer within {_DEADLINE:g} s"
        except ValueError as error:
            return str(error)
        except Refusal as refusal:
            return refusal.message
        return ""
