"""Audio files opened, and what their headers promise held against the bytes that are there.

libsndfile reads a cut-off WAV, SPHERE, Ogg or MP3 file to its early end without a word, so the promise is checked here.
"""

import io
import os
import re
import stat
import struct
from typing import IO, Any

import soundfile

from speechrnn.faults import data_error

_ENCODING = re.compile(
    r"(?P<coding>[us]8|ulaw|alaw|(?:s16|s24|s32|f32|f64)(?P<order>le|be))@(?P<rate>[1-9]\d{0,6})(?:x(?P<channels>[1-9]\d?))?"
)
_CODINGS = {
    "s8": ("PCM_S8", 1), "u8": ("PCM_U8", 1), "s16": ("PCM_16", 2), "s24": ("PCM_24", 3), "s32": ("PCM_32", 4),
    "f32": ("FLOAT", 4), "f64": ("DOUBLE", 8), "ulaw": ("ULAW", 1), "alaw": ("ALAW", 1),
}  # fmt: skip

_UNKNOWN_LENGTH = 0x7FFF0000
"""Programs that write WAV to a pipe put a size from here upwards, since they cannot come back to correct it."""
_ENDLESS = 1 << 48
"""libsndfile gives FLAC of unknown length the largest 64-bit number of frames."""
_OGG_PAGE = 27 + 255 + 255 * 255
_MP3_SLACK = 4096
_MP3_BITRATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_LOW_BITRATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class AudioStream(soundfile.SoundFile):
    """A file read forwards, with at most one seek before the first read.

    `soundfile` seeks to where it is after every read of a seekable file, and libsndfile 1.2's seeks in Ogg are not
    exact: Opus loses the last samples that way, and Vorbis lands up to a block off
    (https://github.com/libsndfile/libsndfile/issues/885). A single seek is exact in every other format.
    """

    def seekable(self) -> bool:
        """False, so that reading does not seek."""
        return False

    @property
    def sought(self) -> bool:
        """Whether a seek lands where it should; if not, read and throw away."""
        return self.subtype != "VORBIS" and self.frames < _ENDLESS


