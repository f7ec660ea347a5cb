"""API for models other than recognizers: `/v1/classify`, `/v1/forecast` and others in the registry.

A record is sent as the `file` of a form, or as JSON: `{"signal": [[0.1, 0.2], ...], "rate": 50}`.
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
from speechrnn.serving.models import ServedModel
from speechrnn.serving.refusals import Refusal, invalid, parse_json
from speechrnn.serving.service import Service
from speechrnn.serving.uploads import Upload, gone

_OPTIONS = {"at": float, "rate": float, "row": int}
"""Options of the command line for reading a record."""
_ENDINGS = (*(ending for ending in signals.SUFFIXES if ending != ".hea"), *audio.SUFFIXES)
"""File name extensions of uploads. A WFDB header is not allowed, since it refers to other files."""
_PREVIEW = 1000
"""Number of points in a preview."""


def routes(service: Service) -> list[Route]:
    """Route for the methods of all kinds but recognizers, which have their own API."""
    return [Route("/v1/{verb}", _Endpoint(service).answer, methods=["POST"])]


class _Endpoint:
    """Endpoint of models that take records.

    Args:
        service: The server.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Answer a request; see the module."""
        self._served(request, None)
        with self._service.requests.entered():
            if request.headers.get("content-type", "").startswith("application/json"):
                body = await uploads.body(request, seconds=self._service.options.upload_seconds)
                fields = parse_json(body, 'A body such as {"signal": [[0.1], [0.2]]}')
                served = self._served(request, fields.get("model"))
                async with _signal_file(fields, served, self._service.folder) as upload:
                    return await self._answered(request, served, upload, fields)
            async with uploads.form(request, **self._service.upload_limits) as form:
                fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
                served = self._served(request, fields.get("model"))
                async with uploads.saved(form, self._service.folder, _ending) as upload:
                    return await self._answered(request, served, upload, fields)

    def _served(self, request: Request, name: Any) -> ServedModel:
        verb = request.path_params["verb"]
        return self._service.find_model(
            name if isinstance(name, str) else None,
            lambda served: served.kind.method == verb and not served.recognizes,
            f"model for {verb!r}",
        )

    async def _answered(self, request: Request, served: ServedModel, upload: Upload, given: dict[str, Any]) -> Response:
        options = _read_options(given, served)
        with_preview = str(given.get("preview", "")).lower() in ("true", "1")

        def work(job: Job) -> dict[str, Any]:
            try:
                answer = self._service.answer(job, served, upload, **options)
                return {**answer, "preview": _preview(served.model, upload, options)} if with_preview else answer
            finally:
                signals.forget()  # each file has a new name

        return JSONResponse({"model": served.name, **await self._service.run(work, gone=gone(request))})


@asynccontextmanager
async def _signal_file(given: dict[str, Any], served: ServedModel, folder: str) -> AsyncIterator[Upload]:
    """Write the signal of a JSON body to a file, to process it like other records."""
    channels = served.model.channels
    if getattr(served.model, "columns", channels) != channels:
        raise invalid("`signal` cannot tell what the model must know ahead. Send a table as `file`.", "signal")
    expected = "numbers" if channels is None else f"rows of {channels} numbers"
    try:
        signal = np.asarray(given.get("signal"), np.float64)
    except (TypeError, ValueError, OverflowError):
        signal = np.zeros(0)
    if channels is not None and signal.ndim == 1 and channels == 1:
        signal = signal[:, None]
    fits = signal.ndim == (1 if channels is None else 2) and (channels is None or signal.shape[-1] == channels)
    if not fits or not signal.size or not np.isfinite(signal).all():
        raise invalid(f"`signal` must be a list of {expected}.", "signal")
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


def _read_options(given: dict[str, Any], served: ServedModel) -> dict[str, Any]:
    """The given options among those of the model's kind."""
    options = {}
    for reference in served.command.run_options:
        source = kinds.resolve(reference.rpartition("=")[2])
        for name in (one.name for one in fields(source) if is_dataclass(source)):
            if name in _OPTIONS and given.get(name) not in (None, "") and "=" not in reference:
                options[name] = _number(given[name], name, _OPTIONS[name])
    return options


def _number(value: Any, name: str, kind: type) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not np.isfinite(number):
        raise invalid(f"`{name}` must be a number. Received: {str(value)[:60]!r}.", name)
    return number


def _preview(model: Any, upload: Upload, options: dict[str, Any]) -> dict[str, Any]:
    """The signal for a plot: minimum and maximum of up to `_PREVIEW` segments."""
    if model.channels is None:
        values = audio.read(upload.path, sample_rate=int(model.sample_rate))[0][:, None]
    else:
        read_options: dict[str, Any] = {name: options[name] for name in ("rate", "row") if name in options}
        read_options |= {"channels": channels_of(model), "sample_rate": model.sample_rate, "max_gap": None}
        values = signals.read(upload.path, **read_options)[0]
        values = values[: 1 + np.flatnonzero(np.isfinite(values).any(axis=1))[-1]]  # without covariates known ahead
    edges = np.linspace(0, len(values), min(_PREVIEW, len(values)) + 1).astype(int)[:-1]
    minima, maxima = (np.nan_to_num(of.reduceat(values, edges)) for of in (np.fmin, np.fmax))
    return {
        "duration": len(values) / model.sample_rate,
        "channels": [
            {"least": np.round(low, 6).tolist(), "most": np.round(high, 6).tolist()}
            for low, high in zip(minima.T.astype(float), maxima.T.astype(float), strict=True)
        ],
    }
