"""Checks the length in a recording's header against the bytes in the file, and finds the end of the recording.

libsndfile reads a truncated WAV, AIFF, AU, Wave64, CAF, SPHERE or Ogg file without an error, and of concatenated
recordings it reads only the first. Each function takes the file's bytes and the position at which a recording begins,
and returns the position at which it ends.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from speechrnn.audio import flac
from speechrnn.audio.sections import Bytes, release
from speechrnn.faults import data_error

_UNKNOWN_LENGTH = 0x7FFF0000
"""Programs that write WAV to a pipe store a size from here upwards, since they cannot go back to correct it."""
_MAX_CHUNKS = 10_000
_MAX_TRAILING = 4096
"""Bytes after a recording, neither tag nor chunk, that are not taken for samples."""
_SEARCH_BLOCK = 1 << 22
_FLAC = re.compile(rb"fLaC[\0\x80]\0\0\x22")
_UNCOMPRESSED, _COMPANDED = (1, 3, 0xFFFE), (6, 7)
"""Format codes of WAV: integers, floats and WAVE_FORMAT_EXTENSIBLE; A-law and mu-law."""
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
_W64_WAVE, _W64_FMT, _W64_DATA = (
    name + b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a" for name in (b"wave", b"fmt ", b"data")
)


def container(head: bytes) -> str:
    """The container format by a file's first bytes, or "" if unknown; `mpeg` recognizes MP3."""
    for name, (begins, _) in _CONTAINERS.items():
        if begins(head):
            return name
    return ""


def end(path: str, name: str, data: Bytes, start: int) -> int:
    """The position at which the recording that begins at `start` ends.

    Raises:
        ValueError: There are fewer bytes than its header says, or many more; or its compression is not supported.
    """
    stop = min(len(data), _CONTAINERS[name][1](path, data, start))
    head = data[stop : stop + 64]
    if len(data) - stop > _MAX_TRAILING and not container(head) and not _is_name(head) and head.strip(b"\0"):
        raise data_error(
            path,
            "truncated",
            f"its header promises {stop - start:,} bytes, and {len(data) - stop:,} more follow: the recording was not "
            "closed. Repair it, as in `sox --ignore-length in.wav out.wav`.",
        )
    return stop


