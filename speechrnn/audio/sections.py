"""Sections of a file for libsndfile to read as files, and concatenated recordings read as one."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import soundfile

from speechrnn.faults import data_error

ENDLESS = 1 << 48
"""More frames mean an unknown length: libsndfile reports the largest 64-bit number for such FLAC."""


Bytes = bytes | mmap.mmap
"""A file's bytes, in memory or mapped."""
_MAX_MAPPED = 1 << 25


def release(data: Bytes, position: int, released: int = 0) -> int:
    """Release the memory of a mapped file after each further `_MAX_MAPPED` bytes.

    Args:
        data: The file.
        position: Bytes read so far.
        released: Bytes read at the last release.

    Returns:
        The new value of `released`.
    """
    if position - released < _MAX_MAPPED or not isinstance(data, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return released
    data.madvise(mmap.MADV_DONTNEED)
    return position


class ByteSource(io.RawIOBase):
    """Base of the files that libsndfile reads through Python; a subclass adds `seek` and `readinto`."""

    _position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._position


class Section(ByteSource):
    """The bytes from `start` to `stop` of a file, with a prefix.

    Args:
        path: The file.
        start: Its first byte.
        stop: The byte after its last one.
        before: Bytes of the prefix.
    """

    def __init__(self, path: str | os.PathLike[str], start: int, stop: int, before: bytes = b"") -> None:
        super().__init__()
        self._path, self.start, self.stop, self._before = path, start, stop, before
        self._size = len(before) + stop - start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position within the section."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer with the bytes that there are, and return their number."""
        wanted = max(0, min(len(buffer), self._size - self._position))
        data = self._before[self._position : self._position + wanted]
        if len(data) < wanted:
            with open(self._path, "rb", buffering=0) as file:  # closed again: a file may have a thousand sections
                file.seek(self.start + self._position + len(data) - len(self._before))
                data += file.read(wanted - len(data))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class AudioStream(soundfile.SoundFile):
    """A file that is read sequentially, with at most one seek before the first read.

    `soundfile` seeks to its position after every read of a seekable file, and libsndfile 1.2's seeks in Ogg are not
    exact: Opus loses the last samples that way, and Vorbis lands up to a block off
    (https://github.com/libsndfile/libsndfile/issues/885). A single seek is exact in every other format.

    Args:
        source: What `soundfile.SoundFile` takes.
        max_frames: Frames in the file, where libsndfile would return more.
        **options: Of `soundfile.SoundFile`.
    """

    parts = 1

    def __init__(self, source: Any, *, max_frames: int | None = None, **options: Any) -> None:
        self._source = source
        self.done = 0
        """Frames read so far."""
        self.max_frames, self._position = max_frames, 0
        super().__init__(source, **options)

    @property
    def frames(self) -> int:
        """Frames in the file, at most `max_frames`."""
        frames: int = super().frames
        return frames if self.max_frames is None else min(frames, self.max_frames)

    def seekable(self) -> bool:
        """False, so that reading does not seek."""
        return False

    def seek(self, frames: int, whence: int = io.SEEK_SET) -> int:
        """As `soundfile.SoundFile.seek`."""
        self._position = super().seek(frames, whence)
        return self._position

    def read(self, frames: int = -1, **options: Any) -> np.ndarray:
        """As `soundfile.SoundFile.read`."""
        if self.max_frames is not None:
            left = max(0, self.max_frames - self._position)
            frames = left if frames < 0 else min(frames, left)
        samples = super().read(frames, **options)
        self.done += len(samples)
        self._position += len(samples)
        return samples

    @property
    def seeks_exactly(self) -> bool:
        """Whether a seek is exact; if not, read and discard instead."""
        return self.subtype != "VORBIS" and self.frames < ENDLESS

    def close(self) -> None:
        """Close the file, and what it was read from."""
        super().close()
        if isinstance(self._source, Section):
            self._source.close()


class Joined:
    """Concatenated recordings in one file, read as one.

    Args:
        path: For messages.
        parts: The recordings.

    Raises:
        ValueError: They differ in rate or channels.
    """

    def __init__(self, path: str | os.PathLike[str], parts: Sequence[AudioStream]) -> None:
        first = parts[0]
        self.samplerate, self.channels = first.samplerate, first.channels
        self.format, self.subtype = first.format, first.subtype
        self._parts, self._current = list(parts), 0
        for part in parts:
            if (part.samplerate, part.channels) != (self.samplerate, self.channels):
                raise data_error(
                    path,
                    "joined",
                    f"holds concatenated recordings, of {self.samplerate} Hz with {self.channels} channels and "
                    f"of {part.samplerate} Hz with {part.channels}. Give each of them a file of its own.",
                )

    @property
    def parts(self) -> int:
        """Number of recordings."""
        return len(self._parts)

    @property
    def frames(self) -> int:
        """Frames of all recordings."""
        return sum(part.frames for part in self._parts)

    @property
    def seeks_exactly(self) -> bool:
        """Whether `seek` is exact."""
        return all(part.seeks_exactly for part in self._parts)

    def seek(self, frame: int) -> None:
        """Go to a frame, before the first read."""
        while frame >= self._parts[self._current].frames and self._current < len(self._parts) - 1:
            frame -= self._parts[self._current].frames
            self._current += 1
        self._parts[self._current].seek(min(frame, self._parts[self._current].frames))

    def read(self, frames: int, **options: Any) -> np.ndarray:
        """Read up to `frames` frames, none at the end of the last recording; a truncated recording raises."""
        while True:
            part = self._parts[self._current]
            samples = part.read(frames, **options)
            if len(samples) or self._current == len(self._parts) - 1:
                return samples
            self._current += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.close()
