"""Parts of a file that libsndfile reads as if each were a file, and several of them as one recording."""

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
"""libsndfile gives FLAC of unknown length the largest 64-bit number of frames."""


Bytes = bytes | mmap.mmap
"""What a file holds, in memory or mapped."""
_MAPPED = 1 << 25


def release(data: Bytes, position: int, released: int = 0) -> int:
    """Give back the memory that a mapped file took, once it was read so far beyond where that was done last.

    Args:
        data: The file.
        position: How far it was read.
        released: How far it had been read when that was done last.

    Returns:
        The same of this time.
    """
    if position - released < _MAPPED or not isinstance(data, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return released
    data.madvise(mmap.MADV_DONTNEED)
    return position


class ByteSource(io.RawIOBase):
    """Bytes that libsndfile reads as a file; a subclass has `seek` and `readinto`."""

    _position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position


class Section(ByteSource):
    """The bytes from `start` to `stop` of a file, behind some others.

    Args:
        path: The file.
        start: First byte of it.
        stop: The byte behind the last one.
        before: Bytes that stand in front of them.
    """

    def __init__(self, path: str | os.PathLike[str], start: int, stop: int, before: bytes = b"") -> None:
        super().__init__()
        self._path, self.start, self.stop, self._before = path, start, stop, before
        self._size = len(before) + stop - start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place within the section."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there is something."""
        wanted = max(0, min(len(buffer), self._size - self._position))
        found = self._before[self._position : self._position + wanted]
        if len(found) < wanted:
            with open(self._path, "rb", buffering=0) as file:  # and not kept open: a file may have a thousand sections
                file.seek(self.start + self._position + len(found) - len(self._before))
                found += file.read(wanted - len(found))
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)


class AudioStream(soundfile.SoundFile):
    """A file read forwards, with at most one seek before the first read.

    `soundfile` seeks to where it is after every read of a seekable file, and libsndfile 1.2's seeks in Ogg are not
    exact: Opus loses the last samples that way, and Vorbis lands up to a block off
    (https://github.com/libsndfile/libsndfile/issues/885). A single seek is exact in every other format.

    Args:
        source: What `soundfile.SoundFile` takes.
        most: Frames that the file has, where libsndfile would give more.
        **options: Of `soundfile.SoundFile`.
    """

    parts = 1

    def __init__(self, source: Any, *, most: int | None = None, **options: Any) -> None:
        self._source = source
        self.done = 0
        """Frames that were read."""
        self.most, self._place = most, 0
        super().__init__(source, **options)

    @property
    def frames(self) -> int:
        """Frames of the file; at most so many as its header says where libsndfile would fill up its last block."""
        found: int = super().frames
        return found if self.most is None else min(found, self.most)

    def seekable(self) -> bool:
        """False, so that reading does not seek."""
        return False

    def seek(self, frames: int, whence: int = io.SEEK_SET) -> int:
        """As `soundfile.SoundFile.seek`."""
        self._place = super().seek(frames, whence)
        return self._place

    def read(self, frames: int = -1, **options: Any) -> np.ndarray:
        """As `soundfile.SoundFile.read`."""
        if self.most is not None:
            left = max(0, self.most - self._place)
            frames = left if frames < 0 else min(frames, left)
        found = super().read(frames, **options)
        self.done += len(found)
        self._place += len(found)
        return found

    @property
    def sought(self) -> bool:
        """Whether a seek lands where it should; if not, read and throw away."""
        return self.subtype != "VORBIS" and self.frames < ENDLESS

    def close(self) -> None:
        """Close the file, and what it was read from."""
        super().close()
        if isinstance(self._source, Section):
            self._source.close()


class Joined:
    """Recordings that stand one behind the other in a file, read as one.

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
                    f"holds recordings one behind the other, of {self.samplerate} Hz with {self.channels} channels and "
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
    def sought(self) -> bool:
        """Whether `seek` lands where it should."""
        return all(part.sought for part in self._parts)

    def seek(self, frame: int) -> None:
        """Go to a frame, before the first read."""
        while frame >= self._parts[self._current].frames and self._current < len(self._parts) - 1:
            frame -= self._parts[self._current].frames
            self._current += 1
        self._parts[self._current].seek(min(frame, self._parts[self._current].frames))

    def read(self, frames: int, **options: Any) -> np.ndarray:
        """At most so many frames, none at the end of the last recording; a recording that breaks off raises."""
        while True:
            part = self._parts[self._current]
            found = part.read(frames, **options)
            if len(found) or self._current == len(self._parts) - 1:
                return found
            self._current += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.close()