def chunks(
    path: str, data: Bytes, position: int, name: int, length: str, unit: int, counted: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a file: name, position of the content and its size.

    Args:
        path: The file.
        data: Its bytes.
        position: Where the first chunk begins.
        name: Bytes of a chunk's name; a name of four bytes must be printable.
        length: Format of the size, for `struct`; a size of -1 means that `data` lasts up to the end of the file.
        unit: Chunks are padded to a multiple of this many bytes.
        counted: Bytes of name and size that are included in the size.

    Raises:
        ValueError: There is no valid chunk where one should begin.
    """
    size = name + struct.calcsize(length)
    for _ in range(_MAX_CHUNKS):
        head = data[position : position + size]
        if len(head) < size:
            return
        content = struct.unpack(length, head[name:])[0] - counted
        endless = content == -1 and head[:name] == b"data"
        if (name == 4 and not _is_name(head)) or (content < 0 and not endless):
            raise _no_chunk(path, position, head)
        yield head[:name], position + size, content
        position += size + content + -content % unit
    raise _no_chunk(path, position, head)


def wave_chunks(path: str, kind: str, data: Bytes, start: int) -> Iterator[tuple[bytes, int, int]]:
    """The `chunks` of a WAV or Wave64 file that begins at `start`."""
    if kind == "W64":
        return chunks(path, data, start + 40, 16, "<Q", 8, counted=24)
    return chunks(path, data, start + 12, 4, f"{byte_order(data, start)}I", 2)


def byte_order(data: Bytes, start: int) -> str:
    """Byte order of the WAV file that begins at `start`, `<` or `>`."""
    return ">" if data[start : start + 4] == b"RIFX" else "<"


def _wav(path: str, data: Bytes, start: int) -> int:
    order = byte_order(data, start)
    size = _number(data, start + 4, f"{order}I")
    bytes_per_second, long_size, long_riff = 0, None, 0
    for chunk, position, content in wave_chunks(path, "WAV", data, start):
        if chunk == b"data":
            available, length = len(data) - position, content
            break
        if chunk == b"ds64":
            long_riff, long_size = _number(data, position, "<Q"), _number(data, position + 8, "<Q")
        elif chunk == b"fmt ":
            bytes_per_second = _number(data, position + 8, f"{order}I")
            _check_frames(path, data, position, order)
    else:
        return len(data)  # no data chunk: libsndfile reports that
    if long_size is not None and length == 0xFFFFFFFF:
        length, size = long_size, long_riff
    elif length == 0 and available > 0:
        raise data_error(
            path,
            "empty",
            f"the header promises no audio, yet {available:,} bytes follow: the recording was not closed. "
            "Repair it, as in `sox --ignore-length in.wav out.wav`.",
        )
    elif length >= _UNKNOWN_LENGTH and length > available:
        return len(data)  # written to a pipe: libsndfile uses the size of the file
    if available < length:
        raise truncated(path, length, available, bytes_per_second)
    return _recording_end(data, position + length + length % 2, start + 8 + size)


def _check_frames(path: str, data: Bytes, position: int, order: str) -> None:
    """Refuse a format chunk whose frame size does not fit its samples: libsndfile decodes such a file as noise.

    Args:
        path: The file.
        data: Its bytes.
        position: Where the chunk's content begins.
        order: `<` or `>`, its byte order.
    """
    coding, channels = (_number(data, position + 2 * i, f"{order}H") for i in range(2))
    frame, bits = (_number(data, position + 2 * i, f"{order}H") for i in (6, 7))
    if coding in _COMPANDED:
        bits = 8
    elif coding not in _UNCOMPRESSED:
        return
    expected = channels * -(-bits // 8)
    if frame and expected and frame != expected:
        message = (
            f"the header contradicts itself: {channels} channel(s) of {bits} bits take {expected} bytes per frame, "
            f"and it says {frame}. Export the recording again, or name its coding to a converter, as in "
            "`sox -t raw -r RATE -e signed -b BITS -c CHANNELS in.wav out.wav`."
        )
        raise data_error(path, "undecodable", message)


def _recording_end(data: Bytes, samples: int, declared: int) -> int:
    """The end of a recording: as its header says, or after its samples if no chunk follows them.

    Args:
        data: The file.
        samples: Where its samples end.
        declared: Where the file ends by its header.
    """
    head = data[samples - 1 : samples + 4]  # the padding byte may be missing
    chunk = _is_name(head[1:]) or _is_name(head) or not head[1:].strip(b"\0")
    return max(samples, declared) if chunk else samples


def _aiff(path: str, data: Bytes, start: int) -> int:
    size, rate, width = _number(data, start + 4, ">I"), 0, 0
    for chunk, position, length in chunks(path, data, start + 12, 4, ">I", 2):
        if chunk == b"COMM":
            channels, _, bits = struct.unpack(">hIh", data[position : position + 8].ljust(8, b"\0"))
            width, rate = channels * -(-bits // 8), _extended(data[position + 8 : position + 18])
        elif chunk == b"SSND":
            available = len(data) - position
            if available < length:
                raise truncated(path, length, available, rate * width)
            return _recording_end(data, position + length + length % 2, start + 8 + size)
    return len(data)


def _extended(number: bytes) -> int:
    """The integer part of a sampling rate in AIFF's 80-bit floating point."""
    if len(number) < 10:
        return 0
    exponent = (number[0] & 0x7F) << 8 | number[1]
    return int.from_bytes(number[2:10], "big") >> max(0, 16383 + 63 - exponent)


def _au(path: str, data: Bytes, start: int) -> int:
    order = "<" if data[start : start + 4] == b"dns." else ">"
    offset, size, coding, rate, channels = (_number(data, start + 4 * i, f"{order}I") for i in range(1, 6))
    if size == 0xFFFFFFFF:
        return len(data)
    available = max(0, len(data) - start - offset)
    if available < size:
        width = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8}.get(coding, 0)
        raise truncated(path, size, available, rate * channels * width)
    return start + offset + size