def open_audio(path: str | os.PathLike[str], encoding: str | None = None) -> tuple[AudioStream, bool]:
    """Open an audio file.

    Args:
        path: The file.
        encoding: What headerless samples are; see `audio.probe`.

    Returns:
        The open file, and whether its number of frames can be relied on.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ValueError: It is empty, cut off, or no audio that can be read.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file. Check the path.") from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path}: is a folder. Give the path of an audio file.")
    if not stat.S_ISREG(mode):
        raise data_error(path, "not a file", "is not a regular file. Save the audio to a file first.")
    with open(path, "rb") as plain:
        size = os.fstat(plain.fileno()).st_size
        if not size:
            raise data_error(path, "empty", "is empty (0 bytes). Copy or download it again.")
        head = plain.read(1 << 16)
        plain.seek(0)
        options = raw_options(encoding, path, size) if encoding else {}
        if not encoding and str(path).lower().endswith(".raw"):
            raise _undecodable(path, head, "It has no header.")
        if not encoding and str(path).lower().endswith(".mp3") and b"\xff" not in head and head[:3] != b"ID3":
            # libmpg123 would search the whole of a text file for a frame, and complain on stderr.
            raise _undecodable(path, head, "There is no MPEG frame in it.")
        source: bytes | io.BytesIO = os.fsencode(path)  # a name need not be UTF-8
        if not encoding and not check(str(path), plain):
            plain.seek(0)
            source = io.BytesIO(_with_xing_header(plain.read()))
    try:
        file = AudioStream(source, **options)
    except soundfile.LibsndfileError as error:
        reason = error.error_string
        if "possibly a pipe" in reason:  # libsndfile 1.2's words for a file in which libmpg123 finds no frame
            reason = "There is no MPEG frame in it."
        raise _undecodable(path, head, reason) from error
    return file, file.frames < _ENDLESS


def raw_options(encoding: str, path: str | os.PathLike[str], size: int = 0) -> dict[str, Any]:
    """What libsndfile must be told of headerless samples.

    Args:
        encoding: See `audio.probe`.
        path: For messages.
        size: Bytes there are, which must be a whole number of samples.

    Raises:
        ValueError: The encoding is unknown, or does not fit the size.
    """
    found = _ENCODING.fullmatch(encoding)
    if found is None:
        raise ValueError(
            f"{path}: an encoding is written like 's16be@16000', 'ulaw@8000' or 's16le@44100x2'. "
            f"Received: {encoding!r}."
        )
    order = found["order"]
    subtype, width = _CODINGS[found["coding"].removesuffix(order or "")]
    channels = int(found["channels"] or 1)
    if size % (width * channels):
        raise data_error(
            path,
            "truncated",
            f"{size:,} bytes are not a whole number of {encoding} samples. Check the encoding, or copy it again.",
        )
    return {
        "samplerate": int(found["rate"]), "channels": channels, "subtype": subtype, "format": "RAW",
        "endian": {"le": "LITTLE", "be": "BIG", None: "FILE"}[order],
    }  # fmt: skip


def _undecodable(path: str | os.PathLike[str], head: bytes, reason: str) -> ValueError:
    if head.startswith(b"version https://git-lfs"):
        advice = "It is a Git LFS pointer: run `git lfs pull`."
    elif head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u")):
        advice = "It looks like MP4, Matroska or Windows Media: convert it first, as in `ffmpeg -i in.m4a out.wav`."
    elif str(path).lower().endswith((".raw", ".pcm")):
        advice = "For headerless samples give their encoding, as in encoding='s16le@16000'."
    else:
        advice = "Supported: WAV, FLAC, Ogg Vorbis, Ogg Opus, MP3, NIST SPHERE."
    return data_error(
        path,
        "undecodable",
        f"cannot be decoded as audio ({reason.rstrip('.')}). It begins with {head[:12]!r}. {advice}",
    )


def check(path: str, file: IO[bytes]) -> bool:
    """Hold what the header of an open audio file promises against the file's size.

    Args:
        path: For messages.
        file: The file, open for reading bytes, at its beginning.

    Returns:
        False for MP3 without a Xing header: libsndfile would guess its length, and stop there.

    Raises:
        ValueError: The file is shorter than its header promises, or compressed in a way that cannot be read.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        _check_wav(path, file, size, ">" if head[:4] == b"RIFX" else "<")
    elif head[:4] == b"OggS":
        _check_ogg(path, file, size)
    elif head[:7] == b"NIST_1A":
        _check_sphere(path, file, size)
    elif head[:3] == b"ID3" or _is_mp3_frame(head):
        return _check_mp3(path, file, size)
    return True


def _check_wav(path: str, file: IO[bytes], size: int, order: str) -> None:
    bytes_per_second, long_size = 0, None
    position = 12
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return  # no data chunk where there should be one: libsndfile will say so
        name, length = header[:4], struct.unpack(f"{order}I", header[4:])[0]
        if name == b"data":
            break
        if name == b"ds64":
            long_size = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        elif name == b"fmt ":
            bytes_per_second = struct.unpack(f"{order}I", file.read(12)[8:].ljust(4, b"\0"))[0]
        position += 8 + length + length % 2
    found = size - position - 8
    if long_size is not None and length == 0xFFFFFFFF:
        length = long_size
    elif length == 0 and found > 0:
        raise data_error(
            path,
            "empty",
            f"the header promises no audio, yet {found:,} bytes follow: the recording was not closed. "
            "Repair it, as in `sox --ignore-length in.wav out.wav`.",
        )
    elif length >= _UNKNOWN_LENGTH and length > found:
        return  # written to a pipe: libsndfile goes by the size of the file
    if found < length:
        raise _truncated(path, length, found, bytes_per_second)


