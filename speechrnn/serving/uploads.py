"""Uploads: read within limits, and saved to a file with a generated name."""

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
    """An uploaded file.

    Args:
        path: Path of the saved file.
        name: The client's name of the file, for messages; never used as a path.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name

    def reword(self, message: object) -> str:
        """Replace the path in a message by the client's name of the file."""
        return str(message).replace(self.path, self.name)


@asynccontextmanager
async def form(request: Request, *, max_bytes: float, seconds: float) -> AsyncIterator[FormData]:
    """Read the fields of a form, which is closed at the end.

    Raises:
        Refusal: It is not a form, is too large, takes too long, or is damaged.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Refusal(
            415,
            f"The body must be multipart/form-data with a `file`. Received: {kind or 'no content type'}.",
            code="unsupported_media_type",
        )
    limited = _limited(request, max_bytes)
    fields: FormData | None = None
    try:
        async with asyncio.timeout(seconds):
            fields = await limited.form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
        yield fields
    except TimeoutError as error:
        if fields is not None:
            raise
        raise _slow(seconds) from error
    except HTTPException as error:
        raise Refusal(400, f"The form cannot be read: {error.detail}", code="invalid_form") from error
    finally:
        if fields is not None:
            await fields.close()


async def body(request: Request, *, seconds: float) -> bytes:
    """Read a JSON body.

    Raises:
        Refusal: It is too large, or takes too long.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _limited(request, _JSON_BYTES).body()
    except TimeoutError as error:
        raise _slow(seconds) from error


@asynccontextmanager
async def saved(
    fields: FormData, folder: str | os.PathLike[str], suffix: Callable[[str], str] = lambda name: ".audio"
) -> AsyncIterator[Upload]:
    """Save the `file` of a form to a folder; it is deleted at the end of the block.

    Args:
        fields: The form.
        folder: Folder of the server.
        suffix: Function from the client's name to the extension of the saved file.

    Raises:
        Refusal: There is no file, or it is empty, or the disk is full.
    """
    file = fields.get("file")
    if not isinstance(file, UploadFile):
        received = "no such field" if file is None else "a text"
        raise Refusal(400, f"`file` must be a file. Received: {received}.", code="missing_file", param="file")
    if not file.size:
        raise Refusal(400, "`file` is empty (0 bytes). Record it again.", code="empty_file", param="file")
    name = display_name(file.filename)
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
    """Wait until the client disconnects; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def display_name(name: str | None) -> str:
    r"""The client's name of a file, without folders and unprintable characters.

    Example:
    >>> display_name("../../etc/pass\nwd"), display_name("C:\\talks\\a.wav"), display_name(None)
    ('passwd', 'a.wav', 'file')
    """
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:100] or "file"


def _copy(file: UploadFile, path: Path) -> None:
    file.file.seek(0)
    with open(path, "xb") as to:
        shutil.copyfileobj(file.file, to, 1 << 20)


def _limited(request: Request, max_bytes: float) -> Request:
    """The request with a limit for its body, which raises a refusal."""
    refusal = Refusal(413, f"A body may have at most {max_bytes / 1e6:g} MB.", code="too_large", param="file")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise refusal
    read = 0

    async def receive() -> Message:
        nonlocal read
        message = await request.receive()
        read += len(message.get("body", b""))
        if read > max_bytes:
            raise refusal
        return message

    return Request(request.scope, receive)


def _slow(seconds: float) -> Refusal:
    return Refusal(408, f"An upload must have arrived in {seconds:g} s.", code="upload_too_slow")
