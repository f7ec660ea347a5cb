"""Opens audio files with libsndfile, and checks that they are complete."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

import soundfile

from speechrnn.audio import blocks, headers, mpeg
from speechrnn.audio.sections import ENDLESS, AudioStream, Joined, Section
from speechrnn.faults import data_error, file_faults, packed_format

_ENCODING = re.compile(
    r"(?P<coding>[us]8|ulaw|alaw|(?:s16|s24|s32|f32|f64)(?P<order>le|be))@(?P<rate>[1-9]\d{0,6})(?:x(?P<channels>[1-9]\d?))?"
)
_CODINGS = {
    "s8": ("PCM_S8", 1), "u8": ("PCM_U8", 1), "s16": ("PCM_16", 2), "s24": ("PCM_24", 3), "s32": ("PCM_32", 4),
    "f32": ("FLOAT", 4), "f64": ("DOUBLE", 8), "ulaw": ("ULAW", 1), "alaw": ("ALAW", 1),
}  # fmt: skip
_FORMATS = {"WAV", "WAVEX", "RF64", "AIFF", "AU", "W64", "CAF", "NIST", "OGG", "FLAC", "MP3", "RAW"}
"""libsndfile's names of the formats whose length is checked. It reads others, but does not notice truncated files."""
_SUPPORTED = "WAV, RF64, Wave64, AIFF, AU, CAF, FLAC, Ogg Vorbis, Ogg Opus, MP3, NIST SPHERE"
_MAX_PARTS = 1000
_MP3_SLACK = 4096


