"""WFDB (PhysioNet): a `.hea` header, its signals in any format, and annotations."""

import datetime as dt
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.faults import data_error, file_faults, kind_of
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import Record, cached, need

_BYTES = {
    "8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3,
}  # fmt: skip
"""Bytes of a sample by format (WFDB, signal(5)); what FLAC compresses has no fixed number."""
_COMPRESSED = ("508", "516", "524")
_DIFFERENCES = "8"
"""The format that stores first differences, so that a value needs all those before it."""


_FLOAT = r"\d+\.?\d*([eE][+-]?\d+)?"
_RECORD = {
    2: ("the sampling frequency", re.compile(rf"{_FLOAT}(/|$)")),
    3: ("the number of samples", re.compile(r"\d+$")),
}
_SIGNAL = {
    1: ("the format", re.compile(r"\d+(x\d+)?(:\d+)?(\+\d+)?$")),
    2: ("the gain", re.compile(rf"[+-]?({_FLOAT}|\.\d+)")),
    **{
        place: (what, re.compile(r"[+-]?\d+$"))
        for place, what in enumerate(("the resolution", "the zero level", "the first value", "the checksum"), start=3)
    },
}
"""What stands in the header's first line, and in those of its signals, by place (WFDB, header(5))."""


@dataclass(frozen=True)
class Annotations:
    """Marks that experts or programs put on a record."""

    samples: np.ndarray
    """int64 `(marks,)`: where, counted in samples of the record."""
    symbols: tuple[str, ...]
    """What each is: `N`, `V`, `+` and so on."""
    notes: tuple[str, ...]
    """Text that belongs to each, such as the rhythm `(AFIB` of a `+`; most are empty."""


def record(path: str, row: int | str | None = None, options: TableOptions | None = None) -> Record:
    """The record of a header; `row` has no meaning here."""
    stem = _stem(path)
    header, counted = _header(stem)
    frames = header.sig_len
    per_frame = [int(n) for n in header.samps_per_frame or [1] * header.n_sig]
    # wfdb adds differences up from wherever it begins, and reads parts only where the header says the length.
    parts = [header] if header.file_name else [part for part in header.segments or () if part is not None]
    whole = counted or any(_DIFFERENCES in (part.fmt or ()) for part in parts)
    sums: dict[int, _Sum] = {}

    def load(channel: int, start: int, stop: int) -> np.ndarray:
        if header.file_name is None:
            return _joined(header, path, channel, start, stop)
        data, digits = _load(stem, path, per_frame[channel], channel, start, stop, whole)
        summed = sums.setdefault(channel, _Sum())
        if summed.takes(start, stop, digits) and stop == frames * per_frame[channel]:
            _check_sum(path, header, channel, summed.total)
        return data

    return Record(
        path=path,
        channels=tuple(name or str(i) for i, name in enumerate(header.sig_name)),
        units=tuple(unit or "" for unit in header.units),
        rates=tuple(float(header.fs) * n for n in per_frame),
        sizes=tuple(frames * n for n in per_frame),
        load=load,
        start=_start(header),
        seeks=not whole,
    )


@dataclass
class _Sum:
    """The sum of a channel's samples, which are read from the first on in one block or in many."""

    stop: int = 0
    total: int = 0

    def takes(self, start: int, stop: int, digits: np.ndarray) -> bool:
        """Add the samples; False where they do not follow those before."""
        if start not in (0, self.stop):
            return False
        before = 0 if start == 0 else self.total
        self.stop, self.total = stop, before + int(digits.sum(dtype=np.int64))
        return True


def _check_sum(path: str, header: Any, channel: int, total: int) -> None:
    """Hold the sum of a channel's samples against the one in the header, modulo 65,536.

    Programs that do not add up write 0. A channel that is shifted in time (skew) is not checked, since its samples are
    not those that were summed.

    Raises:
        ValueError: They differ.
    """
    promised = (header.checksum or [None] * header.n_sig)[channel]
    skewed = (header.skew or [None] * header.n_sig)[channel]
    if not promised or skewed or (total - promised) % 65536 == 0:
        return
    name = header.sig_name[channel] or str(channel)
    message = (
        f"the samples of channel {name!r} add up to {total % 65536}, and its checksum is {promised % 65536}: the "
        "signal is damaged, or the header belongs to another. Copy or download both again."
    )
    raise data_error(path, "damaged", message)


