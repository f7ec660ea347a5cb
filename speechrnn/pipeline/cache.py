"""Where decoded signals or features are kept between epochs: in memory, or in a folder (`records.py`)."""

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
    """Arrays by entry; `get` gives None for one it does not hold."""

    def get(self, entry: Entry) -> np.ndarray | None:
        """The array kept for an entry."""

    def put(self, entry: Entry, values: np.ndarray) -> None:
        """Keeps an array for an entry."""

    def holds(self, entry: Entry) -> bool:
        """Whether it seems to hold an entry, without reading it."""


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


def through(store: Store | None, entry: Entry, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `store` holds for `entry`; or what `make` gives, which is then kept if there is a store."""
    if store is None:
        return make()
    values = store.get(entry)
    if values is None:
        values = make()
        store.put(entry, values)
    return values