def _w64(path: str, data: Bytes, start: int) -> int:
    bytes_per_second = 0
    for chunk, position, length in wave_chunks(path, "W64", data, start):
        if chunk == _W64_FMT:
            bytes_per_second = _number(data, position + 8, "<I")
            _check_frames(path, data, position, "<")
        elif chunk == _W64_DATA:
            available = len(data) - position
            if available < length:
                raise truncated(path, length, available, bytes_per_second)
            return _recording_end(data, position + length, start + _number(data, start + 16, "<Q"))
    return len(data)


def _caf(path: str, data: Bytes, start: int) -> int:
    sampled = False
    for chunk, position, length in chunks(path, data, start + 8, 4, ">q", 1):
        if length == -1:
            return len(data)  # up to the end of the file
        if chunk == b"data" and len(data) - position < length:
            raise truncated(path, length, len(data) - position, 0)
        sampled, stop = sampled or chunk == b"data", position + length
        if sampled and (not _is_name(data[stop : stop + 12]) or data[stop : stop + 4] == b"caff"):
            return stop
    return len(data)


def _sphere(path: str, data: Bytes, start: int) -> int:
    head = data[start : start + 65536]
    header_size = int(head[8:16].strip()) if head[8:16].strip().isdigit() else 1024
    fields = dict(re.findall(r"^(\w+) -\S+ (.*?)\s*$", head[:header_size].decode("latin-1"), re.MULTILINE))
    coding = fields.get("sample_coding", "pcm")
    if "," in coding or coding in ("shortpack", "wavpack"):
        raise data_error(
            path,
            "undecodable",
            f"SPHERE audio compressed as {coding!r} is not supported. "
            "Uncompress it first, for example with `sph2pipe -f wav in.sph out.wav`.",
        )
    missing = [name for name in ("sample_count", "sample_rate") if not fields.get(name, "").isdigit()]
    if missing or b"end_head" not in head[:header_size]:
        problem = f"has no `{missing[0]}`" if missing else "does not end"
        message = (
            f"its header is damaged: it {problem}, so that nothing says whether it is whole. Copy or download it again."
        )
        raise data_error(path, "undecodable", message)
    try:
        width = int(fields.get("sample_n_bytes", 2)) * int(fields.get("channel_count", 1))
    except ValueError:
        return len(data)  # libsndfile reports the fault
    declared, rate = int(fields["sample_count"]) * width, int(fields["sample_rate"])
    available = max(0, len(data) - start - header_size)
    if available < declared:
        raise truncated(path, declared, available, rate * width)
    return start + header_size + declared


def _ogg(path: str, data: Bytes, start: int) -> int:
    """The end of the first link of an Ogg chain: the next link begins with the next page that starts a stream."""
    last: dict[bytes, int] = {}
    position, size, started, ended, released = start, len(data), False, False, 0
    while position < size:
        released = release(data, position, released)
        head = data[position : position + 27]
        if head[:4] != b"OggS":
            if b"OggS".startswith(head[:4]) or data.find(b"OggS\0", position + 1) >= 0:
                raise _broken_ogg(path, position, size)
            break  # a tag after the last page
        lacing = data[position + 27 : position + 27 + head[26]] if len(head) == 27 else b""
        stop = position + 27 + len(lacing) + sum(lacing)
        if len(head) < 27 or len(lacing) < head[26] or stop > size:
            raise _broken_ogg(path, position, size)
        first, serial, number = head[5] & 2, head[14:18], _number(head, 18, "<I")
        if first and started:
            break
        started = started or not first
        if number != last.get(serial, number - 1) + 1:
            raise data_error(
                path,
                "damaged",
                f"this Ogg file lacks a page at {position:,} of {size:,} bytes. Copy or download it again.",
            )
        last[serial], ended = number, bool(head[5] & 4)
        position = stop
    if not ended:
        raise _broken_ogg(path, position, size)
    return position


