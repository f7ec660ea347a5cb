"""Number of samples in block-coded recordings: ADPCM and GSM 6.10 in WAV and Wave64, G.72x in AU too.

libsndfile decodes whole blocks only. If the last one is short, it decodes remains of the block before, or drops it
(MS ADPCM), and it returns an encoder's padding of the last block as samples. The true number is in the header's chunk
`fact`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from speechrnn.audio import headers
from speechrnn.audio.sections import Bytes
from speechrnn.faults import data_error

_AU = {23: 4, 25: 3, 26: 5}
"""Bits per sample by the coding of an AU file: G.721, and G.723 at 24 and 40 kbit/s."""
_G72X = 120
"""Samples per block that libsndfile decodes."""

_PartialBlock = Callable[[int], int]
"""Number of samples in that many bytes, less than a block."""


def samples(path: str, kind: str, data: Bytes, start: int, stop: int) -> int | None:
    """Number of samples per channel; None where the coding has no blocks, or the header says too little.

    Args:
        path: For messages.
        kind: Container format.
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
    block, declared = None, None
    for chunk, position, size in headers.wave_chunks(path, kind, data, start):
        if chunk[:4] == b"fmt ":
            block = _block(data[position : position + min(size, 20)], order)
        elif chunk[:4] == b"fact":
            (declared,) = struct.unpack(f"{order}I", data[position : position + 4].ljust(4, b"\0"))
        elif chunk[:4] == b"data":
            if block is None:
                return None
            width, frames_each, partial = block
            size = min(size, stop - position)
            total = size // width * frames_each + partial(size % width)
            return declared if declared is not None and max(0, total - frames_each) < declared < total else total
    return None


def check(path: str | os.PathLike[str], decodable: int, expected: int | None) -> None:
    """Refuse a recording that libsndfile would read in part only.

    Args:
        path: For the message.
        decodable: Samples that libsndfile returns.
        expected: Samples in the file; None if unknown.

    Raises:
        ValueError: libsndfile returns fewer.
    """
    if expected is not None and decodable < expected:
        message = (
            f"ends within a block: {decodable:,} of its {expected:,} samples can be read. Copy or download it again, "
            "or convert it, as in `ffmpeg -i in.wav out.flac`."
        )
        raise data_error(path, "truncated", message)


def _block(fmt: bytes, order: str) -> tuple[int, int, _PartialBlock] | None:
    """Bytes and samples of a block, and samples in a partial one; None where the coding has no blocks."""
    if len(fmt) < 16:
        return None
    coding, channels, _, _, width, bits = struct.unpack(f"{order}HHIIHH", fmt[:16])
    (per_block,) = struct.unpack(f"{order}H", fmt[18:20]) if len(fmt) >= 20 else (0,)
    if not channels or not width:
        return None
    if coding == 0x31:  # GSM 6.10: two frames of 160 samples in 65 bytes
        return (65, 320, lambda rest: 160 * (rest >= 33)) if width == 65 else None
    if coding in (0x40, 0x14) and bits in (3, 4, 5):
        return bits * _G72X // 8 * channels, _G72X, lambda rest: rest * 8 // (bits * channels)
    partial_blocks: dict[int, _PartialBlock] = {
        2: lambda rest: 2 + 2 * (rest - 7 * channels) // channels if rest >= 7 * channels else 0,
        0x11: lambda rest: _ima(rest, channels),
    }
    partial = partial_blocks.get(coding)
    return (width, per_block, partial) if partial is not None and per_block == partial(width) > 0 else None


def _ima(size: int, channels: int) -> int:
    """Samples in a block of IMA ADPCM; channels are interleaved in groups of four bytes."""
    if size < 4 * channels:
        return 0
    size -= 4 * channels
    return 1 + (2 * size if channels == 1 else size // (4 * channels) * 8)
