"""WFDB (PhysioNet): a `.hea` header, its signals in any format, and annotations."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.record import Record, cached, need


@dataclass(frozen=True)
class Annotations:
    """Marks that experts or programs put on a record."""

    samples: np.ndarray
    """int64 `(marks,)`: where, counted in samples."""
    symbols: tuple[str, ...]
    """What each is: `N`, `V`, `+` and so on."""
    notes: tuple[str, ...]
    """Text that belongs to each, such as the rhythm `(AFIB` of a `+`; most are empty."""


def record(path: str, row: int | str | None = None) -> Record:
    """The record of a header; `row` has no meaning here."""
    stem = _stem(path)
    header = _header(stem)
    frames = header.sig_len
    per_frame = [int(n) for n in header.samps_per_frame or [1] * header.n_sig]
    return Record(
        path=path,
        channels=tuple(name or str(i) for i, name in enumerate(header.sig_name)),
        units=tuple(unit or "" for unit in header.units),
        rates=tuple(float(header.fs) * n for n in per_frame),
        sizes=tuple(frames * n for n in per_frame),
        load=lambda channel, start, stop: _load(stem, path, per_frame[channel], channel, start, stop),
    )


def annotations(path: str | os.PathLike[str], *, extension: str = "atr") -> Annotations:
    """Annotations that lie beside a record.

    Args:
        path: The record's header, with or without its ending.
        extension: Ending of the file of annotations.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be decoded.
    """
    wfdb = need("wfdb", os.fspath(path))
    stem = _stem(os.fspath(path))
    if not os.path.isfile(f"{stem}.{extension}"):
        raise FileNotFoundError(f"{stem}.{extension}: is missing. Copy it beside the record's header.")
    try:
        # Not symbols: wfdb's own way to them warns, and warnings cannot be silenced in one thread alone.
        found = wfdb.rdann(stem, extension, return_label_elements=["label_store"])
        table = wfdb.io.annotation.ann_label_table
        symbols = dict(zip(table["label_store"], table["symbol"], strict=True))
    except Exception as error:  # wfdb lets through whatever goes wrong inside it
        raise data_error(f"{stem}.{extension}", "undecodable", f"holds no annotations: {error}.") from error
    notes = tuple(note.strip("\0").strip() for note in found.aux_note or [""] * len(found.sample))
    return Annotations(
        np.asarray(found.sample, np.int64), tuple(symbols.get(int(label), " ") for label in found.label_store), notes
    )


def _stem(path: str) -> str:
    return path.removesuffix(".hea").removesuffix(".HEA")


def _parse_header(path: str) -> Any:
    wfdb = need("wfdb", path)
    stem = _stem(path)
    try:
        header = wfdb.rdheader(stem, rd_segments=True)
        if isinstance(header, wfdb.MultiRecord):  # names and gains stand in the headers of its segments
            whole = wfdb.rdrecord(stem, sampfrom=0, sampto=1)
            header.sig_name, header.units, header.samps_per_frame = whole.sig_name, whole.units, None
            header.file_name = None
    except OSError as error:
        raise FileNotFoundError(f"{path}: names a segment that is missing: {error}.") from error
    except Exception as error:  # wfdb lets through whatever goes wrong inside it
        raise data_error(path, "undecodable", f"is no WFDB header: {error}.") from error
    if not header.n_sig:
        raise data_error(path, "empty", "lists no signal. Give the header of a record with signals.")
    folder = os.path.dirname(stem)
    for name in dict.fromkeys(header.file_name or ()):
        if not os.path.isfile(os.path.join(folder, name)):
            raise FileNotFoundError(f"{path}: its signal {name} is missing. Copy it beside the header.")
    if header.sig_len is None:  # a header may leave it to the size of the signal
        header.sig_len = wfdb.rdrecord(stem).sig_len
    return header


_headers = cached(_parse_header, 256)


def _header(stem: str) -> Any:
    path = f"{stem}.hea"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such header. A WFDB record needs its .hea beside its signal.")
    return _headers(path)


def _load(stem: str, path: str, per_frame: int, channel: int, start: int, stop: int) -> np.ndarray:
    wfdb = need("wfdb", path)
    first, last = start // per_frame, -(-stop // per_frame)
    try:
        found = wfdb.rdrecord(
            stem, sampfrom=first, sampto=last, channels=[channel], smooth_frames=per_frame == 1, return_res=32
        )
    except OSError as error:
        raise FileNotFoundError(f"{path}: its signal cannot be read: {error}.") from error
    except Exception as error:  # wfdb lets through whatever goes wrong inside it
        raise data_error(
            path, "truncated", f"its signal is damaged or cut off: {error}. Copy or download it again."
        ) from error
    samples = found.p_signal[:, 0] if per_frame == 1 else found.e_p_signal[0]
    return samples[start - first * per_frame : stop - first * per_frame]