def _joined(header: Any, path: str, channel: int, start: int, stop: int) -> np.ndarray:
    """A part of a channel of a record in segments, NaN where none of them has it."""
    signal = np.full(stop - start, np.nan, np.float32)
    name, position = header.sig_name[channel], 0
    for segment, part, size in zip(header.seg_name, header.segments, header.seg_len, strict=True):
        first, last = max(start, position), min(stop, position + size)
        if part is not None and first < last and (header.layout == "fixed" or name in part.sig_name):
            index = channel if header.layout == "fixed" else part.sig_name.index(name)
            file = os.path.join(os.path.dirname(path), f"{segment}.hea")
            try:
                signal[first - start : last - start] = _of_segment(file, index, size, first - position, last - position)
            except ValueError as error:
                raise data_error(path, kind_of(error), f"one of its segments is at fault. {error}") from error
        position += size
    return signal


def _of_segment(path: str, channel: int, size: int, start: int, stop: int) -> np.ndarray:
    """A part of a channel of a segment, which should have `size` frames: the mean of each."""
    segment = record(path)
    per_frame = int((_header(_stem(path))[0].samps_per_frame or [1] * len(segment.sizes))[channel])
    if segment.sizes[channel] < size * per_frame:
        message = f"should have {size:,} samples, {segment.sizes[channel] // per_frame:,} are there."
        raise data_error(path, "truncated", f"{message} Copy or download it again.")
    return segment.load(channel, start * per_frame, stop * per_frame).reshape(-1, per_frame).mean(axis=1)


def _start(header: Any) -> dt.datetime | None:
    """When the record begins, if its header says a date."""
    if isinstance(header.base_date, dt.date) and isinstance(header.base_time, dt.time):
        return dt.datetime.combine(header.base_date, header.base_time)
    return None


def annotations(path: str | os.PathLike[str], *, extension: str = "atr") -> Annotations:
    """The annotations of a record.

    Args:
        path: The record's header, with or without its ending.
        extension: Ending of the file of annotations.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be decoded.
    """
    stem = _stem(os.fspath(path))
    marks = f"{stem}.{extension}"
    if not os.path.isfile(marks):
        raise FileNotFoundError(f"{marks}: is missing. Copy it beside the record's header.")
    with file_faults(marks, extra="signals", problem="holds no annotations"):
        wfdb = need("wfdb", marks)
        # Not symbols: wfdb's own way to them warns, and warnings cannot be silenced in one thread alone.
        annotation = wfdb.rdann(stem, extension, return_label_elements=["label_store"])
        table = wfdb.io.annotation.ann_label_table
        symbols = dict(zip(table["label_store"], table["symbol"], strict=True))
        symbols |= {code: symbol for code, symbol, _ in annotation.custom_labels or ()}
        samples = np.asarray(annotation.sample, np.int64)
        if annotation.fs and os.path.isfile(f"{stem}.hea"):  # the marks may have a time resolution of their own
            samples = np.rint(samples * (wfdb.rdheader(stem).fs / annotation.fs)).astype(np.int64)
    notes = tuple(note.strip("\0").strip() for note in annotation.aux_note or [""] * len(annotation.sample))
    return Annotations(samples, tuple(symbols.get(int(label), " ") for label in annotation.label_store), notes)


def _stem(path: str) -> str:
    return path.removesuffix(".hea").removesuffix(".HEA")


