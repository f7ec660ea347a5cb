"""Read and probe signals of any format: one place for segments, channels, gaps and rates."""

import datetime as dt
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from speechrnn import audio
from speechrnn.audio.reading import bounds
from speechrnn.faults import choice_message, data_error, file_faults, suggestion
from speechrnn.signals import arrays, edf, tables, ts, wfdb_files
from speechrnn.signals.gaps import fill_gaps
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import Record, called

_AT_ONCE = 1 << 22
"""Samples of a channel that are resampled at once."""

_Row = int | str | None
_READERS: dict[str, Callable[[str, _Row, TableOptions], Record]] = {
    **dict.fromkeys(("", ".hea"), wfdb_files.record),
    **dict.fromkeys((".edf", ".bdf"), edf.record),
    **dict.fromkeys((".csv", ".tsv", ".txt", ".parquet"), tables.record),
    **dict.fromkeys((".npz", ".mat"), arrays.record),
    ".ts": ts.record,
}
SUFFIXES = tuple(suffix for suffix in _READERS if suffix)
"""Endings of the files of signals that are not audio."""
_FINEST = 10_000
"""Samples that one sample becomes at another rate, at most."""
_RATES = 1e-9, 1e9
"""Samples per second: from one in thirty years to more than any board takes."""
_RANGE = " ({:g} to {:g})".format(*_RATES)


@dataclass(frozen=True)
class SignalInfo:
    """What the header of a record says."""

    path: str
    rate: float
    """Samples per second of its fastest channel."""
    samples: int
    """Samples of a channel at that rate."""
    channels: tuple[str, ...]
    """Names; `0`, `1` and so on where the file gives none."""
    units: tuple[str, ...]
    """Physical units; empty strings where the file gives none."""
    start: dt.datetime | None = None
    """When the first sample was taken, where the file says so; with a time zone if the file says that too."""

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.samples / self.rate


def probe(
    path: str | os.PathLike[str],
    *,
    row: int | str | None = None,
    rate: float | None = None,
    channels: Sequence[str | int] | int | None = None,
    table: TableOptions | Mapping[str, Any] | None = None,
) -> SignalInfo:
    """Rate, length, channels and units of a record.

    Args:
        path: See `read`.
        row: See `read`.
        rate: See `read`.
        channels: See `read`; those chosen are described.
        table: See `read`.

    Raises:
        FileNotFoundError: There is no such file, or no signal to a header.
        ValueError: It is empty, damaged, does not say its rate, or lacks a channel.
    """
    record = _record(path, row, table)
    chosen = _chosen(record, channels)
    rates = [_rate(record, index, rate) for index in chosen]
    fastest = max(rates)
    size = max(round(record.sizes[index] * fastest / own) for index, own in zip(chosen, rates, strict=True))
    names, units = (tuple(of[i] for i in chosen) for of in (record.channels, record.units))
    return SignalInfo(record.path, fastest, size, names, units, record.start)


def read(
    path: str | os.PathLike[str],
    *,
    offset: float = 0.0,
    duration: float | None = None,
    channels: Sequence[str | int] | int | None = None,
    sample_rate: float | None = None,
    row: int | str | None = None,
    rate: float | None = None,
    max_gap: float | None = 1.0,
    table: TableOptions | Mapping[str, Any] | None = None,
) -> tuple[np.ndarray, float]:
    """A record, or a segment of it.

    Args:
        path: WFDB header (.hea, or without an ending), EDF or BDF, CSV, TSV, Parquet, text, NPZ, MAT, UEA's .ts, or
            any audio file.
        offset: Start of the segment in seconds.
        duration: Length of the segment in seconds; to the end if `None`.
        channels: Names or indices of the channels to read, in order; a number `n` for the first `n`; `None` for all.
        sample_rate: Resample to this rate; the record's own if `None`.
        row: Which record of a file that holds many: a line of UCR's .tsv, a case of a .ts, an array of a .npz.
        rate: Samples per second of a file that does not say its own.
        max_gap: Longest gap (NaN) in seconds that is filled by a straight line; None leaves gaps as they are.
        table: How to read a table that can be read in several ways, as `TableOptions` or their names and values.

    Returns:
        float32 `(samples, channels)` in the file's physical units, and its rate.

    Raises:
        FileNotFoundError: There is no such file, or no signal to a header.
        ValueError: It is empty, damaged, shorter than the segment, lacks a channel, has gaps that are too long, does
            not say its rate, or its channels have several and no `sample_rate` is given; it can be read in more than
            one way, and `table` does not say which; or the library for its format is not installed.

    Example:
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "a.npz")
    >>> np.savez(path, signal=np.zeros((100, 3)), rate=50.0, channels=["x", "y", "z"])
    >>> signal, rate = read(path, offset=0.5, channels=["z", "x"])
    >>> signal.shape, rate
    ((75, 2), 50.0)
    """
    if sample_rate is not None and not _RATES[0] <= sample_rate <= _RATES[1]:
        raise ValueError(f"`sample_rate` must be positive{_RANGE}. Received: {sample_rate}.")
    record = _record(path, row, table)
    chosen = _chosen(record, channels)
    rates = [_rate(record, index, rate) for index in chosen]
    if len(set(rates)) > 1 and sample_rate is None:
        described = ", ".join(f"{record.channels[i]!r} {own:g} Hz" for i, own in zip(chosen, rates, strict=True))
        raise data_error(
            record.path,
            "of mixed rates",
            f"its channels have several rates: {described}. Give `sample_rate`, or `channels`.",
        )
    wanted = rates[0] if sample_rate is None else float(sample_rate)
    if wanted > _FINEST * min(rates):
        message = (
            f"has {min(rates):g} samples per second, {wanted:g} are wanted: over {_FINEST:,} for each that is there."
        )
        raise data_error(record.path, "of another rate", f"{message} Check the unit of its times, or its rate.")
    found: np.ndarray | None = None
    for position, (index, own) in enumerate(zip(chosen, rates, strict=True)):
        start, count = bounds(record.path, record.sizes[index], own, offset, duration)
        stop = start + (count or 0)
        with file_faults(record.path, extra="signals"):
            part = _in_blocks(record, index, start, stop, own, wanted)
            if part is None:
                part = _loaded(record, index, start, stop)
                name = record.channels[index]
                part = fill_gaps(part, own, max_gap=max_gap, where=record.path, channels=[name], offset=start / own)
                part = resample(part, own, wanted)
        if found is None:
            found = np.empty((len(part), len(chosen)), np.float32)
        size = min(len(found), len(part))  # channels of several rates may differ by a sample
        found = found[:size]
        found[:, position] = part[:size, 0]
    return np.ascontiguousarray(found), wanted


