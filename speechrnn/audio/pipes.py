"""Reads audio from a pipe: as a stream where its format allows that, else through a temporary file."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

import soundfile

from speechrnn.audio import blocks, containers, headers
from speechrnn.audio.sections import AudioStream, ByteSource, Joined
from speechrnn.faults import data_error, file_faults

_HEAD = 1 << 20
"""Maximum size of a header. Only as many bytes are read as are asked for, since a live pipe may be slow."""
_ASSUMED_SIZE = 1 << 60
"""The size reported to libsndfile, since that of a pipe is unknown."""
_MAX_FRAMES = 1 << 26
"""A larger number in a header may mean that it is unknown: two gigabytes in frames of 32 bytes."""


_BLOCK_CODINGS = ("IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "G723_24", "G723_40")
"""Codings that libsndfile continues to decode after the last byte."""


class ForwardStream(ByteSource):
    """Presents a stream to libsndfile as a file that can seek only within its first bytes.

    That is enough, since libsndfile seeks only while it opens a WAV or FLAC file.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._head: bytes | None = stream.read(4)
        self._rest = self._last = b""
        self.joined = False
        """Whether the beginning of a second FLAC stream was read."""

    @property
    def head(self) -> bytes:
        """The first bytes, up to the call of `opened`."""
        return self._head or b""

    def opened(self) -> None:
        """Mark the header as read: from now on bytes are passed on in order."""
        self.joined = headers.begins_flac(self.head[4:])
        self._rest, self._head = self.head[self._position :], None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; this changes what is read only before `opened`."""
        self._position = offset + (0, self._position, _ASSUMED_SIZE)[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer with the bytes that there are, and return their number."""
        if self._head is not None:
            missing = self._position + len(buffer) - len(self._head)
            if 0 < missing <= _HEAD:
                self._head += self._stream.read(missing) or b""
            data = self._head[self._position : self._position + len(buffer)]
        else:
            data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
            if len(data) < len(buffer):
                data += self._stream.read(len(buffer) - len(data)) or b""
        buffer[: len(data)] = data
        if self._head is None:
            self.joined = self.joined or headers.begins_flac(self._last + data)
            self._last = data[-8:]
        self._position += len(data)
        return len(data)

    def rest(self) -> bytes:
        """Some of the bytes that follow those that were read."""
        return self._rest + (self._stream.read(_HEAD) or b"")


@contextlib.contextmanager
def opened(
    stream: IO[bytes], encoding: str | None = None, *, name: str = "-"
) -> Iterator[tuple[AudioStream | Joined, bool]]:
    """Open a pipe as audio.

    WAV, FLAC and headerless samples are decoded as they arrive, in memory for one block; other formats are saved to a
    temporary file first, until the pipe ends.

    Args:
        stream: The pipe, open for reading bytes.
        encoding: Coding, rate and channels of headerless samples; see `audio.probe`.
        name: For messages.

    Yields:
        The open audio, and whether its number of frames is reliable.

    Raises:
        ValueError: The pipe is empty, or not audio.
    """
    source = ForwardStream(stream)
    if not source.head:
        hint = "See whether the program before it failed, or the stream was read to its end before."
        raise data_error(name, "empty", f"the pipe is empty (0 bytes). {hint}")
    if encoding is None and source.head[:4] not in (b"RIFF", b"fLaC"):
        with tempfile.NamedTemporaryFile(suffix=".audio") as file:
            source.opened()
            shutil.copyfileobj(source, file)
            file.flush()
            try:
                spooled, exact = containers.open_audio(file.name)
            except ValueError as error:
                raise data_error(name, "undecodable", str(error).removeprefix(f"{file.name}: ")) from error
            with spooled:
                yield spooled, exact
        return
    options = containers.raw_options(encoding, name) if encoding else {}
    with file_faults(name):
        try:
            audio = AudioStream(source, **options)
        except soundfile.LibsndfileError as error:
            if b"RIFF" in source.head[4:]:
                raise _joined(name) from error
            raise containers.undecodable(name, source.head[:64], error.error_string) from error
    if audio.frames >= _MAX_FRAMES and audio.subtype in _BLOCK_CODINGS:
        message = f"is {audio.subtype} of unknown length, which cannot be read from a pipe. Save it to a file first."
        raise data_error(name, "undecodable", message)
    if not encoding and audio.frames < _MAX_FRAMES:
        audio.max_frames = blocks.samples(name, headers.container(source.head[:64]), source.head, 0, _ASSUMED_SIZE)
        blocks.check(name, audio.frames, audio.max_frames)
    source.opened()
    with audio:
        yield audio, not encoding and audio.frames < _MAX_FRAMES
        if not encoding and audio.done >= audio.frames and (source.joined or headers.begins_wav(source.rest())):
            raise _joined(name)


def _joined(name: str) -> ValueError:
    return data_error(name, "joined", "another recording follows in the pipe. Save it to a file, and read that.")