def _check_sphere(path: str, file: IO[bytes], size: int) -> None:
    file.seek(0)
    head = file.read(65536)
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
    try:
        width = int(fields.get("sample_n_bytes", 2)) * int(fields.get("channel_count", 1))
        promised, rate = int(fields["sample_count"]) * width, int(fields["sample_rate"])
    except (KeyError, ValueError):
        return  # libsndfile says what is amiss
    if size - header_size < promised:
        raise _truncated(path, promised, max(0, size - header_size), rate * width)


def _check_ogg(path: str, file: IO[bytes], size: int) -> None:
    start = max(0, size - 2 * _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS\0")
    if page < 0:
        raise data_error(path, "truncated", "this Ogg file breaks off. Copy or download it again.")
    table = tail[page + 27 : page + 27 + tail[page + 26]] if len(tail) > page + 26 else b""
    whole = len(tail) > page + 26 and len(table) == tail[page + 26]
    end = page + 27 + len(table) + sum(table)
    if not whole or end > len(tail) or tail[end:].startswith((b"O", b"Og")):
        raise data_error(
            path, "truncated", f"this Ogg file breaks off within a page at {size:,} bytes. Copy or download it again."
        )


def _check_mp3(path: str, file: IO[bytes], size: int) -> bool:
    file.seek(0)
    start = _mp3_start(file.read(10))
    file.seek(start)
    frame = file.read(256)
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0 or len(frame) < mark + 16 or not frame[mark + 7] & 1:
        return False
    if frame[mark + 7] & 2:  # the number of bytes follows the number of frames
        promised, found = int.from_bytes(frame[mark + 12 : mark + 16], "big"), max(0, size - start)
        if found + max(_MP3_SLACK, promised // 100) < promised:
            raise _truncated(path, promised, found, 0)
    return True


def _mp3_start(head: bytes) -> int:
    """Where the frames begin, after an ID3 tag."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])


def _is_mp3_frame(header: bytes) -> bool:
    return len(header) >= 4 and header[0] == 0xFF and header[1] & 0xE6 == 0xE2


def _mp3_frame_size(header: bytes) -> int:
    """Bytes in an MPEG layer III frame (ISO 11172-3, 13818-3); 0 if that is no such frame."""
    if not _is_mp3_frame(header) or header[1] & 0x18 == 0x08:
        return 0
    version = 3 - (header[1] >> 3 & 3)  # 0 is MPEG 1, 1 is MPEG 2, 3 is MPEG 2.5
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if bitrate in (0, 15) or rate == 3:
        return 0
    kilobits = (_MP3_BITRATES if version == 0 else _MP3_LOW_BITRATES)[bitrate - 1]
    hertz = (44100, 48000, 32000)[rate] >> (0, 1, 1, 2)[version]
    return (144000 if version == 0 else 72000) * kilobits // hertz + (header[2] >> 1 & 1)


def _with_xing_header(data: bytes) -> bytes:
    """An MP3 file with a Xing header before its first frame, that says how many frames there are."""
    start = _mp3_start(data[:10])
    first = position = start
    count = 0
    while size := _mp3_frame_size(data[position : position + 4]):
        count += position + size <= len(data)
        position += size
    if not count:
        return data  # it begins with something else; libmpg123 may find its way
    header = bytearray(data[first : first + 4])
    mpeg1, mono = header[1] & 0x18 == 0x18, header[3] >> 6 == 3
    header[1] |= 1  # no checksum
    header[2] = (0x90 if mpeg1 else 0x80) | header[2] & 0x0C  # long enough for what it has to hold
    side = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    frame = bytes(header) + bytes(side) + b"Xing\0\0\0\1" + count.to_bytes(4, "big")
    return data[:first] + frame.ljust(_mp3_frame_size(bytes(header)), b"\0") + data[first:]


def _truncated(path: str, promised: int, found: int, bytes_per_second: int) -> ValueError:
    def amount(count: int) -> str:
        return f"{count:,} bytes" + (f" ({count / bytes_per_second:.2f} s)" if bytes_per_second else "")

    return data_error(
        path,
        "truncated",
        f"the header promises {amount(promised)} of audio, the file has {amount(found)}. Copy or download it again.",
    )
