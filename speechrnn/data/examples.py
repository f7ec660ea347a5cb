"""The signal that a line of a manifest means: audio or a record of sensors, its segment and its channels."""

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
    """float32 `(samples,)`: all of a recording, or of an example's segment, at `sample_rate`.

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
    """The signal that a line of a manifest means, with the `channels`, `row`, `rate` and `table` of its `extra`.

    Args:
        example: From a manifest.
        channels: How many are wanted, checked against the example's; the first ones where it does not choose.
        sample_rate: See `speechrnn.signals.read`.
        max_gap: See `speechrnn.signals.read`.

    Returns:
        As `speechrnn.signals.read`.

    Raises:
        ValueError: As `speechrnn.signals.read`, or the example chooses another number of channels.
    """
    own = chosen_channels(example)
    if own is not None and channels is not None and len(own) != channels:
        raise data_error(example.path, "lacking the channel", f"needs {channels} channels. Received: {own}.")
    return signals.read(
        example.path,
        offset=example.offset,
        duration=example.duration,
        channels=channels if own is None else own,
        sample_rate=sample_rate,
        max_gap=max_gap,
        **_how(example),
    )


def read_series(
    example: Example,
    *,
    channels: int | None = None,
    known: Sequence[str] = (),
    calendar: Sequence[str] = (),
    max_gap: float = 1.0,
) -> tuple[np.ndarray, float]:
    """A series with what is known ahead of it.

    Args:
        example: From a manifest.
        channels: How many are to be forecast; see `read_example`.
        known: Columns whose values are known ahead.
        calendar: Cycles of `speechrnn.signals.calendar`, for which the record must have dates.
        max_gap: See `speechrnn.signals.read`.

    Returns:
        float32 `(samples, channels + known + 2 * calendar)`, and its rate.

    Raises:
        OSError, ValueError: As `read_example`; or the record has no dates, and a calendar is wanted.
    """
    if known:
        own = chosen_channels(example)
        if own is None:
            own = [name for name in probe_example(example).channels if name not in known][:channels]
        example = replace(example, channel=None, extra={**example.extra, "channels": [*own, *known]})
        channels = (len(own) if channels is None else channels) + len(known)
    values, rate = read_example(example, channels=channels, max_gap=max_gap)
    if calendar:
        dates = dates_of(example.path, probe_example(example).start, example.offset, len(values), rate)
        values = np.concatenate([values, calendar_columns(dates, calendar)], axis=1)
    return values, rate


def dates_of(path: str, start: dt.datetime | None, offset: float, count: int, rate: float) -> tuple[dt.datetime, ...]:
    """When samples of a record were taken.

    Args:
        path: The record.
        start: When its first sample was taken.
        offset: Seconds from then to the first of these.
        count: How many there are.
        rate: Samples per second.

    Raises:
        ValueError: The record does not say when it begins.
    """
    if start is None:
        message = "has no dates, which a calendar needs. Read it with its column of times, or do without a calendar."
        raise data_error(path, "without dates", message)
    return signals.dates(start, offset + np.arange(count) / rate)


def probe_example(example: Example) -> signals.SignalInfo:
    """Rate, length and channels of the signal that a line of a manifest means.

    Raises:
        OSError, ValueError: It cannot be read; see `speechrnn.signals.probe`.
    """
    return signals.probe(example.path, channels=chosen_channels(example), **_how(example))


def _how(example: Example) -> dict[str, Any]:
    """How the file is to be read, as a line of a manifest says."""
    return {name: example.extra.get(name) for name in ("row", "rate", "table")}


def readable(examples: Iterable[Example], read: Callable[[Example], np.ndarray]) -> Iterator[np.ndarray]:
    """What `read` gives for each example that can be read; whoever uses the examples later names the others."""
    for example in examples:
        with suppress(OSError, ValueError):
            yield read(example)


def chosen_channels(example: Example) -> list[str | int] | None:
    """Channels that a line of a manifest chooses; `None` if it does not."""
    if example.channel is not None:
        return [example.channel]
    chosen = example.extra.get("channels")
    return None if chosen is None else list(chosen)