def _loaded(record: Record, index: int, start: int, stop: int) -> np.ndarray:
    """Samples of a channel, `(samples, 1)`."""
    part = np.asarray(record.load(index, start, stop))[:, None]
    if len(part) < stop - start:
        message = f"should have {stop:,} samples, {start + len(part):,} could be read."
        raise data_error(record.path, "truncated", f"{message} Copy or download it again.")
    return part


class _MissingError(Exception):
    """A sample is missing."""


def _in_blocks(record: Record, index: int, start: int, stop: int, own: float, wanted: float) -> np.ndarray | None:
    """A long channel at another rate, never whole in memory at its own; None if it is short, or has a gap."""
    if own == wanted or stop - start <= _AT_ONCE or not record.seeks:
        return None

    def loaded(first: int, last: int) -> np.ndarray:
        block = np.asarray(_loaded(record, index, first, last), np.float32)
        if not np.isfinite(block).all():
            raise _MissingError
        return block

    try:
        ends = loaded(start, start + 1)[0], loaded(stop - 1, stop)[0]
        blocks = (loaded(first, min(stop, first + _AT_ONCE)) for first in range(start, stop, _AT_ONCE))
        return _resampled(blocks, stop - start, ends, own, wanted)
    except _MissingError:
        return None


def dates(start: dt.datetime | None, seconds: np.ndarray) -> tuple[dt.datetime, ...]:
    """Moments so many seconds after a start, in its time zone; none if there is no start.

    Seconds that a rate gives are rounded to a thousandth of their step.

    Example:
    >>> [str(date) for date in dates(dt.datetime(2024, 1, 1), np.array([3599.9999999, 7200.0]))]
    ['2024-01-01 01:00:00', '2024-01-01 02:00:00']
    """
    if start is None:
        return ()
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1.0
    digits = int(np.clip(3 - np.floor(np.log10(step)), 0, 6)) if step > 0 else 6
    whole = [dt.timedelta(seconds=round(float(second), digits)) for second in seconds]
    if start.tzinfo is None:
        return tuple(start + passed for passed in whole)
    moment = start.astimezone(dt.UTC)  # hours pass, whatever clocks are put to
    return tuple((moment + passed).astimezone(start.tzinfo) for passed in whole)


