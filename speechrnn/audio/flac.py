"""The last frame of a FLAC stream, which says how long it is whatever its header promises (RFC 9639)."""

from __future__ import annotations

from speechrnn.audio.sections import Bytes

_BLOCKS = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}
"""Samples of a block by the code in its frame's header; 6 and 7 say them in bytes of their own."""
_MORE = {6: 1, 7: 2}
_RATE_BYTES = {12: 1, 13: 2, 14: 2}
_LARGEST, _BEHIND = 1 << 16, 1 << 12
"""Bytes of a frame where the header does not say them, and of a tag behind the last one."""


def samples_beyond(data: Bytes, start: int, stop: int, promised: int) -> int:
    """Samples of a channel up to the end of the last frame, if they are more than the header promises; 0 if not."""
    block = int.from_bytes(data[start + 8 : start + 10], "big")
    largest = int.from_bytes(data[start + 15 : start + 18], "big") or _LARGEST
    end = stop - 128 if data[stop - 128 : stop - 125] == b"TAG" else stop
    low, place = max(start + 42, end - largest - _BEHIND), end
    while (place := data.rfind(b"\xff", low, place)) >= 0:
        samples = _end_of_frame(data[place : place + 16], block)
        if samples and samples <= promised:
            return 0
        if samples and _checked(data[place:end], 16, 0x8005):  # and not two bytes that look like the start of a frame
            return samples
    return 0


def _end_of_frame(head: bytes, block: int) -> int:
    """The number of the sample behind a frame, by its header; 0 if that is none."""
    if len(head) < 16 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return 0
    code, rate = head[2] >> 4, head[2] & 15
    width = 1 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length()  # as UTF-8 does it, up to 36 bits
    more, after = 4 + width, 4 + width + _MORE.get(code, 0)
    size = after + _RATE_BYTES.get(rate, 0)
    if width > 7 or (code not in _BLOCKS and code not in _MORE) or not _checked(head[: size + 1], 8, 0x07):
        return 0
    number = head[4] & 0x7F if width == 1 else head[4] & 0xFF >> width + 1
    for byte in head[5:more]:
        number = number << 6 | byte & 0x3F
    samples = _BLOCKS.get(code) or int.from_bytes(head[more:after], "big") + 1
    return (number if head[1] & 1 else number * block) + samples


def _checked(data: bytes, bits: int, polynomial: int) -> bool:
    """Whether bytes end with their cyclic redundancy check."""
    found, top, mask = 0, 1 << bits - 1, (1 << bits) - 1
    for byte in data:
        found ^= byte << bits - 8
        for _ in range(8):
            found = (found << 1 ^ polynomial if found & top else found << 1) & mask
    return not found
