"""Whether the server is alive, whether it works, and what it has done."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from speechrnn.serving.batching import Job
from speechrnn.serving.metrics import CONTENT_TYPE_LATEST
from speechrnn.serving.refusals import Refusal, Stopped
from speechrnn.serving.service import Service

_DEADLINE = 5.0
"""Seconds in which the canary must answer."""
_FRESH = 1.0
"""Seconds for which an answer of the canary counts: probes must not be a load."""


def routes(service: Service) -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`."""
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
    """A signal that goes through every model and whose answer is known.

    Args:
        service: The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = asyncio.Lock()
        self._then, self._reason = float("-inf"), ""

    async def reason(self) -> str:
        """Why the server does not work; empty where it does."""
        async with self._lock:
            if time.monotonic() - self._then > _FRESH:
                self._reason = await self._run()
                self._then = time.monotonic()
            return self._reason

    async def _run(self) -> str:
        def work() -> None:
            # Past the queue of requests, and in the same batches as theirs: a busy server is ready.
            job = Job(_DEADLINE)
            for served in self._service.models:
                served.answers(job)

        try:
            await asyncio.get_running_loop().run_in_executor(None, work)
        except Stopped:
            return f"the models do not answer within {_DEADLINE:g} s"
        except ValueError as error:
            return str(error)
        except Refusal as refusal:
            return refusal.message
        return ""
