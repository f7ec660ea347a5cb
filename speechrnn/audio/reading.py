"""Audio: probe, read, resample and write recordings of any common format, rate and number of channels.

A signal is float32 `(samples,)` in [-1, 1] at one known rate. Reading is strict: a file that is missing, empty,
truncated, not audio, or not finite raises an error that starts with its path. Silence is audio.
"""

import contextlib
import dataclasses
import io
import numbers
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import soundfile
import soxr

from speechrnn.audio import containers, pipes
from speechrnn.audio.sections import AudioStream, Joined
from speechrnn.faults import check_choice, data_error
from speechrnn.files import replacing

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".raw")
"""File name extensions by which recordings are found in a folder."""

_BLOCK = 1 << 18
_MP3_ROUNDING = 2304  # two frames: encoders disagree on whether padding counts
_MAX_RESAMPLING = 1000
"""Largest ratio of two rates; a larger one means that a header is damaged."""
_CANCELLED = 1e-4
"""Power of the mean of the channels, relative to their mean power, below which they cancel each other."""
_UNSCALED = 10.0
"""Peak of samples in memory above which they must be unscaled integers."""
_ROUNDING = 0.01  # seconds by which a segment may overshoot the file: manifests round their times
_WRITERS = {
    ".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"), ".sph": ("NIST", "PCM_16"),
}  # fmt: skip


_MAX_SAMPLE = 1e10
"""Largest magnitude of a sample: above unscaled 32-bit integers, below numbers whose powers overflow."""


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """Properties of a recording, from its header."""

    path: str
    sample_rate: int
    num_samples: int
    """Samples per channel, at `sample_rate`."""
    channels: int
    format: str
    """Container and coding, for example `FLAC PCM_16`."""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate


def probe(path: str | os.PathLike[str], *, encoding: str | None = None) -> AudioInfo:
    """Get the rate, length and channels of a recording.

    Nothing is decoded, except where the headers do not tell the length, as in FLAC that was written to a pipe.

    Args:
        path: A WAV, RF64, Wave64, AIFF, AU, CAF, FLAC, Ogg Vorbis, Ogg Opus, MP3 or NIST SPHERE file, or headerless
            samples. Recordings concatenated in one file are one recording.
        encoding: Coding, rate and channels of headerless samples, as `{coding}@{rate}` with coding one of s8, u8,
            s16le, s16be, s24le, s24be, s32le, s32be, f32le, f32be, f64le, f64be, ulaw, alaw; more channels as in
            `s16le@44100x2`.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: It is empty, truncated, has no samples, or is not readable as audio.
    """
    with _opened(path, encoding) as (file, exact):
        frames = file.frames
        if not exact:
            frames = sum(len(block) for block in _blocks(file, str(path)))
        if frames <= 0:
            raise data_error(path, "empty", "has no samples. Leave it out, or record it again.")
        return AudioInfo(str(path), file.samplerate, frames, file.channels, f"{file.format} {file.subtype}")


def read(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    encoding: str | None = None,
) -> tuple[np.ndarray, int]:
    """Read a recording, or a segment of it, as one mono signal.

    Args:
        path: See `probe`.
        sample_rate: Resample to this rate; the file's own if `None`.
        offset: Start of the segment in seconds.
        duration: Length of the segment in seconds; to the end if `None`.
        channel: Read this channel, counted from 0; the mean of all if `None`, an error where channels cancel each
            other.
        encoding: Coding of headerless samples; see `probe`.

    Returns:
        float32 `(samples,)` and its rate. Integer formats lie in [-1, 1]; floating point is not scaled.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: It is empty, truncated, undecodable, shorter than the segment, or has samples that are not finite,
            or channels that cancel each other.

    Example:
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "a.wav")
    >>> write(path, np.zeros((8000, 2)), 8000)
    >>> signal, rate = read(path, sample_rate=16000, offset=0.25)
    >>> signal.shape, signal.dtype, rate
    ((12000,), dtype('float32'), 16000)
    """
    with _opened(path, encoding) as (file, exact):
        rate = sample_rate or file.samplerate
        parts = list(_segment(file, str(path), exact, sample_rate, offset, duration, channel, _BLOCK))
    signal = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(signal):
        raise data_error(path, "empty", f"has no samples at {rate} Hz. Leave it out, or record it again.")
    return signal, rate