def open_audio(path: str | os.PathLike[str], encoding: str | None = None) -> tuple[AudioStream | Joined, bool]:
    """Open an audio file.

    Args:
        path: The file.
        encoding: Coding, rate and channels of headerless samples; see `audio.probe`.

    Returns:
        The open file, and whether its number of frames is reliable. Concatenated recordings in one file are read as
        one.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: It is empty, truncated, or not readable as audio.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{os.fspath(path)}: there is no such file. Check the path.") from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{os.fspath(path)}: is a folder. Give the path of an audio file.")
    if not stat.S_ISREG(mode):
        raise data_error(os.fspath(path), "not a file", "is not a regular file. Save the audio to a file first.")
    with file_faults(path), _bytes(path) as data:
        if encoding:
            file: AudioStream | Joined = AudioStream(os.fsencode(path), **raw_options(encoding, path, len(data)))
        else:
            sources = _sources(path, data)
            file = _opened(path, sources, data[:64], [_block_samples(path, source, data) for source in sources])
    return file, file.frames < ENDLESS


@contextlib.contextmanager
def _bytes(path: str | os.PathLike[str]) -> Iterator[mmap.mmap]:
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise data_error(path, "empty", "is empty (0 bytes). Copy or download it again.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _block_samples(path: str | os.PathLike[str], source: Any, data: mmap.mmap) -> int | None:
    """Samples of a block-coded part of a file, where libsndfile might return padding too."""
    start, stop = (source.start, source.stop) if isinstance(source, Section) else (0, len(data))
    return blocks.samples(os.fspath(path), headers.container(data[start : start + 64]), data, start, stop)


def _opened(
    path: str | os.PathLike[str], sources: list[Any], head: bytes, max_frames: list[int | None]
) -> AudioStream | Joined:
    """Open the parts of a file with libsndfile."""
    parts: list[AudioStream] = []
    try:
        for source, frames in zip(sources, max_frames, strict=True):
            parts.append(AudioStream(source, max_frames=frames))
            blocks.check(path, parts[-1].frames, frames)
        if parts[0].format not in _FORMATS:
            raise undecodable(path, head, f"It is {parts[0].format}, which says too little of its length")
        return parts[0] if len(parts) == 1 else Joined(path, parts)
    except BaseException as error:
        for part in parts:
            part.close()
        if isinstance(error, soundfile.LibsndfileError):
            raise undecodable(path, head, error.error_string) from error
        raise


def _sources(path: str | os.PathLike[str], data: mmap.mmap) -> list[Any]:
    """What libsndfile should read: the file itself if that is correct, else its parts."""
    start, size, name = 0, len(data), os.fspath(path)
    while tag := mpeg.tag_size(data, start):
        start += tag
    kind = headers.container(data[start : start + 64])
    if not kind:
        return _mp3_sources(path, data, start)
    parts = []
    while True:
        stop = headers.end(name, kind, data, start)
        parts.append((start, stop))
        if len(parts) > _MAX_PARTS:
            raise data_error(path, "joined", f"holds more than {_MAX_PARTS} recordings. Give each a file of its own.")
        following = headers.container(data[stop : stop + 64])
        if following and following != kind:
            message = f"holds concatenated recordings, {kind} and, from byte {stop:,} on, {following}."
            raise data_error(path, "joined", f"{message} Give each of them a file of its own.")
        if not following:
            break
        start = stop
    if any(data[first : first + 4] == b"BW64" for first, _ in parts):  # equals RF64, but libsndfile does not know it
        return [Section(path, first + 4, stop, b"RF64") for first, stop in parts]
    exactly = kind == "W64"  # libsndfile reads to the file's end, and takes tags for samples
    if parts == [(0, size)] or (len(parts) == 1 and parts[0][0] == 0 and not exactly):
        return [os.fsencode(path)]  # a name need not be UTF-8
    last = (parts[-1][0], size) if len(parts) == 1 and not exactly else parts[-1]
    return [Section(path, *part) for part in [*parts[:-1], last]]


def _mp3_sources(path: str | os.PathLike[str], data: mmap.mmap, start: int) -> list[Any]:
    head = data[:64]
    if str(path).lower().endswith(".raw"):
        raise undecodable(path, head, "It has no header.")
    recordings = mpeg.recordings(data)
    if not recordings:
        if head.startswith(b"ID3") or str(path).lower().endswith((".mp3", ".mp2", ".mpga")):
            raise undecodable(path, head, "There is no MPEG frame in it.")
        return [os.fsencode(path)]  # another format of libsndfile, or no audio
    if len(recordings) > _MAX_PARTS:
        raise data_error(path, "joined", f"holds more than {_MAX_PARTS} recordings. Give each a file of its own.")
    sources: list[Any] = []
    before_all = data[start : recordings[0].start]
    counts = any(mark in before_all for mark in (b"Xing", b"Info"))  # a header whose frame is no longer complete
    for recording in recordings:
        frames = recording.frames - (recording.declared is not None)
        size = max(1, recording.stop - recording.start)
        if recording.lost > (0 if counts else max(_MP3_SLACK, size // 100)):
            raise data_error(
                path,
                "damaged",
                f"{recording.lost:,} bytes before or between its {frames:,} MPEG frames are no audio. Copy or download "
                "it again; what is there can be saved with `ffmpeg -i in.mp3 out.wav`.",
            )
        share = size // max(1, recording.frames)
        if recording.declared is not None and frames + 1 < recording.declared:
            raise headers.truncated(os.fspath(path), recording.declared * share, frames * share, 0)
        if recording.broken:
            raise headers.truncated(os.fspath(path), size + share, len(data) - recording.start, 0)
        counted = recording.declared is not None and frames <= recording.declared + 1
        if counted and len(recordings) == 1 and not recording.lost and recording.start == start:
            return [os.fsencode(path)]
        first, before = recording.start, b""
        if not counted:
            before = mpeg.counted_header(recording.header, frames)
            first += mpeg.frame_size(recording.header) if recording.declared is not None else 0
        sources.append(Section(path, first, recording.stop, before))
    return sources


def raw_options(encoding: str, path: str | os.PathLike[str], size: int = 0) -> dict[str, Any]:
    """Options for `soundfile.SoundFile` to read headerless samples.

    Args:
        encoding: See `audio.probe`.
        path: For messages.
        size: Bytes in the file, which must be a whole number of samples.

    Raises:
        ValueError: The encoding is unknown, or does not fit the size.
    """
    match = _ENCODING.fullmatch(encoding)
    if match is None:
        message = "an encoding is written like 's16be@16000', 'ulaw@8000' or 's16le@44100x2'."
        raise data_error(path, "undecodable", f"{message} Received: {encoding!r}.")
    order = match["order"]
    subtype, width = _CODINGS[match["coding"].removesuffix(order or "")]
    channels = int(match["channels"] or 1)
    if size % (width * channels):
        raise data_error(
            path,
            "truncated",
            f"{size:,} bytes are not a whole number of {encoding} samples. Check the encoding, or copy it again.",
        )
    return {
        "samplerate": int(match["rate"]), "channels": channels, "subtype": subtype, "format": "RAW",
        "endian": {"le": "LITTLE", "be": "BIG", None: "FILE"}[order],
    }  # fmt: skip


def undecodable(path: str | os.PathLike[str], head: bytes, reason: str) -> ValueError:
    """The fault of a file that is not audio, or has an unsupported format."""
    name = os.fspath(path)
    if head.startswith(b"version https://git-lfs"):
        advice = "It is a Git LFS pointer: run `git lfs pull`."
    elif packed := packed_format(head):
        advice = f"It is {packed}."
    elif head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        advice = "It is a web page, which a server sent instead of the recording: download it again."
    elif name.lower().endswith((".raw", ".pcm")):
        advice = "For headerless samples give their encoding, as in encoding='s16le@16000'."
    else:
        ending = os.path.splitext(name)[1] or ".m4a"
        advice = f"Supported formats: {_SUPPORTED}. Convert other formats first, as in `ffmpeg -i in{ending} out.wav`."
        if ending.lower() == ".wav":
            advice = advice.replace("out.wav", "out.flac")
    return data_error(
        path,
        "undecodable",
        f"cannot be decoded as audio ({reason.rstrip('.')}). It begins with {head[:12]!r}. {advice}",
    )