def is_signal(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a signal which is not audio, judged by its ending."""
    return Path(path).suffix.lower() in SUFFIXES


def resample(signal: np.ndarray, from_rate: float, to_rate: float) -> np.ndarray:
    """A signal at another rate, band-limited to what both rates hold (soxr, high quality).

    The line from the first to the last sample is taken out before and put back after, so that an offset, such as
    gravity, does not ring at the ends.

    Args:
        signal: Floating point `(samples, channels)`.
        from_rate: Its rate in Hz.
        to_rate: The wanted rate in Hz.

    Returns:
        float32, about `samples * to_rate / from_rate` samples.
    """
    signal = np.asarray(signal, np.float32)
    if from_rate == to_rate or not len(signal):
        return signal
    blocks = (signal[first : first + _AT_ONCE] for first in range(0, len(signal), _AT_ONCE))
    return _resampled(blocks, len(signal), (signal[0], signal[-1]), from_rate, to_rate)


def _resampled(
    blocks: Iterable[np.ndarray], size: int, ends: tuple[np.ndarray, np.ndarray], from_rate: float, to_rate: float
) -> np.ndarray:
    """`resample`, of a signal that comes in blocks, with its first and its last sample."""
    first, last = ends
    slope = (last.astype(np.float64) - first) / max((size - 1) / from_rate, 1 / from_rate)
    stream = soxr.ResampleStream(from_rate, to_rate, len(first), dtype="float32")
    seen = made = 0
    parts = []
    for block in blocks:
        line = first + (np.arange(seen, seen + len(block)) / from_rate)[:, None] * slope
        seen += len(block)
        part = stream.resample_chunk((block - line).astype(np.float32), last=seen >= size)
        line = first + (np.arange(made, made + len(part)) / to_rate)[:, None] * slope
        made += len(part)
        parts.append((part + line).astype(np.float32))
    if not made:
        raise ValueError(f"{size} samples at {from_rate:g} Hz leave none at {to_rate:g} Hz.")
    return np.concatenate(parts)


def _record(
    path: str | os.PathLike[str], row: int | str | None, table: TableOptions | Mapping[str, Any] | None
) -> Record:
    options = TableOptions.of(table)
    name = os.fspath(path)
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name}: is a folder. Give the path of one record.")
    suffix = Path(name).suffix.lower()
    if suffix in audio.SUFFIXES:
        with file_faults(name):
            return _audio(name)
    reader = _READERS.get(suffix) or (_READERS[""] if os.path.isfile(f"{name}.hea") else None)
    if reader is None:
        raise ValueError(f"{name}: {choice_message('the ending', suffix, (*SUFFIXES, *audio.SUFFIXES))}")
    if reader is not wfdb_files.record and not os.path.isfile(name):
        raise FileNotFoundError(f"{name}: there is no such file.")
    if reader is not wfdb_files.record and not os.path.getsize(name):
        raise data_error(name, "empty", "is empty (0 bytes). Copy or download it again.")
    with file_faults(name, extra="signals"):
        record = reader(name, row, options)
    if not record.channels or not max(record.sizes):
        raise data_error(name, "empty", "has no samples. Leave it out, or record it again.")
    return record


def _audio(path: str) -> Record:
    info = audio.probe(path)
    rate = info.sample_rate

    def load(channel: int, start: int, stop: int) -> np.ndarray:
        signal, _ = audio.read(path, offset=start / rate, duration=(stop - start) / rate, channel=channel)
        return signal

    count = info.channels
    names = tuple(map(str, range(count)))
    return Record(path, names, ("",) * count, (float(rate),) * count, (info.num_samples,) * count, load)


def _chosen(record: Record, channels: Sequence[str | int] | int | None) -> list[int]:
    """Places of the channels that were chosen, none of which has a fault."""
    if channels is None:
        chosen = list(range(len(record.channels)))
    else:
        wanted = range(channels) if isinstance(channels, int) else [channels] if isinstance(channels, str) else channels
        chosen = [_index(record, channel) for channel in wanted]
    if not chosen:
        raise ValueError(f"{record.path}: `channels` must choose at least one. Received: {channels!r}.")
    for index in chosen if record.faults else ():
        if record.faults[index]:
            message = f"channel {record.channels[index]!r} {record.faults[index]}."
            raise data_error(record.path, "undecodable", message)
    return chosen


def _index(record: Record, channel: str | int) -> int:
    names = record.channels
    if isinstance(channel, str):
        matching = called(names, channel)
        if len(matching) > 1:
            listed = ", ".join(names[i] for i in matching)
            raise data_error(record.path, "ambiguous", f"has several channels {channel!r}: {listed}. Name one of them.")
        if matching:
            return matching[0]
    elif 0 <= channel < len(names):
        return channel
    message = f"has no channel {channel!r}.{suggestion(channel, names, 'Channels')}"
    raise data_error(record.path, "lacking the channel", message)


def _rate(record: Record, channel: int, given: float | None) -> float:
    stored = record.rates[channel]
    rate = given if stored is None else stored
    if rate is None:
        advice = "Give it as `rate` (--rate), or as extra `rate` in a manifest"
        hint = f"{record.doubt} Or give the rate as `rate` (--rate), which takes the lines in their order."
        raise data_error(record.path, "without a rate", hint if record.doubt else f"does not say its rate. {advice}.")
    if not isinstance(rate, Real) or isinstance(rate, bool) or not _RATES[0] <= rate <= _RATES[1]:
        message = f"its rate must be positive, a number of samples per second{_RANGE}. Received: {rate!r}."
        raise data_error(record.path, "without a rate", message)
    return float(rate)
