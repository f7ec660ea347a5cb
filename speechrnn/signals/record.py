"""What every reader gives: a record whose header is known and whose samples are read when they are wanted."""

import datetime as dt
import functools
import importlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from speechrnn.faults import data_error, file_faults

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Record:
    """One record of a file, before its samples are read."""

    path: str
    channels: tuple[str, ...]
    """Names, all different; `0`, `1` and so on where the file gives none."""
    units: tuple[str, ...]
    """Physical units of the channels; empty strings where the file gives none."""
    rates: tuple[float | None, ...]
    """Samples per second of each channel; `None` where the file does not say."""
    sizes: tuple[int, ...]
    """Samples of each channel."""
    load: Callable[[int, int, int], np.ndarray]
    """`load(channel, start, stop)`: its samples `(stop - start,)` in physical units, NaN where there are none."""
    faults: tuple[str, ...] = ()
    """What is wrong with each channel, empty where nothing is; none of them if there is no entry."""
    doubt: str = ""
    """Why the rate is not known, where there is more to say than that the file does not say it."""
    start: dt.datetime | None = None
    """When the first sample was taken, where the file says so; with a time zone if the file says that too."""
    seeks: bool = True
    """Whether a part of a channel is read without the rest of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", distinct(self.channels))


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which none comes twice; empty ones stay, and so do those that come once.

    Example:
    >>> distinct(["ECG", "ECG", "ECG.1", "", ""])
    ('ECG', 'ECG.2', 'ECG.1', '', '')
    """
    names_seen: dict[str, None] = {}
    own = {*names}
    for index, name in enumerate(names):
        number, candidate = 0, name or f"\0{index}"
        while candidate in names_seen or (number and candidate in own):
            number += 1
            candidate = f"{name}.{number}"
        names_seen[candidate] = None
    return tuple("" if candidate.startswith("\0") else candidate for candidate in names_seen)


def called(names: Sequence[str], wanted: str) -> list[int]:
    """Places of what is called so; where nothing is, of what is but for the size of its letters.

    Example:
    >>> called(["ECG", "ecg", "Resp"], "ecg"), called(["ECG", "Resp"], "resp")
    ([1], [1])
    """
    same = [index for index, name in enumerate(names) if name.strip() == wanted.strip()]
    return same or [index for index, name in enumerate(names) if name.strip().lower() == wanted.strip().lower()]


def of_array(path: str, signal: np.ndarray, rate: float | None, channels: Any = (), units: Any = ()) -> Record:
    """A record that is in memory, as `(samples,)` or `(samples, channels)`."""
    signal = np.asarray(signal)
    signal = signal[:, None] if signal.ndim == 1 else signal
    if signal.ndim != 2 or signal.dtype.kind not in "fiub":
        raise data_error(
            path, "undecodable", f"must hold numbers (samples, channels). Received: {signal.dtype} {signal.shape}."
        )
    count = signal.shape[1]
    names, unit_names = tuple(map(str, channels)), tuple(map(str, units))
    for what, values in (("names", names), ("units", unit_names)):
        if len(values) not in (0, count):
            raise data_error(path, "undecodable", f"has {len(values)} {what} of channels. Received: {count} of them.")
    return Record(
        path=path,
        channels=names or tuple(map(str, range(count))),
        units=unit_names or ("",) * count,
        rates=(rate,) * count,
        sizes=(len(signal),) * count,
        load=lambda channel, start, stop: signal[start:stop, channel],
    )


_remembered: list[Callable[[], None]] = []
"""What empties each cache."""


def forget() -> None:
    """Forget the files that were read: a process that reads each file once needs the memory for others."""
    for clear in _remembered:
        clear()


def cached(size: int) -> Callable[[Callable[..., _Made]], Callable[..., _Made]]:
    """Let the parser of a file remember what it gave for the last `size` files until they change.

    What it raises becomes the fault of the file. Further arguments of the parser must be hashable.
    """

    def decorated(parse: Callable[..., _Made]) -> Callable[..., _Made]:
        @functools.lru_cache(maxsize=size)
        def remembered(path: str, _modified: int, _bytes: int, *args: Any) -> _Made:
            return parse(path, *args)

        _remembered.append(remembered.cache_clear)

        @functools.wraps(parse)
        def parsed(path: str, *args: Any) -> _Made:
            with file_faults(path, extra="signals"):
                state = os.stat(path)
                return remembered(path, state.st_mtime_ns, state.st_size, *args)

        return parsed

    return decorated


def need(module: str, path: str) -> ModuleType:
    """A library that reads a format.

    Raises:
        ModuleNotFoundError: It is not installed; `faults.file_faults` makes it the file's fault.
    """
    try:
        with warnings.catch_warnings():  # pandas warns of what wfdb's own modules do on import
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ModuleNotFoundError(f"{name} is not installed, or does not work here ({error})", name=name) from error


def pick(path: str, row: int | str | None, names: list[str]) -> int:
    """Index of the record that `row` means among those of a file.

    Raises:
        ValueError: There is no such record, or several and none is named.
    """
    listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    if isinstance(row, str):
        if row in names:
            return names.index(row)
        raise data_error(path, "missing", f"has no record {row!r}. Records: {listed}.")
    if row is None:
        if len(names) == 1:
            return 0
        raise data_error(path, "invalid", f"holds {len(names):,} records: {listed}. Say which with `row`.")
    if not 0 <= row < len(names):
        raise data_error(path, "missing", f"holds {len(names):,} records. Received: row={row}.")
    return row
