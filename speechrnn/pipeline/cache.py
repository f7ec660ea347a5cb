"""Where decoded signals or features are kept between epochs: in memory, or in a folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from speechrnn.files import replacing
from speechrnn.pipeline.selection import Entry

_MAGIC = b"speechrnn-cache1"
_SCALE = np.float32(32768)
_log = logging.getLogger(__name__)


class Store(Protocol):
    """Arrays by entry; `get` gives None for one it does not hold."""

    def get(self, entry: Entry) -> np.ndarray | None:
        """The array kept for an entry."""

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Keeps an array for an entry."""

    def holds(self, entry: Entry) -> bool:
        """Whether it seems to hold an entry, without reading it."""


class Nothing:
    """A store that keeps nothing."""

    def get(self, entry: Entry) -> np.ndarray | None:
        """None."""
        return None

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Does nothing."""

    def holds(self, entry: Entry) -> bool:
        """False."""
        return False


class Memory:
    """Keeps arrays for as long as the dataset lives; 16-bit signals take two bytes a sample.

    Args:
        most: Bytes that it may take; half of the memory that is free if `None`. What does not fit is made again each
            time, which is logged once.
    """

    def __init__(self, most: int | None = None) -> None:
        self._held: dict[int, np.ndarray] = {}
        self._left = free_memory() // 2 if most is None else most
        self._told = False
        self._lock = threading.Lock()

    def get(self, entry: Entry) -> np.ndarray | None:
        """The array kept, or None."""
        held = self._held.get(entry.index)
        return None if held is None else unpack(held)

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Keeps an array, if there is room."""
        packed = pack(values)
        with self._lock:
            before = self._held.get(entry.index)
            left = self._left - packed.nbytes + (0 if before is None else before.nbytes)
            if left >= 0:
                self._held[entry.index], self._left = packed, left
                return
            told, self._told = self._told, True
        if not told:
            _log.warning(
                "the cache in memory is full with %d examples: the others are made again in every epoch. Give a folder "
                "(cache=DIR, --cache DIR) to keep all of them.",
                len(self._held),
            )

    def holds(self, entry: Entry) -> bool:
        """Whether it holds an entry."""
        return entry.index in self._held


def free_memory() -> int:
    """Bytes of memory that this process may still take: those of the machine, and of its control group."""
    found = [8 << 30]  # where the system does not say
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path("/proc/meminfo").read_text(encoding="ascii").partition("MemAvailable:")[2].split()
        found.append(int(words[0]) << 10)
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        found.append(max(0, limit - used))
    return min(found)


class Folder:
    """Keeps each array in a file of its own.

    A file's name is a hash of what the array depends on: the audio's path, size and time of change, the segment and
    channel, and `purpose` (the features' configuration, or the sample rate). Files are written whole or not at all,
    and one that does not match its checksum counts as absent, so it is made again.

    Args:
        folder: Where to keep them; made if it is not there.
        purpose: Whatever else the arrays depend on.
    """

    def __init__(self, folder: str | os.PathLike, purpose: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._purpose = purpose
        self._writing = True
        self._lock = threading.Lock()

    def get(self, entry: Entry) -> np.ndarray | None:
        """The array kept, or None."""
        try:
            path = self._path(entry)
            data = path.read_bytes()
        except OSError:
            return None
        head, checksum, body = data[: len(_MAGIC)], data[len(_MAGIC) : len(_MAGIC) + 4], data[len(_MAGIC) + 4 :]
        if head != _MAGIC or zlib.crc32(body).to_bytes(4, "little") != checksum:
            _log.warning("%s: damaged cache file; it is made again.", path)
            return None
        return unpack(np.load(io.BytesIO(body), allow_pickle=False))

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Keeps an array; a disk that refuses is reported once, and then the run goes on without."""
        if not self._writing:
            return
        body = io.BytesIO()
        np.save(body, pack(values), allow_pickle=False)
        data = body.getvalue()
        try:
            with replacing(self._path(entry), overwrite=True, sync=False) as file:  # a damaged one is made again
                file.write(_MAGIC + zlib.crc32(data).to_bytes(4, "little") + data)
        except OSError as error:
            with self._lock:
                told, self._writing = not self._writing, False
            if not told:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                reason = "the disk is full" if full else str(error)
                _log.warning("%s: %s. The run goes on without writing to the cache.", self._folder, reason)

    def holds(self, entry: Entry) -> bool:
        """Whether there is a file for an entry, damaged or not."""
        try:
            return self._path(entry).exists()
        except OSError:
            return False

    def _path(self, entry: Entry) -> Path:
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
        digest = hashlib.sha256(json.dumps(key, default=str).encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest[2:]}.cache"


def pack(values: np.ndarray) -> np.ndarray:
    """A float32 signal as int16 where that loses nothing; anything else as it is."""
    if values.ndim != 1 or values.dtype != np.float32:
        return values
    scaled = values * _SCALE
    with np.errstate(invalid="ignore"):
        whole = scaled.astype(np.int16)
    return whole if np.array_equal(whole, scaled) else values


def unpack(values: np.ndarray) -> np.ndarray:
    """The array given to `pack`."""
    return values.astype(np.float32) / _SCALE if values.dtype == np.int16 else values


def through(store: Store, entry: Entry, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `store` holds for `entry`; or what `make` gives, which is then kept."""
    values = store.get(entry)
    if values is None:
        values = make()
        store.put(entry, values)
    return values