def _broken_ogg(path: str, position: int, size: int) -> ValueError:
    return data_error(
        path,
        "truncated",
        f"this Ogg file breaks off within a stream at {position:,} of {size:,} bytes. Copy or download it again; what "
        "is there can be saved with `ffmpeg -i in.ogg out.wav`.",
    )


def _flac(path: str, data: Bytes, start: int) -> int:
    """The end of a stream, where the next stream begins or the file ends; the decoder finds missing samples."""
    stop = _next_flac(data, start + 4)
    declared = _number(data, start + 18, ">Q") & (1 << 36) - 1
    last = flac.samples_beyond(data, start, stop, declared) if declared else 0
    if last:
        raise data_error(
            path,
            "truncated",
            f"its header promises {declared:,} samples, and its last frame ends with the {last:,}th: the header is "
            "damaged. Copy or download it again; what is there can be saved with `ffmpeg -i in.flac out.wav`.",
        )
    return stop


def _next_flac(data: Bytes, start: int) -> int:
    """Where the next stream begins, or the file's end; reads one block at a time."""
    released = 0
    for position in range(start, len(data), _SEARCH_BLOCK):
        match = _FLAC.search(data[position : position + _SEARCH_BLOCK + 7])
        released = release(data, position, released)
        if match:
            return position + match.start()
    return len(data)


def begins_flac(data: Bytes) -> bool:
    """Whether a FLAC stream begins anywhere in these bytes."""
    return _FLAC.search(data) is not None


def begins_wav(data: bytes) -> bool:
    """Whether a WAV file begins anywhere in these bytes."""
    return re.search(rb"RIF[FX]....WAVE", data, re.DOTALL) is not None


_CONTAINERS: dict[str, tuple[Callable[[bytes], object], Callable[[str, Bytes, int], int]]] = {
    "WAV": (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE", _wav),
    "AIFF": (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    "AU": (lambda head: head[:4] in (b".snd", b"dns."), _au),
    "W64": (lambda head: head[:16] == _W64_RIFF and head[24:40] == _W64_WAVE, _w64),
    "CAF": (lambda head: head[:4] == b"caff", _caf),
    "NIST": (lambda head: head[:7] == b"NIST_1A", _sphere),
    "OGG": (lambda head: head[:4] == b"OggS", _ogg),
    "FLAC": (lambda head: head[:4] == b"fLaC", _flac),
}


def _number(data: Bytes, position: int, form: str) -> int:
    """The integer at a position; 0 where there are too few bytes."""
    size = struct.calcsize(form)
    return struct.unpack(form, data[position : position + size].ljust(size, b"\0"))[0]


def _is_name(head: bytes) -> bool:
    """Whether bytes begin with a chunk's name."""
    return len(head) >= 4 and all(32 <= byte < 127 for byte in head[:4])


def _no_chunk(path: str, position: int, head: bytes) -> ValueError:
    return data_error(
        path,
        "undecodable",
        f"the header is damaged: at byte {position:,} a chunk should begin. Received: {head[:8]!r}. Copy or download "
        "it again.",
    )


def truncated(path: str, declared: int, present: int, bytes_per_second: int) -> ValueError:
    """The fault of a file that is shorter than its header says."""

    def amount(count: int) -> str:
        return f"{count:,} bytes" + (f" ({count / bytes_per_second:.2f} s)" if bytes_per_second > 0 else "")

    return data_error(
        path,
        "truncated",
        f"the header promises {amount(declared)} of audio, the file has {amount(present)}. Copy or download it again.",
    )