def read_blocks(
    path: str | os.PathLike[str] | IO[bytes],
    *,
    block: float = 30.0,
    sample_rate: int | None = None,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    encoding: str | None = None,
    opened: Callable[[int, float], object] | None = None,
) -> Iterator[np.ndarray]:
    """Read a recording of any length in blocks, in bounded memory.

    Joined, the blocks equal what `read` returns, also when resampled: the filter's state is kept between blocks.

    Args:
        path: See `probe`; or a pipe, by name or open for reading bytes, which is read as its data arrive.
        block: Seconds in a block; every block but the last has `round(block * rate)` samples.
        sample_rate: See `read`.
        offset: See `read`.
        duration: See `read`.
        channel: See `read`.
        encoding: See `probe`.
        opened: Called once, before the first block, with the recording's own rate and its length in seconds, 0 if
            unknown.

    Yields:
        float32 `(samples,)`.

    Raises:
        ValueError: As `read`; an error within the file is raised after the last good block.
    """
    with _opened(path, encoding) as (file, exact):
        if opened:
            opened(file.samplerate, max(file.frames, 0) / file.samplerate if exact else 0.0)
        size = round(block * (sample_rate or file.samplerate))
        if size < 1:
            raise ValueError(f"`block` must hold at least one sample. Received: block={block}.")
        pending: list[np.ndarray] = []
        for part in _segment(file, _name(path), exact, sample_rate, offset, duration, channel, min(_BLOCK, size)):
            pending.append(part)
            if sum(map(len, pending)) >= size:
                joined = np.concatenate(pending)
                complete = len(joined) - len(joined) % size
                yield from np.split(joined[:complete], complete // size)
                pending = [joined[complete:]]
        rest = np.concatenate(pending) if pending else np.zeros(0, np.float32)
        if len(rest):
            yield rest


def resample(signal: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample a signal (soxr, high quality).

    Args:
        signal: Floating point `(samples,)` or `(samples, channels)`.
        from_rate: Its rate in Hz.
        to_rate: The new rate in Hz.

    Returns:
        float32, `floor(samples * to_rate / from_rate + 0.5)` samples.

    Raises:
        ValueError: A rate is not positive, or the signal has another shape.
    """
    signal = np.asarray(signal, np.float32)
    if from_rate <= 0 or to_rate <= 0:
        raise ValueError(f"Rates must be positive. Received: from_rate={from_rate}, to_rate={to_rate}.")
    _check_shape(signal)
    if from_rate == to_rate or not len(signal):
        return signal
    return soxr.resample(signal, from_rate, to_rate)


def write(
    path: str | os.PathLike[str],
    signal: np.ndarray,
    sample_rate: int,
    *,
    overwrite: bool = False,
    subtype: str | None = None,
) -> None:
    """Write a signal in the format that the extension of `path` names.

    The file is written atomically.

    Args:
        path: Ends in .wav, .flac, .ogg (Vorbis), .opus, .mp3 or .sph.
        signal: Floating point `(samples,)` or `(samples, channels)`, in [-1, 1] unless `subtype` is floating point.
        sample_rate: Samples per second.
        overwrite: Replace an existing file.
        subtype: libsndfile's name of the coding, for example `PCM_24` or `FLOAT`; 16-bit integers by default.

    Raises:
        FileExistsError: The file exists and `overwrite` is false.
        OSError: The folder cannot be written or the disk is full; no partial file stays behind.
        ValueError: The extension is unknown, the format cannot hold the signal, or samples are too large or not finite.
    """
    check_choice("the ending", ending := Path(path).suffix.lower(), _WRITERS, where=path)
    container, default = _WRITERS[ending]
    signal = np.asarray(signal, np.float32)
    if not signal.size:
        raise data_error(path, "empty", "cannot write a signal without samples.")
    if not np.isfinite(signal).all():
        raise data_error(path, "not finite", "cannot write samples that are NaN or infinite.")
    coding = subtype or default or ""
    if coding not in ("FLOAT", "DOUBLE") and np.abs(signal).max() > 1.0:
        raise ValueError(
            f"{path}: samples must lie in [-1, 1]. Received a peak of {np.abs(signal).max():.6f}. Scale the signal, or "
            "write floating point with subtype='FLOAT'."
        )
    encoded = _encoded(path, signal, sample_rate, container, coding)
    with replacing(path, overwrite=overwrite) as out:
        out.write(encoded.getbuffer())


def in_memory(signal: np.ndarray, sample_rate: int) -> BinaryIO:
    """Convert samples to a file in memory, 32-bit floating point WAV, to read where a file is expected.

    Args:
        signal: `(samples,)` or `(samples, channels)`: floating point, full scale at 1, or int16.
        sample_rate: Samples per second.

    Raises:
        ValueError: The shape or dtype is another, channels come before samples, floating point has the scale of
            integers, or the rate is not a positive integer.
    """
    signal = np.asarray(signal)
    if signal.dtype == np.int16:
        signal = signal / np.float32(1 << 15)
    if not np.issubdtype(signal.dtype, np.floating):
        raise ValueError(
            "Samples must be floating point, full scale at 1, or int16, of shape (samples,) or (samples, channels). "
            f"Received: {signal.dtype}, {signal.shape}."
        )
    _check_shape(signal)
    check_scale(signal)
    if not isinstance(sample_rate, numbers.Integral) or sample_rate < 1:
        raise ValueError(f"The sample rate must be a positive integer, in Hz. Received: {sample_rate!r}.")
    stream = _encoded("samples in memory", signal.astype(np.float32), int(sample_rate), "WAV", "FLOAT")
    stream.seek(0)
    return stream


def _check_shape(signal: np.ndarray) -> None:
    """Refuse a shape other than `(samples,)` or `(samples, channels)`, such as librosa's `(channels, samples)`."""
    if signal.ndim not in (1, 2):
        raise ValueError(f"A signal has shape (samples,) or (samples, channels). Received: {signal.shape}.")
    if signal.ndim == 2 and signal.shape[1] > signal.shape[0] > 0:
        raise ValueError(f"Samples must come before channels. Received: shape {signal.shape}; transpose it.")


def check_scale(samples: np.ndarray) -> None:
    """Refuse floating point samples that still have the scale of integers.

    Raises:
        ValueError: They are more than 20 dB above full scale.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if _UNSCALED < peak < np.inf:
        raise ValueError(
            f"Samples must have their full scale at 1. Received: a peak of {peak:,.0f}. Divide samples that were "
            "16-bit integers by 32768."
        )


def _encoded(
    path: str | os.PathLike[str], signal: np.ndarray, sample_rate: int, container: str, subtype: str
) -> io.BytesIO:
    encoded = io.BytesIO()  # and not straight to disk: libsndfile would not say that the disk is full
    try:
        _check_shape(signal)
        channels = 1 if signal.ndim == 1 else signal.shape[1]
        with soundfile.SoundFile(encoded, "w", sample_rate, channels, subtype, format=container) as file:
            for start in range(0, len(signal), 1 << 16):  # one long write overflows the Vorbis encoder's stack
                file.write(signal[start : start + (1 << 16)])
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: {container} {subtype} cannot hold a signal of shape {signal.shape} at {sample_rate} Hz. {error}"
        ) from error
    return encoded


@contextlib.contextmanager
def _opened(
    path: str | os.PathLike[str] | IO[bytes], encoding: str | None
) -> Iterator[tuple[AudioStream | Joined, bool]]:
    """Open a file in libsndfile; also yields whether its number of frames is reliable."""
    if not isinstance(path, str | os.PathLike):
        with pipes.opened(path, encoding) as opened:
            yield opened
    elif is_pipe(path):
        with open(path, "rb") as stream, pipes.opened(stream, encoding, name=os.fspath(path)) as opened:
            yield opened
    else:
        file, exact = containers.open_audio(path, encoding)
        with file:
            yield file, exact


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a pipe, such as /dev/stdin or a shell's `<(...)`, which can be read only once."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _name(path: str | os.PathLike[str] | IO[bytes]) -> str:
    """Name for messages; a pipe is "-", as on the command line."""
    return str(path) if isinstance(path, str | os.PathLike) else "-"


def _segment(
    file: AudioStream | Joined,
    path: str,
    exact: bool,
    sample_rate: int | None,
    offset: float,
    duration: float | None,
    channel: int | None,
    block: int,
) -> Iterator[np.ndarray]:
    """Yield the segment as mono blocks, resampled."""
    rate = file.samplerate
    if sample_rate is not None and sample_rate <= 0:
        raise ValueError(f"`sample_rate` must be positive. Received: {sample_rate}.")
    empty = exact and not file.frames  # the caller reports it
    start, count = (0, 0) if empty else bounds(path, file.frames if exact else None, rate, offset, duration)
    if channel is not None and not 0 <= channel < file.channels:
        raise data_error(path, "lacking the channel", f"has {file.channels} channels. Received: channel={channel}.")
    slack = 0 if exact and file.format != "MP3" else max(_MP3_ROUNDING * file.parts, round(_ROUNDING * rate))
    blocks = _mono(_blocks(file, path, start, count, max(1, block // file.channels), slack), path, channel)
    if sample_rate is not None and not 1 / _MAX_RESAMPLING < sample_rate / rate < _MAX_RESAMPLING:
        raise data_error(path, "undecodable", f"its header says {rate:,} Hz, which is no rate of audio. Repair it.")
    if sample_rate is None or sample_rate == rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
    for part in blocks:
        yield stream.resample_chunk(part)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def bounds(path: str, size: int | None, rate: float, offset: float, duration: float | None) -> tuple[int, int | None]:
    """First sample of a segment, and its number of samples.

    Args:
        path: For messages.
        size: Samples in the recording; if unknown, so is the number for a segment without a `duration`.
        rate: Samples per second.
        offset: Start of the segment in seconds.
        duration: Length of the segment in seconds; to the end if `None`.

    Raises:
        ValueError: Offset or duration is out of range, or there are fewer samples.
    """
    if not (np.isfinite(offset) and offset >= 0):
        raise ValueError(f"{path}: `offset` must be zero or more. Received: {offset}.")
    if duration is not None and not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"{path}: `duration` must be positive. Received: {duration}.")
    start, count = round(offset * rate), None if duration is None else max(1, round(duration * rate))
    if size is None:
        return start, count
    left = size - start
    if left <= 0 or (count is not None and count > left + max(1, _ROUNDING * rate)):
        segment = f"{offset:.3f} s to " + ("its end" if duration is None else f"{offset + duration:.3f} s")
        raise data_error(
            path, "shorter than their segment", f"lasts {size / rate:.3f} s. Received a segment from {segment}."
        )
    return start, left if count is None else min(count, left)


def _blocks(
    file: AudioStream | Joined,
    path: str,
    start: int = 0,
    count: int | None = None,
    block: int = _BLOCK,
    slack: int = 0,
) -> Iterator[np.ndarray]:
    """Yield float32 `(frames, channels)`: `count` frames in all, or up to `slack` fewer; to the end if `None`."""
    done = 0
    try:
        if start and file.seeks_exactly:
            file.seek(start)
        while not file.seeks_exactly and start > done:  # decoded and discarded
            skipped = len(file.read(min(max(1, _BLOCK // file.channels), start - done), dtype="float32"))
            if not skipped:
                break
            done += skipped
        done = 0
        while count is None or done < count:
            part = file.read(block if count is None else min(block, count - done), dtype="float32", always_2d=True)
            if not len(part):
                break
            done += len(part)
            yield part
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = getattr(error, "error_string", str(error))
        raise data_error(
            path,
            "undecodable",
            f"damaged or cut off: {start + done:,} of {file.frames:,} samples could be decoded "
            f"({reason.rstrip('.')}). Copy or download it again.",
        ) from error
    if count is not None and done < count - slack:
        wanted, decoded = (f"{n:,} samples ({n / file.samplerate:.2f} s)" for n in (start + count, start + done))
        raise data_error(
            path, "truncated", f"should have at least {wanted}, {decoded} could be decoded. Copy or download it again."
        )


def _mono(blocks: Iterator[np.ndarray], path: str, channel: int | None) -> Iterator[np.ndarray]:
    power = mixed_power = 0.0
    for part in blocks:
        if channel is None and part.shape[1] > 1:
            mono = part.mean(axis=1)
            power += float(np.vdot(part, part)) / part.shape[1]
            mixed_power += float(np.vdot(mono, mono))
        else:
            mono = part[:, channel or 0]
        if not np.isfinite(mono).all():
            raise data_error(path, "not finite", "has samples that are NaN or infinite. Export the recording again.")
        if len(mono) and (peak := np.abs(mono).max()) > _MAX_SAMPLE:
            raise data_error(path, "out of range", f"has a sample of {peak:.3g}, and full scale is 1. Scale it.")
        yield np.ascontiguousarray(mono)
    if mixed_power < _CANCELLED * power:
        raise data_error(
            path,
            "cancelling channels",
            "has channels of opposite phase, whose mean is silence. Choose one of them: channel=0 (--channel 0).",
        )
