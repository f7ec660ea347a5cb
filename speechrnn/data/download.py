"""Downloads corpora: resumes interrupted downloads, verifies checksums, unpacks safely.

Not by pooch 1.9, which starts over whenever a connection drops (four requests for the whole file, where this module
requests the missing part), deletes what a killed process had received, and takes seventeen times as long for 200 MB
from a local server, since it writes and flushes 1024 bytes at a time. `requests`, on which it is built, does not
request ranges either.
"""

import contextlib
import errno
import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechrnn.data.archives import Progress, extract
from speechrnn.data.corpora import archives
from speechrnn.faults import data_error, suggestion

_BLOCK = 1 << 17
_RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)
_CONNECTION_ERRORS = (http.client.HTTPException, ConnectionError, TimeoutError, urllib.error.URLError, ssl.SSLError)


@dataclass(frozen=True)
class Downloaded:
    """A downloaded corpus."""

    folder: str
    """Folder to pass to `speechrnn prepare`."""
    license: str
    checksum: str
    """Checksum of the archive, `sha256:...` or `md5:...`."""
    checked: bool
    """Whether it was compared with a published checksum."""

    def __str__(self) -> str:
        how = "as published" if self.checked else "not checked: there is no published checksum to rely on"
        return f"{self.folder} ({self.license}; {self.checksum}, {how})"


