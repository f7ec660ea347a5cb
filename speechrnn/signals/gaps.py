"""What is missing in a signal: filled up to a limit, or reported."""

from collections.abc import Iterator, Sequence

import numpy as np

from speechrnn.faults import data_error


def fill_gaps(
    signal: np.ndarray,
    rate: float,
    *,
    max_gap: float | None = 1.0,
    where: str = "signal",
    channels: Sequence[str] = (),
    offset: float = 0.0,
) -> np.ndarray:
    """A signal whose NaN and infinite samples are replaced by straight lines between their neighbors.

    Args:
        signal: Floating point `(samples, channels)`; at its ends the nearest sample is held.
        rate: Samples per second.
        max_gap: Longest gap in seconds that is filled; one sample always is, where this is not 0. None leaves gaps as
            they are.
        where: Starts the message of an error.
        channels: Names for that message.
        offset: Seconds of the record before this signal, for that message.

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: A gap is longer, a channel has no finite sample at all, or a sample is larger than float32 can hold.

    Example:
    >>> fill_gaps(np.array([[0.0], [np.nan], [2.0]]), 100.0).ravel()
    array([0., 1., 2.], dtype=float32)
    """
    signal = np.asarray(signal)
    names = channels or [str(index) for index in range(signal.shape[1])]
    large = np.isfinite(signal) & (np.abs(signal) > np.finfo(np.float32).max)
    if large.any():
        sample, index = (int(at[0]) for at in np.nonzero(large))
        described = f"channel {names[index]!r} holds {signal[sample, index]:g} at {offset + sample / rate:.3f} s"
        message = f"{described}, more than float32 can. Mend the sample, or scale the channel."
        raise data_error(where, "undecodable", message)
    missing = ~np.isfinite(signal)
    if max_gap is None or not missing.any():
        return np.ascontiguousarray(signal, np.float32)
    filled = np.array(signal, np.float64)
    longest = max(round(max_gap * rate), 1) if max_gap > 0 else 0
    for index in np.flatnonzero(missing.any(axis=0)).tolist():
        name, bad = names[index], missing[:, index]
        if bad.all():
            raise data_error(where, "without values", f"channel {name!r} has no finite sample. Leave the channel out.")
        starts, stops = runs(bad)
        worst = int(np.argmax(stops - starts))
        if stops[worst] - starts[worst] > longest:
            raise data_error(
                where,
                "with gaps",
                f"channel {name!r} lacks {(stops[worst] - starts[worst]) / rate:.3f} s from "
                f"{offset + starts[worst] / rate:.3f} s; at most {max_gap:g} s are filled. Leave the record "
                "out, raise `max_gap`, or read a segment beside the gap.",
            )
        filled[bad, index] = np.interp(np.flatnonzero(bad), np.flatnonzero(~bad), filled[~bad, index])
    return filled.astype(np.float32)


def runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of the stretches where `flags` are true."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def complaints(signal: np.ndarray, channels: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """What a finite signal makes one doubt: kind and sentence of every channel that is one flat line.

    Example:
    >>> list(complaints(np.zeros((100, 1)), ["V1"]))
    [('a flat line', "channel 'V1' is 0 in all 100 samples.")]
    """
    for index in range(signal.shape[1]):
        values = signal[:, index]
        if len(values) > 1 and np.ptp(values) == 0:
            name = channels[index] if channels else str(index)
            yield "a flat line", f"channel {name!r} is {values[0]:g} in all {len(values):,} samples."
