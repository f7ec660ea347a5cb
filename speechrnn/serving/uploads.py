"""Uploads: read within limits, and kept in a file whose name is ours."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from speechrnn.serving.refusals import Refusal

_FIELDS, _FIELD_BYTES = 100, 1 << 16
_JSON_BYTES = 1 << 25


class Upload:
    """A file that a client sent.

    Args:
        path: Where it is kept.
        name: What the client calls it, for answers; it is never a path.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name

    def told(self, message: object) -> str:
        """A message about the file, which calls it what the client does."""
        return str(message).replace(self.path, self.name)


@asynccontextmanager
async def form(request: Request, *, most_bytes: float, seconds: float) -> AsyncIterator[FormData]:
    """The fields of a form, which is closed in the end.

    Raises:
        Refusal: It is no form, is too large, takes too long, or is damaged.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(
            415,
            f"The body must be multipart/form-data with a `file`. Received: {kind or 'no content type'}.",
            code="unsupported_media_type",
        )
    limited = _limited(request, most_bytes)
    found: FormData | None = None
    try:
        async with asyncio.timeout(seconds):
            found = await limited.form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
        yield found
    except TimeoutError as error:
        if found is not None:
            raise
        raise _slow(seconds) from error
    except HTTPException as error:
        raise Refusal(400, f"The form cannot be read: {error.detail}", code="invalid_form") from error
    finally:
        if found is not None:
            await found.close()


async def body(request: Request, *, seconds: float) -> bytes:
    """A body of JSON.

    Raises:
        Refusal: It is too large, or takes too long.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _limited(request, _JSON_BYTES).body()
    except TimeoutError as error:
        raise _slow(seconds) from error


@asynccontextmanager
async def kept(
    fields: FormData, folder: str | os.PathLike[str], suffix: Callable[[str], str] = lambda name: ".audio"
) -> AsyncIterator[Upload]:
    """The `file` of a form in a folder, for the time of the block.

    Args:
        fields: The form.
        folder: Of the server.
        suffix: Gives the ending of our name for the client's.

    Raises:
        Refusal: There is no file, or it is empty, or the disk is full.
    """
    file = fields.get("file")
    if not isinstance(file, UploadFile):
        received = "no such field" if file is None else "a text"
        raise Refusal(400, f"`file` must be a file. Received: {received}.", code="missing_file", param="file")
    if not file.size:
        raise Refusal(400, "`file` is empty (0 bytes). Record it again.", code="empty_file", param="file")
    name = shown(file.filename)
    path = Path(folder, secrets.token_hex(16) + suffix(name))
    try:
        try:
            await run_in_threadpool(_copy, file, path)
        except OSError as error:
            raise Refusal(507, "There is no room for uploads here.", code="no_room") from error
        yield Upload(os.fspath(path), name)
    finally:
        path.unlink(missing_ok=True)


async def gone(request: Request) -> None:
    """Ends when the client has left; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def shown(name: str | None) -> str:
    r"""What a client calls a file, without folders and without what cannot be printed.

    Example:
    >>> shown("../../etc/pass\nwd"), shown("C:\\talks\\a.wav"), shown(None)
    ('passwd', 'a.wav', 'file')
    """
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:100] or "file"


def _copy(file: UploadFile, path: Path) -> None:
    file.file.seek(0)
    with open(path, "xb") as to:
        shutil.copyfileobj(file.file, to, 1 << 20)


def _limited(request: Request, most: float) -> Request:
    """The request, whose body ends in a refusal once it is too large."""
    refusal = Refusal(413, f"A body may have at most {most / 1e6:g} MB.", code="too_large", param="file")
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > most:
        raise refusal
    read = 0

    async def receive() -> Message:
        nonlocal read
        message = await request.receive()
        read += len(message.get("body", b""))
        if read > most:
            raise refusal
        return message

    return Request(request.scope, receive)


def _slow(seconds: float) -> Refusal:
    return Refusal(408, f"An upload must have arrived in {seconds:g} s.", code="upload_too_slow")
