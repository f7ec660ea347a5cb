"""The layout of EDF and BDF files, and the reading of those with interruptions (EDF+D, BDF+D).

Each block of an EDF+D file begins its channel of annotations with the time at which it was taken (EDF+ specification,
Kemp and Olivan 2003, section 2.2.4). The blocks are put where these times say; between them there is nothing.
"""

import re
from dataclasses import dataclass

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.record import Record, cached

_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("low", 8),
    ("high", 8),
    ("digital low", 8),
    ("digital high", 8),
    ("filter", 80),
    ("count", 8),
    ("reserved", 32),
)
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14\x14")
_ADVICE = "Export it as EDF+C, or each stretch as a file of its own."
_SPREAD, _SPARE = 20, 10_000_000
"""How far samples may lie apart to be read at once: so many times their number, and so many more."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    kind: str
    """"EDF+C", "EDF+D" and so on; nothing for plain EDF and BDF."""
    size: int
    """Bytes of the header."""
    blocks: int
    """Number of blocks of samples."""
    seconds: float
    """Length of a block."""
    wide: int
    """Bytes of a sample: 2 in an EDF, 3 in a BDF."""
    fields: dict[str, list[str]]
    """What is said of each channel, annotations included, by field."""
    counts: list[int]
    """Samples of each channel in a block."""

    @property
    def block_bytes(self) -> int:
        """Bytes of a block."""
        return self.wide * sum(self.counts)


def header(path: str) -> Header:
    """Read the header of an EDF or BDF file.

    Raises:
        ValueError: It is none.
    """
    with open(path, "rb") as file:
        fixed = file.read(256)
        try:
            channels = int(fixed[252:256])
            about = file.read(256 * max(0, channels))
            fields, start = {}, 0
            for name, width in _FIELDS:
                cells = [about[start + i * width : start + (i + 1) * width] for i in range(channels)]
                fields[name] = [cell.decode("latin-1").strip() for cell in cells]
                start += width * channels
            return Header(
                kind=fixed[192:236].decode("latin-1").strip()[:5],
                size=int(fixed[184:192]),
                blocks=int(fixed[236:244]),
                seconds=float(fixed[244:252]),
                wide=3 if fixed[:1] == b"\xff" else 2,
                fields=fields,
                counts=[int(count) for count in fields["count"]],
            )
        except ValueError as error:
            raise data_error(path, "undecodable", f"is no EDF or BDF that can be read: {error}.") from error


@dataclass(frozen=True)
class _Blocks:
    """A file with interruptions, before its samples are read."""

    header: Header
    onsets: np.ndarray
    """float64 `(blocks,)`: seconds from the first block to each."""

    def places(self, channel: int) -> np.ndarray:
        """int64 `(blocks,)`: where each block's first sample lies on the channel's time line."""
        rate = self.header.counts[channel] / self.header.seconds
        return np.rint(self.onsets * rate).astype(np.int64)


def record(path: str) -> Record:
    """The record of an EDF+D or BDF+D file: one time line, with NaN where nothing was recorded.

    Raises:
        ValueError: A block does not say when it was taken, or blocks overlap.
    """
    blocks = _blocks(path)
    fields, counts, seconds = blocks.header.fields, blocks.header.counts, blocks.header.seconds
    there = [i for i, label in enumerate(fields["label"]) if label not in _ANNOTATIONS]
    return Record(
        path=path,
        channels=tuple(fields["label"][i] or str(place) for place, i in enumerate(there)),
        units=tuple(fields["unit"][i] for i in there),
        rates=tuple(counts[i] / seconds for i in there),
        sizes=tuple(int(blocks.places(i)[-1]) + counts[i] for i in there),
        load=lambda channel, start, stop: _load(path, there[channel], start, stop),
    )


def _parse(path: str) -> _Blocks:
    found = header(path)
    if not found.blocks > 0 or not found.seconds > 0:
        message = f"has {found.blocks} blocks of {found.seconds:g} s; both must be positive. {_ADVICE}"
        raise data_error(path, "undecodable", message)
    index = next((i for i, label in enumerate(found.fields["label"]) if label in _ANNOTATIONS), None)
    if index is None:
        message = f"is {found.kind} without a channel `EDF Annotations` that says when each block begins. {_ADVICE}"
        raise data_error(path, "discontinuous", message)
    marks = [_ONSET.match(row.tobytes()) for row in _bytes(path, found, index)]
    onsets = np.array([float(mark[1]) if mark else np.nan for mark in marks])
    if np.isnan(onsets).any():
        number = int(np.argmax(np.isnan(onsets))) + 1
        message = f"is {found.kind}, but its block {number:,} does not say when it begins. {_ADVICE}"
        raise data_error(path, "discontinuous", message)
    early = np.diff(onsets) < found.seconds - found.seconds / max(found.counts)  # times are rounded
    if early.any():
        number = int(np.argmax(early)) + 2
        message = f"is {found.kind}, but its block {number:,} begins before the one ahead of it ends. {_ADVICE}"
        raise data_error(path, "discontinuous", message)
    return _Blocks(found, onsets - onsets[0])


_blocks = cached(_parse, 32)


def _bytes(path: str, found: Header, channel: int) -> np.ndarray:
    """What the blocks hold of a channel, uint8 `(blocks, bytes)`; read from the file as it is used."""
    whole = np.memmap(path, np.uint8, "r", found.size, (found.blocks, found.block_bytes))
    start = found.wide * sum(found.counts[:channel])
    return whole[:, start : start + found.wide * found.counts[channel]]


def _load(path: str, channel: int, start: int, stop: int) -> np.ndarray:
    blocks = _blocks(path)
    found, count, places = blocks.header, blocks.header.counts[channel], blocks.places(channel)
    first, last = np.searchsorted(places, start - count, "right"), np.searchsorted(places, stop, "left")
    if stop - start > _SPREAD * count * (last - first) + _SPARE:
        message = f"has {count * (last - first):,} samples in {stop - start:,} from {start:,} on. Read it in segments."
        raise data_error(path, "with gaps", message)
    signal = np.full(stop - start, np.nan)
    values = _physical(path, found, channel, _bytes(path, found, channel)[first:last])
    for place, block in zip(places[first:last].tolist(), values, strict=True):
        low, high = max(place, start), min(place + count, stop)
        signal[low - start : high - start] = block[low - place : high - place]
    return signal


def _physical(path: str, found: Header, channel: int, raw: np.ndarray) -> np.ndarray:
    """Little-endian whole numbers uint8 `(blocks, bytes)` as physical values, float64 `(blocks, samples)`."""
    try:
        names = ("low", "high", "digital low", "digital high")
        low, high, least, most = (float(found.fields[name][channel]) for name in names)
        gain = (high - low) / (most - least)
    except (ValueError, ZeroDivisionError) as error:
        raise data_error(path, "undecodable", f"does not say the range of a channel: {error}.") from error
    if found.wide == 2:
        values = np.ascontiguousarray(raw).view("<i2")
    else:  # three bytes become the upper ones of four
        parts = np.zeros((*raw.shape[:1], raw.shape[1] // 3, 4), np.uint8)
        parts[..., 1:] = raw.reshape(len(raw), -1, 3)
        values = parts.view("<i4")[..., 0] >> 8
    return low + gain * (values - least)