def download(
    name: str,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    keep_archive: bool = False,
    progress: Progress | None = None,
    timeout: float = 60.0,
    retries: int = 5,
) -> Downloaded:
    """Download and unpack a corpus.

    Args:
        name: One of `speechrnn.data.corpora.archives()`.
        folder: Where it is unpacked; an interrupted download is resumed there.
        overwrite: Replace files that exist: those of the corpus.
        keep_archive: Keep the archive after unpacking.
        progress: Called with the number of bytes received and the total if known.
        timeout: Seconds without an answer after which a connection is given up.
        retries: Attempts without any progress after which an address is given up.

    Returns:
        The folder, and how it was verified.

    Raises:
        ValueError: The corpus is unknown, its checksum differs, or the archive is damaged or unsafe.
        FileExistsError: The corpus exists and `overwrite` is false.
        OSError: No address answers, or the disk is full.
    """
    known, folder = archives(), Path(folder)
    if name not in known:
        raise ValueError(f"There is no corpus {name!r}.{suggestion(name, known, 'Known')}")
    archive = known[name]
    if (folder / archive.folder).exists() and not overwrite:
        raise FileExistsError(f"{folder / archive.folder}: exists already. Pass overwrite=True (--overwrite).")
    problems = []
    for url in archive.urls:
        path = folder / url.rsplit("/", 1)[1]
        try:
            fetch(url, path, checksum=archive.checksum, progress=progress, timeout=timeout, retries=retries)
            break
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            problems.append(str(error))
    else:
        raise OSError(f"{name}: no address answers. " + " ".join(problems))
    digest = archive.checksum or f"sha256:{_digest(path, 'sha256')}"
    extract(path, folder, overwrite=overwrite)
    if not keep_archive:
        path.unlink()
    return Downloaded(str(folder / archive.folder), archive.license, digest, archive.checksum is not None)


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    checksum: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    timeout: float = 60.0,
    retries: int = 5,
    pause: float = 1.0,
) -> Path:
    """Download one file, resuming an interrupted download.

    Received bytes are in `{path}.part` until the file is complete and verified. The download is resumed if the server
    supports ranges and still has the same file by its ETag or date; otherwise it starts over.

    Args:
        url: http or https.
        path: Where the file goes. An existing file is not downloaded, only verified.
        checksum: `md5:...` or `sha256:...`.
        overwrite: Download it even if it exists.
        progress: Called with the number of bytes received and the total if known.
        timeout: Seconds without an answer after which a connection is given up.
        retries: Attempts without any progress after which the download is given up.
        pause: Seconds before the first retry, doubled for each further one, up to a minute.

    Returns:
        The path.

    Raises:
        ValueError: The checksum differs (the received file is deleted), or the address is not an http address.
        OSError: The server does not answer or does not have the file, or the disk is full.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"An address must begin with http:// or https://. Received: {url!r}.")
    path = Path(path)
    if path.exists() and not overwrite:
        if checksum is not None:
            _verify(path, path, checksum, "Pass overwrite=True, or remove it.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        return _fetch(url, path, checksum, progress, timeout, retries, pause)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a download, since two processes would append their bytes to one file.

    Raises:
        OSError: Another process has the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows does not let two processes write one file
        yield
        return
    lock = path.with_name(f"{path.name}.part.lock")
    with open(lock, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                raise BlockingIOError  # its owner has just deleted it
        except (BlockingIOError, FileNotFoundError) as error:
            message = f"{path}: another process is downloading it. Wait for that one, or give another folder."
            raise OSError(message) from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _fetch(
    url: str, path: Path, checksum: str | None, progress: Progress | None, timeout: float, retries: int, pause: float
) -> Path:
    part = _Part(path, url, resumable_anyway=checksum is not None)
    failures, received = 0, part.size
    while True:
        try:
            if part.receive(timeout, progress):
                break
            reason = f"the connection broke off after {part.size:,} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _RETRY_STATUS:
                raise OSError(f"{url}: the server answers {error.code} {error.reason}. Check the address.") from error
            reason = f"the server answers {error.code} {error.reason}"
        except _CONNECTION_ERRORS as error:
            reason = str(error) or type(error).__name__
        failures = 0 if part.size > received else failures + 1
        received = max(received, part.size)
        if failures > retries:
            raise OSError(
                f"{url}: {reason}. Gave up after {failures} attempts in a row without new data. "
                "Run it again later to resume."
            )
        time.sleep(min(60.0, pause * 2 ** max(0, failures - 1)))
    if checksum is not None:
        try:
            _verify(part.path, path, checksum, "It was deleted; download it again.")
        except ValueError:
            part.discard()
            raise
    os.replace(part.path, path)
    part.discard()
    return path


class _Part:
    """The received part of a file, and the version of the file that it belongs to."""

    def __init__(self, path: Path, url: str, *, resumable_anyway: bool) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.notes = path.with_name(f"{path.name}.part.json")
        self.url = url
        self._state = self._read_notes()
        if self._state.get("url") != url or not (resumable_anyway or self.validator):
            self.discard()

    def _read_notes(self) -> dict[str, Any]:
        try:
            state = json.loads(self.notes.read_text())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """Version of the file for `If-Range`: its ETag unless that is weak, else its date."""
        etag = self._state.get("etag")
        return etag if etag and not etag.startswith("W/") else self._state.get("modified")

    def discard(self) -> None:
        """Delete the received part."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)
        self._state = {}

    def receive(self, timeout: float, progress: Progress | None) -> bool:
        """Make one request; returns whether the file is complete now."""
        headers = {"User-Agent": "speechrnn", "Accept-Encoding": "identity"}
        if self.size:
            headers["Range"] = f"bytes={self.size}-"
            if self.validator:
                headers["If-Range"] = self.validator
        request = urllib.request.Request(self.url, headers=headers)
        try:
            response = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            error.close()
            if self.size and error.headers.get("Content-Range", "") == f"bytes */{self.size}":
                return True  # it was complete already
            self.discard()
            return False
        with response:
            state = {"url": self.url, "etag": response.headers.get("ETag")}
            state["modified"] = response.headers.get("Last-Modified")
            start = 0
            if response.status == 206:
                start = self.size
                same = all(state[key] == self._state.get(key) for key in ("etag", "modified") if self._state.get(key))
                if not same or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    self.discard()
                    return False
            length = response.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else None
            self._prepare(start, total, state)
            return self._append(response, start, total, progress)

    def _prepare(self, start: int, total: int | None, state: dict[str, Any]) -> None:
        if total is not None:
            free = shutil.disk_usage(self.path.parent).free
            if total - start > free:
                raise OSError(
                    errno.ENOSPC,
                    f"No space left: {total - start:,} bytes are missing, {free:,} are free",
                    str(self.path),
                )
        if not start:
            self.discard()
        self._state = state
        self.notes.write_text(json.dumps(state))

    def _append(self, response: Any, start: int, total: int | None, progress: Progress | None) -> bool:
        size = start
        with open(self.path, "ab" if start else "wb") as file:
            while block := response.read1(_BLOCK):
                file.write(block)
                size += len(block)
                if progress is not None:
                    progress(size, total)
        # http.client raises nothing when a connection breaks off: only the count shows it.
        return total is None or size >= total


def _verify(file: Path, name: Path, checksum: str, advice: str) -> None:
    kind, _, expected = checksum.partition(":")
    if kind not in ("md5", "sha256"):
        raise ValueError(f"A checksum begins with md5: or sha256:. Received: {checksum!r}.")
    received = _digest(file, kind)
    if received != expected.lower():
        raise data_error(name, "damaged", f"its {kind} must be {expected}. Received: {received}. {advice}")


def _digest(file: Path, kind: str) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
