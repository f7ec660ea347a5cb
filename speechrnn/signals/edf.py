"""EDF, EDF+ and BDF: EEG and sleep recordings, each channel at its own rate."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.record import Record, need

_KIND = slice(192, 236)  # bytes of the header that say `EDF+C`, `EDF+D`, or nothing for plain EDF


def record(path: str, row: int | str | None = None) -> Record:
    """The record of a file; `row` has no meaning here."""
    with open(path, "rb") as file:
        kind = file.read(256)[_KIND].decode("ascii", "replace").strip()
    if kind.startswith(("EDF+D", "BDF+D")):
        raise data_error(
            path,
            "discontinuous",
            f"is {kind[:5]}: its blocks do not follow one another. Export each stretch as a file of its own.",
        )
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
