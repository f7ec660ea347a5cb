"""Reads the signal of a manifest's example: a segment of audio or of a sensor record, and its channels."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from speechrnn import audio, signals
from speechrnn.data.manifest import Example
from speechrnn.faults import data_error
from speechrnn.signals.calendar import calendar_columns

__all__ = ["chosen_channels", "dates_of", "probe_example", "read_example", "read_series", "read_whole", "readable"]


def read_whole(source: str | os.PathLike[str] | Example, sample_rate: int) -> np.ndarray:
    """Read a recording, or an example's segment, at `sample_rate`; returns float32 `(samples,)`.

    Raises:
        OSError, ValueError: It cannot be read; see `speechrnn.audio.read`.
    """
    if isinstance(source, Example):
        segment: dict[str, Any] = {"offset": source.offset, "duration": source.duration, "channel": source.channel}
        return audio.read(source.path, sample_rate=sample_rate, encoding=source.encoding, **segment)[0]
    return audio.read(source, sample_rate=sample_rate)[0]


def read_example(
    example: Example, *, channels: int | None = None, sample_rate: float | None = None, max_gap: float = 1.0
) -> tuple[np.ndarray, float]:
    """Read the signal of an example, by the `channels`, `row`, `rate` and `table` in its `extra`.

    Args:
        example: From a manifest.
        channels: Number of channels, checked against the example's; the first ones where it chooses none.
        sample_rate: See `speechrnn.signals.read`.
        max_gap: See `speechrnn.signals.read`.

    Returns:
        As `speechrnn.signals.read`.

    Raises:
        ValueError: As `speechrnn.signals.read`, or the example chooses another number of channels.
    """
    chosen = chosen_channels(example)
    if chosen is not None and channels is not None and len(chosen) != channels:
        raise data_error(example.path, "lacking the channel", f"needs {channels} channels. Received: {chosen}.")
    return signals.read(
        example.path,
        offset=example.offset,
        duration=example.duration,
        channels=channels if chosen is None else chosen,
        sample_rate=sample_rate,
        max_gap=max_gap,
        **_read_options(example),
    )


def read_series(
    example: Example,
    *,
    channels: int | None = None,
    known: Sequence[str] = (),
    calendar: Sequence[str] = (),
    max_gap: float = 1.0,
) -> tuple[np.ndarray, float]:
    """Read a series with its covariates that are known ahead.

    Args:
        example: From a manifest.
        channels: Number of channels to forecast; see `read_example`.
        known: Columns whose values are known ahead.
        calendar: Cycles of `speechrnn.signals.calendar`; they need a record with dates.
        max_gap: See `speechrnn.signals.read`.

    Returns:
        float32 `(samples, channels + known + 2 * calendar)`, and its rate.

    Raises:
        OSError, ValueError: As `read_example`; or a calendar needs dates that the record does not have.
    """
    if known:
        targets = chosen_channels(example)
        if targets is None:
            targets = [name for name in probe_example(example).channels if name not in known][:channels]
        example = replace(example, channel=None, extra={**example.extra, "channels": [*targets, *known]})
        channels = (len(targets) if channels is None else channels) + len(known)
    values, rate = read_example(example, channels=channels, max_gap=max_gap)
    if calendar:
        dates = dates_of(example.path, probe_example(example).start, example.offset, len(values), rate)
        values = np.concatenate([values, calendar_columns(dates, calendar)], axis=1)
    return values, rate


def dates_of(path: str, start: dt.datetime | None, offset: float, count: int, rate: float) -> tuple[dt.datetime, ...]:
    """Dates of the samples of a record.

    Args:
        path: The record.
        start: Date of its first sample.
        offset: Seconds from `start` to the first date.
        count: Number of samples.
        rate: Samples per second.

    Raises:
        ValueError: `start` is None.
    """
    if start is None:
        message = "has no dates, which a calendar needs. Read it with its column of times, or do without a calendar."
        raise data_error(path, "without dates", message)
    return signals.dates(start, offset + np.arange(count) / rate)


def probe_example(example: Example) -> signals.SignalInfo:
    """Get the rate, length and channels of an example's signal.

    Raises:
        OSError, ValueError: It cannot be read; see `speechrnn.signals.probe`.
    """
    return signals.probe(example.path, channels=chosen_channels(example), **_read_options(example))


def _read_options(example: Example) -> dict[str, Any]:
    """Options for reading the file of an example."""
    return {name: example.extra.get(name) for name in ("row", "rate", "table")}


def readable(examples: Iterable[Example], read: Callable[[Example], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `read(example)` for each readable example; the others are reported when they are used later."""
    for example in examples:
        with suppress(OSError, ValueError):
            yield read(example)


def chosen_channels(example: Example) -> list[str | int] | None:
    """Channels that an example chooses; `None` if it chooses none."""
    if example.channel is not None:
        return [example.channel]
    chosen = example.extra.get("channels")
    return None if chosen is None else list(chosen)
