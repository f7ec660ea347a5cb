"""EDF, EDF+ and BDF: EEG and sleep recordings, each channel at its own rate."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.record import Record, need


def record(path: str, row: int | str | None = None) -> Record:
    """The record of a file; `row` has no meaning here."""
    _check(path)
    with _opened(path) as file:
        sizes = tuple(int(n) for n in file.getNSamples())
        count = file.signals_in_file
        return Record(
            path=path,
            channels=tuple(file.getLabel(i).strip() or str(i) for i in range(count)),
            units=tuple(file.getPhysicalDimension(i).strip() for i in range(count)),
            rates=tuple(float(rate) for rate in file.getSampleFrequencies()),
            sizes=sizes,
            load=lambda channel, start, stop: _load(path, channel, start, stop),
        )


def _check(path: str) -> None:
    """Raise for what pyedflib would not explain, or would print to stdout."""
    with open(path, "rb") as file:
        fixed = file.read(256)
        try:
            signals = int(fixed[252:256])
            header, blocks = int(fixed[184:192]), int(fixed[236:244])
            each = file.read(256 * signals)[216 * signals : 224 * signals]
            block = sum(int(each[8 * i : 8 * i + 8]) for i in range(signals))
        except ValueError as error:
            raise data_error(path, "undecodable", f"is no EDF or BDF that can be read: {error}.") from error
    kind = fixed[192:236].decode("ascii", "replace").strip()  # nothing for plain EDF
    if kind.startswith(("EDF+D", "BDF+D")):
        raise data_error(
            path,
            "discontinuous",
            f"is {kind[:5]}: its blocks do not follow one another. Export each stretch as a file of its own.",
        )
    wanted = header + blocks * block * (3 if fixed[:1] == b"\xff" else 2)
    if os.path.getsize(path) < wanted:
        raise data_error(
            path,
            "truncated",
            f"should have {wanted:,} bytes, has {os.path.getsize(path):,}. Copy or download it again.",
        )


def _load(path: str, channel: int, start: int, stop: int) -> np.ndarray:
    with _opened(path) as file:
        return file.readSignal(channel, start, stop - start)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    pyedflib = need("pyedflib", path)
    try:
        file = pyedflib.EdfReader(path)
    except OSError as error:
        raise data_error(path, "undecodable", f"is no EDF or BDF that can be read: {error}.") from error
    try:
        yield file
    finally:
        file.close()
