"""A cache of arrays in a folder, as records of TFRecord files with random access.

With one file per array, a thousand hours of speech would be hundreds of thousands of files. TFRecord was compared with
ArrayRecord and WebDataset's tar files (`benchmarks/records.py`, docs/many_machines.md): random access costs the same in
TFRecord and tar, and less than in ArrayRecord; TFRecord comes with TensorFlow, and other programs can read it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import secrets
import threading
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from speechrnn.pipeline.cache import pack, unpack
from speechrnn.pipeline.selection import Entry

_MAGIC = b"speechrnn-2:"
_KEY, _HEAD = 32, len(_MAGIC) + 32 + 4
"""Bytes of a key, and of the header of an array: magic, key, checksum."""
_BEFORE, _AFTER = 12, 4
"""Bytes that TFRecord adds before and after a record: its length and checksums."""
_SHARD = 1 << 30
"""Bytes after which another file is started."""

_log = logging.getLogger(__name__)


class Records:
    """A cache of arrays in TFRecord files.

    An array's key is a hash of everything that it depends on: the audio's path, size and modification time, the segment
    and channel, and `purpose` (the features' configuration, or the sample rate). Existing records are indexed by
    reading their headers. Each process appends to files of its own; a record that is cut off, or does not match its
    checksum, counts as missing and is computed again.

    Args:
        folder: The folder; created if necessary.
        purpose: Everything else that the arrays depend on.
        max_bytes: Maximum size of all files of the folder; arrays that do not fit are computed again each time, which
            is logged once.
    """

    def __init__(self, folder: str | os.PathLike[str], purpose: str, max_bytes: int | None = None) -> None:
        self._folder, self._purpose, self._max_bytes = Path(folder), purpose, max_bytes
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, int] = {}
        self._positions: dict[bytes, list[tuple[int, int, int]]] = {}
        """For each array the open file, offset and length of its record, and of others if one was damaged."""
        self._writer: Any = None
        self._path, self._written, self._bytes = "", 0, 0
        self._writing, self._lock = True, threading.Lock()
        weakref.finalize(self, _close, self._files)
        for path in sorted(self._folder.glob("*.tfrecord")):
            self._scan(str(path))

    def get(self, entry: Entry) -> np.ndarray | None:
        """See `Store`."""
        try:
            key = self._key(entry)
            while positions := self._positions.get(key):
                file, start, size = positions[0]
                data = os.pread(file, size, start)
                head, body = data[:_HEAD], data[_HEAD:]
                if len(data) == size and head == _MAGIC + key + zlib.crc32(body).to_bytes(4, "little"):
                    return unpack(np.load(io.BytesIO(body), allow_pickle=False))
                _log.warning("%s: a damaged record of the cache; it is made again.", self._folder)
                self._positions[key] = positions[1:]
        except OSError:
            pass
        return None

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Stores an array; on an error of the disk, or at the limit, it logs once and stops writing."""
        if not self._writing:
            return
        key, body = self._key(entry), io.BytesIO()
        np.save(body, pack(values), allow_pickle=False)
        array = body.getvalue()
        record = _MAGIC + key + zlib.crc32(array).to_bytes(4, "little") + array
        with self._lock:
            if not self._writing or self._positions.get(key):
                return
            size = _BEFORE + len(record) + _AFTER
            if self._max_bytes is not None and self._bytes + size > self._max_bytes:
                self._stop(f"it has its {self._max_bytes / 1e9:.3g} GB. What is not in it is made again in every epoch")
                return
            try:
                self._append(record)
            except (OSError, tf.errors.OpError) as error:
                full = isinstance(error, tf.errors.ResourceExhaustedError) or (
                    isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                )
                self._stop("the disk is full" if full else str(error))
                return
            self._positions[key] = [(self._file(self._path), self._written + _BEFORE, len(record))]
            self._written += size
            self._bytes += size

    def holds(self, entry: Entry) -> bool:
        """Whether there is a record of the entry, damaged or not."""
        try:
            return bool(self._positions.get(self._key(entry)))
        except OSError:
            return False

    def _append(self, record: bytes) -> None:
        """Write a record and flush it, so that it can be read at once."""
        if self._writer is None or self._written > _SHARD:
            if self._writer is not None:
                self._writer.close()
            self._path, self._written = str(self._folder / f"{secrets.token_hex(8)}.tfrecord"), 0
            self._writer = tf.io.TFRecordWriter(self._path)
        self._writer.write(record)
        self._writer.flush()

    def _stop(self, reason: str) -> None:
        self._writing = False
        _log.warning("%s: %s. The run goes on without writing to the cache.", self._folder, reason)

    def _file(self, path: str) -> int:
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDONLY)
        return self._files[path]

    def _scan(self, path: str) -> None:
        """Index the records of an existing file."""
        try:
            file, end = self._file(path), os.path.getsize(path)
        except OSError as error:
            _log.warning("%s: cannot be read (%s); what it holds is made again.", path, error)
            return
        start = 0
        while start + _BEFORE + _HEAD <= end:
            head = os.pread(file, _BEFORE + _HEAD, start)
            size, magic = int.from_bytes(head[:8], "little"), head[_BEFORE : _BEFORE + len(_MAGIC)]
            if magic != _MAGIC or start + _BEFORE + size + _AFTER > end:
                break
            key = head[_BEFORE + len(_MAGIC) : _BEFORE + len(_MAGIC) + _KEY]
            self._positions.setdefault(key, []).append((file, start + _BEFORE, size))
            start += _BEFORE + size + _AFTER
        self._bytes += end
        if start != end:
            _log.warning("%s: is damaged after %d bytes; what follows is made again.", path, start)

    def _key(self, entry: Entry) -> bytes:
        example = entry.example
        status = os.stat(example.path)
        key = [
            os.path.abspath(example.path),
            status.st_size,
            status.st_mtime_ns,
            example.offset,
            example.duration,
            example.channel,
            example.encoding,
            self._purpose,
            # The signal within the file, if the manifest specifies it.
            *(example.extra[key] for key in ("channels", "row", "rate") if key in example.extra),
            *_signal_files(example.path),
        ]
        return hashlib.sha256(json.dumps(key, default=str).encode()).digest()


def _signal_files(path: str) -> list[int]:
    """Sizes and times of change of the signals next to a WFDB header, which may change without it."""
    if not path.endswith(".hea"):
        return []
    files = [path.removesuffix("hea") + ending for ending in ("dat", "mat")]
    found = [os.stat(file) for file in files if os.path.exists(file)]
    return [number for status in found for number in (status.st_size, status.st_mtime_ns)]


def _close(files: dict[str, int]) -> None:
    for file in files.values():
        os.close(file)
