"""Arrays kept in a folder as records of TFRecord files, written as they come and read in any order.

One file for each array would be hundreds of thousands for a thousand hours of speech. TFRecord was measured beside
ArrayRecord and WebDataset's tar files (`benchmarks/records.py`, docs/many_machines.md): what is read by its place costs
the same in TFRecord and tar, and less than in ArrayRecord; TFRecord comes with TensorFlow, and other programs read it.
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
"""Bytes of a key, and of what stands before an array: the magic, its key, its checksum."""
_BEFORE, _AFTER = 12, 4
"""Bytes that TFRecord puts around a record: its length and checksums."""
_SHARD = 1 << 30
"""Bytes after which another file is begun."""

_log = logging.getLogger(__name__)


class Records:
    """Keeps arrays in TFRecord files.

    An array's key is a hash of what it depends on: the audio's path, size and time of change, the segment and channel,
    and `purpose` (the features' configuration, or the sample rate). What is there already is found by reading the heads
    of all records. Each process appends to files of its own; a record that a kill cut off, or that does not match its
    checksum, counts as absent and is made again.

    Args:
        folder: Where to keep them; made if it is not there.
        purpose: Whatever else the arrays depend on.
        most: Bytes that all files of the folder may take; what does not fit is made again each time, which is logged
            once.
    """

    def __init__(self, folder: str | os.PathLike[str], purpose: str, most: int | None = None) -> None:
        self._folder, self._purpose, self._most = Path(folder), purpose, most
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, int] = {}
        self._places: dict[bytes, list[tuple[int, int, int]]] = {}
        """Of each array the open files, first bytes there and lengths: several where one was damaged."""
        self._writer: Any = None
        self._path, self._written, self._bytes = "", 0, 0
        self._writing, self._lock = True, threading.Lock()
        weakref.finalize(self, _close, self._files)
        for path in sorted(self._folder.glob("*.tfrecord")):
            self._scan(str(path))

    def get(self, entry: Entry) -> np.ndarray | None:
        """The array kept, or None."""
        try:
            key = self._key(entry)
            while places := self._places.get(key):
                file, start, size = places[0]
                data = os.pread(file, size, start)
                head, body = data[:_HEAD], data[_HEAD:]
                if len(data) == size and head == _MAGIC + key + zlib.crc32(body).to_bytes(4, "little"):
                    return unpack(np.load(io.BytesIO(body), allow_pickle=False))
                _log.warning("%s: a damaged record of the cache; it is made again.", self._folder)
                self._places[key] = places[1:]
        except OSError:
            pass
        return None

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Keeps an array; a disk that refuses, or the limit, is reported once, and then the run goes on without."""
        if not self._writing:
            return
        key, body = self._key(entry), io.BytesIO()
        np.save(body, pack(values), allow_pickle=False)
        array = body.getvalue()
        record = _MAGIC + key + zlib.crc32(array).to_bytes(4, "little") + array
        with self._lock:
            if not self._writing or self._places.get(key):
                return
            size = _BEFORE + len(record) + _AFTER
            if self._most is not None and self._bytes + size > self._most:
                self._stop(f"it has its {self._most / 1e9:.3g} GB. What is not in it is made again in every epoch")
                return
            try:
                self._append(record)
            except (OSError, tf.errors.OpError) as error:
                full = isinstance(error, tf.errors.ResourceExhaustedError) or (
                    isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                )
                self._stop("the disk is full" if full else str(error))
                return
            self._places[key] = [(self._file(self._path), self._written + _BEFORE, len(record))]
            self._written += size
            self._bytes += size

    def holds(self, entry: Entry) -> bool:
        """Whether there is a record of an entry, damaged or not."""
        try:
            return bool(self._places.get(self._key(entry)))
        except OSError:
            return False

    def _append(self, record: bytes) -> None:
        """Write a record where it can be read at once."""
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
        """Note the records of a file that was there before."""
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
            self._places.setdefault(key, []).append((file, start + _BEFORE, size))
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
            # Which signal of the file, where the line says so.
            *(example.extra[key] for key in ("channels", "row", "rate") if key in example.extra),
        ]
        return hashlib.sha256(json.dumps(key, default=str).encode()).digest()


def _close(files: dict[str, int]) -> None:
    for file in files.values():
        os.close(file)
