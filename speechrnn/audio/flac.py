"""The length of a FLAC stream by its last frame, to check its header (RFC 9639)."""

from __future__ import annotations

from speechrnn.audio.sections import Bytes

_BLOCKS = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}
"""Samples per block by the code in a frame's header; codes 6 and 7 store them in extra bytes."""
_BLOCK_BYTES = {6: 1, 7: 2}
_RATE_BYTES = {12: 1, 13: 2, 14: 2}
_MAX_FRAME, _MAX_TAG = 1 << 16, 1 << 12
"""Bytes of a frame where the header does not say, and of a tag after the last frame."""


def samples_beyond(data: Bytes, start: int, stop: int, declared: int) -> int:
    """Samples per channel up to the end of the last frame if they are more than the header says, else 0."""
    block = int.from_bytes(data[start + 8 : start + 10], "big")
    largest = int.from_bytes(data[start + 15 : start + 18], "big") or _MAX_FRAME
    end = stop - 128 if data[stop - 128 : stop - 125] == b"TAG" else stop
    low, position = max(start + 42, end - largest - _MAX_TAG), end
    while (position := data.rfind(b"\xff", low, position)) >= 0:
        samples = _end_of_frame(data[position : position + 16], block)
        if samples and samples <= declared:
            return 0
        if samples and _crc_matches(data[position:end], 16, 0x8005):  # else it only looks like the start of a frame
            return samples
    return 0


def _end_of_frame(head: bytes, block: int) -> int:
    """The number of the sample after a frame, by its header; 0 if it is not a frame's header."""
    if len(head) < 16 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return 0
    code, rate = head[2] >> 4, head[2] & 15
    width = 1 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length()  # coded as in UTF-8, up to 36 bits
    more, after = 4 + width, 4 + width + _BLOCK_BYTES.get(code, 0)
    size = after + _RATE_BYTES.get(rate, 0)
    if width > 7 or (code not in _BLOCKS and code not in _BLOCK_BYTES) or not _crc_matches(head[: size + 1], 8, 0x07):
        return 0
    number = head[4] & 0x7F if width == 1 else head[4] & 0xFF >> width + 1
    for byte in head[5:more]:
        number = number << 6 | byte & 0x3F
    samples = _BLOCKS.get(code) or int.from_bytes(head[more:after], "big") + 1
    return (number if head[1] & 1 else number * block) + samples


def _crc_matches(data: bytes, bits: int, polynomial: int) -> bool:
    """Whether bytes end with their correct CRC."""
    remainder, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        remainder ^= byte << bits - 8
        for _ in range(8):
            remainder = (remainder << 1 ^ polynomial if remainder & top else remainder << 1) & mask
    return not remainder
