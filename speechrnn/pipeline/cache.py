"""Caches of decoded signals or features between epochs: in memory, or in a folder (`records.py`)."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from speechrnn.pipeline.selection import Entry

_SCALE = np.float32(32768)
_log = logging.getLogger(__name__)


class Store(Protocol):
    """A cache of arrays by entry."""

    def get(self, entry: Entry) -> np.ndarray | None:
        """The array of an entry, or None if it is not cached."""

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Stores the array of an entry."""

    def holds(self, entry: Entry) -> bool:
        """Whether an array of the entry is cached, without reading it."""


class Memory:
    """A cache in memory, for as long as the dataset exists; 16-bit signals take two bytes per sample.

    Args:
        max_bytes: Maximum size; by default half of the free memory. Arrays that do not fit are computed again each
            time, which is logged once.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self._arrays: dict[int, np.ndarray] = {}
        self._free = free_memory() // 2 if max_bytes is None else max_bytes
        self._logged = False
        self._lock = threading.Lock()

    def get(self, entry: Entry) -> np.ndarray | None:
        """See `Store`."""
        packed = self._arrays.get(entry.index)
        return None if packed is None else unpack(packed)

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Stores an array, if there is room."""
        packed = pack(values)
        with self._lock:
            before = self._arrays.get(entry.index)
            free = self._free - packed.nbytes + (0 if before is None else before.nbytes)
            if free >= 0:
                self._arrays[entry.index], self._free = packed, free
                return
            logged, self._logged = self._logged, True
        if not logged:
            _log.warning(
                "the cache in memory is full with %d examples: the others are made again in every epoch. Give a folder "
                "(cache=DIR, --cache DIR) to keep all of them.",
                len(self._arrays),
            )

    def holds(self, entry: Entry) -> bool:
        """See `Store`."""
        return entry.index in self._arrays


def free_memory() -> int:
    """Bytes of memory that this process may still allocate: those of the machine, and of its control group."""
    limits = [8 << 30]  # on systems without this information
    with contextlib.suppress(OSError, ValueError, AttributeError):
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path("/proc/meminfo").read_text(encoding="ascii").partition("MemAvailable:")[2].split()
        limits.append(int(words[0]) << 10)
    with contextlib.suppress(OSError, ValueError):  # "max" means no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        limits.append(max(0, limit - used))
    return min(limits)


def pack(values: np.ndarray) -> np.ndarray:
    """A float32 signal as int16 if that is lossless; other arrays unchanged."""
    if values.ndim != 1 or values.dtype != np.float32:
        return values
    scaled = values * _SCALE
    with np.errstate(invalid="ignore"):
        integers = scaled.astype(np.int16)
    return integers if np.array_equal(integers, scaled) else values


def unpack(values: np.ndarray) -> np.ndarray:
    """The inverse of `pack`."""
    return values.astype(np.float32) / _SCALE if values.dtype == np.int16 else values


def cached(store: Store | None, entry: Entry, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of an entry: from the store, or else computed and stored."""
    if store is None:
        return compute()
    values = store.get(entry)
    if values is None:
        values = compute()
        store.put(entry, values)
    return values