@cached(256)
def _headers(path: str) -> tuple[Any, bool]:
    """The header, and whether its length had to be counted."""
    wfdb = need("wfdb", path)
    stem = _stem(path)
    _check_fields(path)
    try:
        header = wfdb.rdheader(stem, rd_segments=True)
        if isinstance(header, wfdb.MultiRecord):  # names and gains stand in the headers of its segments
            whole = wfdb.rdrecord(stem, sampfrom=0, sampto=1)
            header.sig_name, header.units, header.samps_per_frame = whole.sig_name, whole.units, None
            header.file_name = header.fmt = None
    except OSError as error:
        raise FileNotFoundError(f"{path}: names a segment that is missing: {error}.") from error
    except MemoryError:
        raise
    except Exception as error:  # wfdb lets through whatever goes wrong inside it
        advice = "It begins with `NAME SIGNALS RATE SAMPLES` and, if known, `HH:MM:SS DD/MM/YYYY`. Mend it."
        raise data_error(path, "undecodable", f"is no WFDB header: {str(error).rstrip('.')}. {advice}") from error
    if not header.n_sig:
        raise data_error(path, "empty", "lists no signal. Give the header of a record with signals.")
    described = len(header.sig_name or ())
    if described != header.n_sig:
        message = f"promises {header.n_sig} signals and describes {described}. Copy or download it again."
        raise data_error(path, "truncated", message)
    if header.file_name is None:
        return header, False
    counted = header.sig_len is None
    lengths = list(_lengths(path, header))
    if counted:  # a header may leave it to the size of the signal
        header.sig_len = min(lengths) if lengths else wfdb.rdrecord(stem).sig_len
    elif lengths and min(lengths) < header.sig_len:
        message = (
            f"should have {header.sig_len:,} samples, its signal is damaged or cut off: {min(lengths):,} are there."
        )
        raise data_error(path, "truncated", f"{message} Copy or download it again.")
    return header, counted


def _check_fields(path: str) -> None:
    """Refuse a header with words instead of numbers, for which wfdb silently takes its defaults.

    Raises:
        ValueError: A field is no number; the file, the line and the field are named.
    """
    fields = _RECORD
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if fields is _RECORD and not (len(words) > 1 and words[1].isdigit()):
                return  # no header at all, as wfdb will say
            for position, (what, pattern) in fields.items():
                if position < len(words) and not pattern.match(words[position]):
                    message = f"has {words[position]!r} in line {number}, where {what} should stand. Copy it again."
                    raise data_error(path, "undecodable", message)
            if fields is _RECORD and "/" in words[0]:
                return  # its other lines are names of segments
            fields = _SIGNAL


def _lengths(path: str, header: Any) -> Iterator[int]:
    """Samples of a channel at the header's rate that each file of signals holds, where its format says how many."""
    folder = os.path.dirname(path)
    for name in dict.fromkeys(header.file_name):
        in_file = [i for i, other in enumerate(header.file_name) if other == name]
        if not os.path.isfile(os.path.join(folder, name)):
            raise FileNotFoundError(f"{path}: its signal {name} is missing. Copy it beside the header.")
        form = header.fmt[in_file[0]]
        if form not in _BYTES and form not in _COMPRESSED:
            known = ", ".join((*_BYTES, *_COMPRESSED))
            raise data_error(path, "undecodable", f"{name} is in the format {form!r}. WFDB has {known}.")
        counts = [int(n) for n in header.samps_per_frame]
        if min(counts) < 1:
            raise data_error(path, "undecodable", f"has {min(counts)} samples of a channel in a frame.")
        if form in _BYTES:
            size = os.path.getsize(os.path.join(folder, name)) - (header.byte_offset[in_file[0]] or 0)
            yield max(0, int(size / _BYTES[form] + 1e-6)) // sum(counts[i] for i in in_file)


def _header(stem: str) -> tuple[Any, bool]:
    path = f"{stem}.hea"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such header. A WFDB record needs its .hea beside its signal.")
    return _headers(path)


def _load(
    stem: str, path: str, per_frame: int, channel: int, start: int, stop: int, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a channel in physical units, and as they are stored."""
    wfdb = need("wfdb", path)
    first, last = (0, None) if whole else (start // per_frame, -(-stop // per_frame))
    single = per_frame == 1
    try:
        data = wfdb.rdrecord(
            stem, sampfrom=first, sampto=last, channels=[channel], physical=False, smooth_frames=single, return_res=32
        )
        physical = data.dac(expanded=not single, return_res=32)
    except OSError as error:
        raise FileNotFoundError(f"{path}: its signal cannot be read: {error}.") from error
    except MemoryError:
        raise
    except Exception as error:  # wfdb lets through whatever goes wrong inside it
        raise data_error(
            path, "truncated", f"its signal is damaged or cut off: {str(error).rstrip('.')}. Copy or download it again."
        ) from error
    part = slice(start - first * per_frame, stop - first * per_frame)
    digits, samples = (data.d_signal[:, 0], physical[:, 0]) if single else (data.e_d_signal[0], physical[0])
    return samples[part], digits[part]
