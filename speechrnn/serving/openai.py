"""OpenAI's API for recordings, `/v1/audio/transcriptions` and `/v1/models`, and whisper.cpp's `/inference`.

https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from speechrnn.faults import choice_message
from speechrnn.serving import uploads
from speechrnn.serving.batching import Job
from speechrnn.serving.refusals import Refusal, invalid
from speechrnn.serving.service import Service, hotwords
from speechrnn.serving.uploads import Upload, gone

if TYPE_CHECKING:
    from speechrnn.serving.models import ServedModel
    from speechrnn.tasks.recognition.transcript import Transcript, Word

_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_GRANULARITIES = ("word", "segment")
_MEDIA = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


def routes(service: Service) -> list[Route]:
    """The routes of the interface."""

    async def transcriptions(request: Request) -> Response:
        async with AsyncExitStack() as stack:
            stack.enter_context(service.requests.entered())
            form = await stack.enter_async_context(uploads.form(request, **service.upload_limits))
            fields = _Fields.of(form)
            served = service.recognizer(fields.model)
            upload = await stack.enter_async_context(uploads.saved(form, service.folder))
            if fields.stream:  # the upload is needed until the streamed response ends
                return _EventStream(_events(service, served, upload, fields), stack.pop_all())
            transcript = await service.run(
                lambda job: service.transcribe(job, served, upload, fields.hotwords), gone=gone(request)
            )
        service.record(request.url.path, transcript)
        return _response(transcript, fields, language(served))

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(served) for served in service.models]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        for served in service.models:
            if served.name == name:
                return JSONResponse(_model(served))
        raise Refusal(404, f"There is no model {name!r} here. See /v1/models.", code="model_not_found", param="model")

    return [
        Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
        Route("/inference", transcriptions, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name}", model),
    ]


def language(served: ServedModel) -> str:
    """Language of a recognizer, from its model card."""
    return str(served.model.card.get("language", "english"))


@dataclass(frozen=True)
class _Fields:
    """The fields of a transcription request."""

    model: str | None
    format: str
    granularities: tuple[str, ...]
    hotwords: tuple[str, ...]
    stream: bool

    @classmethod
    def of(cls, form: FormData) -> _Fields:
        """Raises: Refusal: A field has an invalid value."""
        granularities = [*form.getlist("timestamp_granularities[]"), *form.getlist("timestamp_granularities")]
        keywords = [*form.getlist("keywords[]"), *form.getlist("keywords")]
        _number(form, "temperature", 0.0, 1.0)
        return cls(
            _text(form, "model") or None,
            _choice(_text(form, "response_format") or "json", _FORMATS, "response_format"),
            tuple(_choice(str(one), _GRANULARITIES, "timestamp_granularities") for one in granularities)
            or ("segment",),
            hotwords(",".join([_text(form, "prompt"), *map(str, keywords)])),
            _choice(_text(form, "stream").lower() or "false", ("true", "false", "1", "0"), "stream") in ("true", "1"),
        )


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    if not isinstance(value, str):
        raise invalid(f"`{name}` must be a text. Received: a file.", name)
    return value


def _choice(value: str, known: Sequence[str], name: str) -> str:
    if value not in known:
        raise invalid(choice_message(name, value, known), name)
    return value


def _number(form: FormData, name: str, least: float, most: float) -> None:
    text = _text(form, name)
    try:
        fine = not text or least <= float(text) <= most
    except ValueError:
        fine = False
    if not fine:
        raise invalid(f"`{name}` must lie between {least:g} and {most:g}. Received: {text[:60]!r}.", name)


def _response(transcript: Transcript, fields: _Fields, language: str) -> Response:
    from speechrnn.tasks.recognition import formats

    if fields.format in _MEDIA:
        text = formats.render(transcript, "txt" if fields.format == "text" else fields.format)
        return PlainTextResponse(text, media_type=_MEDIA[fields.format])
    if fields.format == "json":
        return JSONResponse({"text": transcript.text, "usage": _usage(transcript)})
    return JSONResponse(_verbose(transcript, fields.granularities, language))


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(transcript.duration, 3)}


def _verbose(transcript: Transcript, granularities: Sequence[str], language: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": language,
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    if "segment" in granularities:
        answer["segments"] = _segments(transcript)
    if "word" in granularities:
        answer["words"] = transcript.to_dict()["words"]
    return answer


def _segments(transcript: Transcript) -> list[dict[str, Any]]:
    """Segments of subtitles; values that only Whisper's decoder has are 0."""
    from speechrnn.tasks.recognition import formats

    segments, words = [], list(transcript.words)
    for number, cue in enumerate(formats.cues(transcript.words, duration=transcript.duration)):
        text = " ".join(cue.lines)
        log_probs = [math.log(word.confidence) for word in words if cue.start <= word.start < cue.end]
        segments.append(
            {
                "id": number,
                "seek": 0,
                "start": round(cue.start, 3),
                "end": round(cue.end, 3),
                "text": text,
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": round(sum(log_probs) / len(log_probs), 4) if log_probs else 0.0,
                "compression_ratio": 1.0,
                "no_speech_prob": 0.0,
            }
        )
    return segments


class _EventStream(StreamingResponse):
    """A response of server-sent events, which closes their resources at the end.

    Args:
        events: The events.
        resources: Resources that the events need.
    """

    def __init__(self, events: AsyncIterator[str], resources: AsyncExitStack) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources:
            await super().__call__(scope, receive, send)


async def _events(service: Service, served: ServedModel, upload: Upload, fields: _Fields) -> AsyncIterator[str]:
    """Transcribe as server-sent events: new words as they become final, and the whole text at the end."""
    loop, known = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def work(job: Job) -> Transcript:
        def on_words(words: Sequence[Word]) -> None:
            loop.call_soon_threadsafe(known.put_nowait, list(words))

        return service.transcribe(job, served, upload, fields.hotwords, on_words)

    working = asyncio.ensure_future(service.run(work))
    working.add_done_callback(lambda _: known.put_nowait(None))
    sent = 0
    try:
        while (words := await known.get()) is not None:
            yield _delta(words, first=not sent)
            sent += len(words)
        transcript = await working
        if rest := transcript.words[sent:]:
            yield _delta(rest, first=not sent)
        yield _event("transcript.text.done", text=transcript.text)
        service.record("/v1/audio/transcriptions", transcript)
    except Refusal as refusal:
        yield _event("error", **refusal.to_dict())
    finally:
        working.cancel()


def _delta(words: Sequence[Word], *, first: bool) -> str:
    return _event("transcript.text.delta", delta=("" if first else " ") + " ".join(word.word for word in words))


def _event(kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


def _model(served: ServedModel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": served.name,
        "object": "model",
        "created": 0,
        "owned_by": "speechrnn",
        "kind": served.kind.name,
        "method": served.kind.method,
        "sample_rate": served.model.sample_rate,
    }
    if served.recognizes:
        entry["language"] = language(served)
    return entry
