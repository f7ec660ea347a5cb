"""Scans MP3 frames for the recordings in a file and their lengths (ISO 11172-3, 13818-3)."""

from __future__ import annotations

from dataclasses import dataclass

from speechrnn.audio.sections import Bytes, release

_BITRATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOW_BITRATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_TAG_MARKS = {b"TAG": 128, b"APETAGEX": 32}
_SEARCHED = 1 << 16
"""Bytes within which the first frame must begin, after tags and zeros."""


@dataclass
class Recording:
    """A sequence of frames."""

    start: int
    """Byte at which the first frame begins."""
    stop: int
    """Byte after the last complete frame."""
    frames: int
    """Complete frames, including a Xing header."""
    declared: int | None
    """Frames by the Xing header, not including itself."""
    header: bytes
    """Of the first frame."""
    lost: int = 0
    """Bytes between frames that belong to none."""
    broken: bool = False
    """The last frame is truncated."""


def frame_size(header: bytes) -> int:
    """Bytes of a layer III frame by its header; 0 if it is not one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2 or header[1] & 0x18 == 0x08:
        return 0
    version = 3 - (header[1] >> 3 & 3)  # 0 is MPEG 1, 1 is MPEG 2, 3 is MPEG 2.5
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        return 0
    kilobits = (_BITRATES if version == 0 else _LOW_BITRATES)[bitrate - 1]
    hertz = (44100, 48000, 32000)[rate] >> (0, 1, 1, 2)[version]
    return (144000 if version == 0 else 72000) * kilobits // hertz + (header[2] >> 1 & 1)


def tag_size(data: Bytes, position: int) -> int:
    """Bytes of the ID3v2 tag at a position; 0 if there is none."""
    head = data[position : position + 10]
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + 10 * bool(head[5] & 0x10)


def recordings(data: Bytes) -> list[Recording]:
    """The recordings in an MP3 file; every recording but the first begins with a Xing header.

    Tags and zeros between the frames are skipped. A frame is valid if another frame, a tag, or the end of the file
    follows it, or a frame precedes it.
    """
    parts: list[Recording] = []
    position, size = 0, len(data)
    lost, contiguous, released = 0, False, 0
    while position < size:
        released = release(data, position, released)
        length = frame_size(data[position : position + 4])
        if length and (contiguous or _follows(data, position, length)):
            head = data[position : position + min(length, 60)]
            declared = _declared_frames(head)
            if not parts or declared is not None:
                parts.append(Recording(position, position, 0, declared, head[:4], lost))
                lost = 0
            last = parts[-1]
            if position + length > size:
                last.broken = True
                break
            last.frames += 1
            last.stop = position = position + length
            last.lost, lost, contiguous = last.lost + lost, 0, True
            continue
        contiguous = False
        skipped = _padding_size(data, position)
        if skipped:
            position += skipped
            continue
        following = _next_frame(data, position + 1, size if parts else min(size, position + _SEARCHED))
        if following < 0:
            lost += size - position
            break
        lost += following - position
        position = following
    if parts:
        parts[-1].lost += lost
    return parts


def counted_header(header: bytes, frames: int) -> bytes:
    """A frame with a Xing header for this number of frames; `header` is that of one of these frames."""
    first = bytearray(header)
    mpeg1, mono = first[1] & 0x18 == 0x18, first[3] >> 6 == 3
    first[1] |= 1  # no checksum
    first[2] = (0x90 if mpeg1 else 0x80) | first[2] & 0x0C  # long enough for the Xing header
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    frame = bytes(first) + bytes(side) + b"Xing\0\0\0\1" + frames.to_bytes(4, "big")
    return frame.ljust(frame_size(bytes(first)), b"\0")


def _declared_frames(frame: bytes) -> int | None:
    """Number of frames in a Xing header; None if the frame has no such header or it has no number."""
    mark = max(frame.find(b"Xing", 4, 48), frame.find(b"Info", 4, 48))
    if mark < 0 or len(frame) < mark + 12 or not frame[mark + 7] & 1:
        return None
    return int.from_bytes(frame[mark + 8 : mark + 12], "big")


def _follows(data: Bytes, position: int, length: int) -> bool:
    """Whether a frame is followed by a frame of the same version and rate, a tag, or the end of the file."""
    first, head = data[position : position + 3], data[position + length : position + length + 12]
    alike = frame_size(head) and first[1] == head[1] and first[2] & 0x0C == head[2] & 0x0C
    return bool(alike) or position + length == len(data) or head.startswith((*_TAG_MARKS, b"ID3", b"LYRICSBEGIN"))


def _padding_size(data: Bytes, position: int) -> int:
    """Bytes of a tag or of zeros at a position."""
    head = data[position : position + 32]
    for mark, size in _TAG_MARKS.items():
        if head.startswith(mark):
            more = int.from_bytes(head[12:16], "little") if mark == b"APETAGEX" and head[23:24] >= b"\x80" else 0
            return size + more
    if head.startswith(b"LYRICSBEGIN"):
        end = data.find(b"LYRICS200", position, position + (1 << 20))
        return end + 9 - position if end >= 0 else 0
    if head[:4] == bytes(4):
        stop = position
        while stop < len(data):
            block = data[stop : stop + 65536]
            zeros = len(block) - len(block.lstrip(b"\0"))
            stop += zeros
            if zeros < len(block):
                break
        return stop - position
    return tag_size(data, position)


def _next_frame(data: Bytes, position: int, stop: int) -> int:
    """Position of the next frame that a frame, a tag or the end follows; -1 if there is none before `stop`."""
    while (position := data.find(b"\xff", position, stop)) >= 0:
        length = frame_size(data[position : position + 4])
        if length and _follows(data, position, length):
            return position
        position += 1
    return -1
