"""Audio from a pipe: read forwards as it comes where its format allows that, and by way of a temporary file if not."""

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
"""Bytes in which a header must lie. No more are read than are asked for: a live pipe brings them slowly."""
_LENGTH = 1 << 60
"""Bytes that libsndfile is told there are: it asks, and a pipe cannot tell."""
_LONGEST = 1 << 26
"""More samples may be what a program writes that does not know how many: two gigabytes, in up to 32 bytes each."""


_BLOCKS = ("IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "G723_24", "G723_40")
"""Codings that libsndfile goes on decoding when there are no bytes any more."""


class Forwards(ByteSource):
    """A stream that cannot go back, except within its first bytes, as libsndfile sees a file.

    libsndfile seeks only while it opens a WAV or FLAC file. What it looks for beyond the first bytes then is not there.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._head: bytes | None = stream.read(4)
        self._rest = self._last = b""
        self.joined = False
        """Whether the beginning of a FLAC stream went by, behind the first one."""

    @property
    def head(self) -> bytes:
        """The first bytes, while they are kept."""
        return self._head or b""

    def opened(self) -> None:
        """The header has been read: from now on bytes are passed on in order."""
        self.joined = headers.begins_flac(self.head[4:])
        self._rest, self._head = self.head[self._position :], None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; only before `opened` does that change what is read."""
        self._position = offset + (0, self._position, _LENGTH)[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there is something."""
        if self._head is not None:
            lacking = self._position + len(buffer) - len(self._head)
            if 0 < lacking <= _HEAD:
                self._head += self._stream.read(lacking) or b""
            found = self._head[self._position : self._position + len(buffer)]
        else:
            found, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
            if len(found) < len(buffer):
                found += self._stream.read(len(buffer) - len(found)) or b""
        buffer[: len(found)] = found
        if self._head is None:
            self.joined = self.joined or headers.begins_flac(self._last + found)
            self._last = found[-8:]
        self._position += len(found)
        return len(found)

    def rest(self) -> bytes:
        """What follows what was read, some of it."""
        return self._rest + (self._stream.read(_HEAD) or b"")


@contextlib.contextmanager
def opened(
    stream: IO[bytes], encoding: str | None = None, *, name: str = "-"
) -> Iterator[tuple[AudioStream | Joined, bool]]:
    """Open a pipe as audio.

    WAV, FLAC and headerless samples are decoded as they arrive, in memory for a block; other formats go through a
    temporary file, and begin when the pipe has ended.

    Args:
        stream: Open for reading bytes.
        encoding: What headerless samples are; see `audio.probe`.
        name: For messages.

    Yields:
        The open audio, and whether its number of frames can be relied on.

    Raises:
        ValueError: There is nothing, or no audio.
    """
    source = Forwards(stream)
    if not source.head:
        told = "See whether the program before it failed, or the stream was read to its end before."
        raise data_error(name, "empty", f"the pipe is empty (0 bytes). {told}")
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
    if audio.frames >= _LONGEST and audio.subtype in _BLOCKS:
        message = f"is {audio.subtype} of unknown length, which cannot be read from a pipe. Save it to a file first."
        raise data_error(name, "undecodable", message)
    if not encoding and audio.frames < _LONGEST:
        audio.most = blocks.samples(name, headers.container(source.head[:64]), source.head, 0, _LENGTH)
        blocks.check(name, audio.frames, audio.most)
    source.opened()
    with audio:
        yield audio, not encoding and audio.frames < _LONGEST
        if not encoding and audio.done >= audio.frames and (source.joined or headers.begins_wav(source.rest())):
            raise _joined(name)


def _joined(name: str) -> ValueError:
    return data_error(name, "joined", "another recording follows in the pipe. Save it to a file, and read that.")
