"""Models of other kinds than recognizers: `/v1/classify`, `/v1/forecast` and what else the registry has.

A record comes as the `file` of a form, or as JSON: `{"signal": [[0.1, 0.2], ...], "rate": 50}`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from speechrnn import audio, signals
from speechrnn.faults import choice_message
from speechrnn.models import kinds
from speechrnn.models.answers import channels_of
from speechrnn.serving import uploads
from speechrnn.serving.batching import Job
from speechrnn.serving.models import Served
from speechrnn.serving.refusals import Refusal, invalid, of_json
from speechrnn.serving.service import Service
from speechrnn.serving.uploads import Upload, gone

_OPTIONS = {"at": float, "rate": float, "row": int}
"""Options of the command line that say how a record is read."""
_ENDINGS = (*(ending for ending in signals.SUFFIXES if ending != ".hea"), *audio.SUFFIXES)
"""What an upload may end in. A WFDB header is none: it names other files."""
_PREVIEW = 1000
"""Points of a preview."""


def routes(service: Service) -> list[Route]:
    """A route for the verbs of all kinds but recognizers, which have an interface of their own."""
    return [Route("/v1/{verb}", _Endpoint(service).answer, methods=["POST"])]


class _Endpoint:
    """Answers of models that take records.

    Args:
        service: The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """See this module."""
        self._served(request, None)
        with self._service.requests.entered():
            if request.headers.get("content-type", "").startswith("application/json"):
                body = await uploads.body(request, seconds=self._service.options.upload_seconds)
                given = of_json(body, 'A body such as {"signal": [[0.1], [0.2]]}')
                served = self._served(request, given.get("model"))
                async with _written(given, served, self._service.folder) as upload:
                    return await self._answered(request, served, upload, given)
            async with uploads.form(request, **self._service.upload_limits) as form:
                given = {name: value for name, value in form.multi_items() if isinstance(value, str)}
                served = self._served(request, given.get("model"))
                async with uploads.kept(form, self._service.folder, _ending) as upload:
                    return await self._answered(request, served, upload, given)

    def _served(self, request: Request, name: Any) -> Served:
        verb = request.path_params["verb"]
        return self._service.named(
            name if isinstance(name, str) else None,
            lambda served: served.kind.method == verb and not served.recognizes,
            f"model for {verb!r}",
        )

    async def _answered(self, request: Request, served: Served, upload: Upload, given: dict[str, Any]) -> Response:
        options = _chosen(given, served)
        shown = str(given.get("preview", "")).lower() in ("true", "1")

        def work(job: Job) -> dict[str, Any]:
            try:
                found = self._service.answer(job, served, upload, **options)
                return {**found, "preview": _preview(served.model, upload, options)} if shown else found
            finally:
                signals.forget()  # no file comes twice under the same name

        return JSONResponse({"model": served.name, **await self._service.run(work, gone=gone(request))})


@asynccontextmanager
async def _written(given: dict[str, Any], served: Served, folder: str) -> AsyncIterator[Upload]:
    """The signal of a body of JSON as a file, so that it goes the way of all records."""
    channels = served.model.channels
    if getattr(served.model, "columns", channels) != channels:
        raise invalid("`signal` cannot tell what the model must know ahead. Send a table as `file`.", "signal")
    wanted = "numbers" if channels is None else f"rows of {channels} numbers"
    try:
        signal = np.asarray(given.get("signal"), np.float64)
    except (TypeError, ValueError, OverflowError):
        signal = np.zeros(0)
    if channels is not None and signal.ndim == 1 and channels == 1:
        signal = signal[:, None]
    fits = signal.ndim == (1 if channels is None else 2) and (channels is None or signal.shape[-1] == channels)
    if not fits or not signal.size or not np.isfinite(signal).all():
        raise invalid(f"`signal` must be a list of {wanted}.", "signal")
    rate = _number(given.get("rate", served.model.sample_rate), "rate", float)
    path = Path(folder, secrets.token_hex(16) + (".wav" if channels is None else ".npz"))
    try:
        if channels is None:
            await run_in_threadpool(audio.write, path, signal, round(rate), subtype="FLOAT")
        else:
            await run_in_threadpool(signals.write, path, signal, rate)
        yield Upload(os.fspath(path), "signal")
    finally:
        path.unlink(missing_ok=True)


def _ending(name: str) -> str:
    ending = os.path.splitext(name)[1].lower()
    if ending and ending not in _ENDINGS:
        message = f"{name:.200}: {choice_message('the ending', ending, _ENDINGS)}"
        raise Refusal(415, message, code="unsupported_media_type", param="file")
    return ending or ".audio"


def _chosen(given: dict[str, Any], served: Served) -> dict[str, Any]:
    """The options that were given, of those that the kind has."""
    found = {}
    for reference in served.command.run_options:
        source = kinds.resolve(reference.rpartition("=")[2])
        for name in (one.name for one in fields(source) if is_dataclass(source)):
            if name in _OPTIONS and given.get(name) not in (None, "") and "=" not in reference:
                found[name] = _number(given[name], name, _OPTIONS[name])
    return found


def _number(value: Any, name: str, kind: type) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not np.isfinite(number):
        raise invalid(f"`{name}` must be a number. Received: {str(value)[:60]!r}.", name)
    return number


def _preview(model: Any, upload: Upload, options: dict[str, Any]) -> dict[str, Any]:
    """The signal as a picture needs it: the least and the largest value of each of some hundred stretches."""
    if model.channels is None:
        values = audio.read(upload.path, sample_rate=int(model.sample_rate))[0][:, None]
    else:
        how: dict[str, Any] = {name: options[name] for name in ("rate", "row") if name in options}
        how |= {"channels": channels_of(model), "sample_rate": model.sample_rate, "max_gap": None}
        values = signals.read(upload.path, **how)[0]
        values = values[: 1 + np.flatnonzero(np.isfinite(values).any(axis=1))[-1]]  # behind it are inputs known ahead
    edges = np.linspace(0, len(values), min(_PREVIEW, len(values)) + 1).astype(int)[:-1]
    least, most = (np.nan_to_num(of.reduceat(values, edges)) for of in (np.fmin, np.fmax))
    return {
        "duration": len(values) / model.sample_rate,
        "channels": [
            {"least": np.round(low, 6).tolist(), "most": np.round(high, 6).tolist()}
            for low, high in zip(least.T.astype(float), most.T.astype(float), strict=True)
        ],
    }
