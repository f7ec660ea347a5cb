"""How many samples a recording holds that is coded in blocks: ADPCM and GSM 6.10 in WAV and Wave64, G.72x in AU too.

libsndfile decodes whole blocks only: where the last one is short it goes on with what is left of the one before, or
leaves it out (MS ADPCM), and what an encoder put behind the last sample to fill a block it gives as samples. The header
of such a file says how many there are, in its chunk `fact`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from speechrnn.audio import headers
from speechrnn.audio.sections import Bytes
from speechrnn.faults import data_error

_AU = {23: 4, 25: 3, 26: 5}
"""Bits of a sample by the coding of an AU file: G.721, and G.723 at 24 and 40 kbit/s."""
_G72X = 120
"""Samples that libsndfile decodes at once."""

_Rest = Callable[[int], int]
"""Samples in so many bytes that are less than a block."""


def samples(path: str, kind: str, data: Bytes, start: int, stop: int) -> int | None:
    """Samples of a channel; None where the coding has no blocks, or the header does not say enough.

    Args:
        path: For messages.
        kind: Of container.
        data: The file's bytes.
        start: Where the recording begins.
        stop: Where it ends.

    Raises:
        ValueError: Its header is damaged.
    """
    if kind == "AU":
        order = "<" if data[start : start + 4] == b"dns." else ">"
        offset, size, coding, _, channels = struct.unpack(f"{order}5I", data[start + 4 : start + 24].ljust(20, b"\0"))
        size = min(size, stop - start - offset)
        return size * 8 // (_AU[coding] * channels) if coding in _AU and channels and size > 0 else None
    if kind not in ("WAV", "W64"):
        return None
    order = headers.byte_order(data, start)
    block, promised = None, None
    for name, place, size in headers.wave_chunks(path, kind, data, start):
        if name[:4] == b"fmt ":
            block = _block(data[place : place + min(size, 20)], order)
        elif name[:4] == b"fact":
            (promised,) = struct.unpack(f"{order}I", data[place : place + 4].ljust(4, b"\0"))
        elif name[:4] == b"data":
            if block is None:
                return None
            width, each, rest = block
            size = min(size, stop - place)
            total = size // width * each + rest(size % width)
            return promised if promised is not None and max(0, total - each) < promised < total else total
    return None


def check(path: str | os.PathLike[str], found: int, expected: int | None) -> None:
    """Refuse what libsndfile would read in part.

    Args:
        path: For the message.
        found: Samples that libsndfile gives.
        expected: Samples that there are; None where that is not known.

    Raises:
        ValueError: It gives fewer.
    """
    if expected is not None and found < expected:
        message = (
            f"ends within a block: {found:,} of its {expected:,} samples can be read. Copy or download it again, or "
            "convert it, as in `ffmpeg -i in.wav out.flac`."
        )
        raise data_error(path, "truncated", message)


def _block(form: bytes, order: str) -> tuple[int, int, _Rest] | None:
    """Bytes and samples of a block, and samples in less than one; None where the coding has none."""
    if len(form) < 16:
        return None
    coding, channels, _, _, width, bits = struct.unpack(f"{order}HHIIHH", form[:16])
    (each,) = struct.unpack(f"{order}H", form[18:20]) if len(form) >= 20 else (0,)
    if not channels or not width:
        return None
    if coding == 0x31:  # GSM 6.10: two frames of 160 samples in 65 bytes
        return (65, 320, lambda rest: 160 * (rest >= 33)) if width == 65 else None
    if coding in (0x40, 0x14) and bits in (3, 4, 5):
        return bits * _G72X // 8 * channels, _G72X, lambda rest: rest * 8 // (bits * channels)
    known: dict[int, _Rest] = {
        2: lambda rest: 2 + 2 * (rest - 7 * channels) // channels if rest >= 7 * channels else 0,
        0x11: lambda rest: _ima(rest, channels),
    }
    rest = known.get(coding)
    return (width, each, rest) if rest is not None and each == rest(width) > 0 else None


def _ima(size: int, channels: int) -> int:
    """Samples in a block of IMA ADPCM; of several channels each has four bytes in turn."""
    if size < 4 * channels:
        return 0
    size -= 4 * channels
    return 1 + (2 * size if channels == 1 else size // (4 * channels) * 8)
