"""EDF, EDF+ and BDF: EEG and sleep recordings, each channel at its own rate."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals import edf_blocks
from speechrnn.signals.record import Record, need


def record(path: str, row: int | str | None = None) -> Record:
    """The record of a file; `row` has no meaning here."""
    if _checked(path).kind in ("EDF+D", "BDF+D"):  # which pyedflib refuses
        return edf_blocks.record(path)
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


def _checked(path: str) -> edf_blocks.Header:
    """The header, if the file is whole; pyedflib would print what is wrong with it to stdout."""
    header = edf_blocks.header(path)
    wanted = header.size + header.blocks * header.block_bytes
    if os.path.getsize(path) < wanted:
        raise data_error(
            path,
            "truncated",
            f"should have {wanted:,} bytes, has {os.path.getsize(path):,}. Copy or download it again.",
        )
    return header


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
