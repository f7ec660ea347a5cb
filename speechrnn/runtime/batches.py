"""Check signals, and combine them into padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["by_length", "check_signals", "padded"]

Item = TypeVar("Item")


def by_length(items: Iterable[Item], length: Callable[[Item], int], budget: float) -> Iterator[list[Item]]:
    """Sort items by length, longest first, and group them into batches of limited size, padding included.

    Args:
        items: The items.
        length: Gives the number of samples of an item.
        budget: Largest number of samples in a batch; a longer item gets a batch of its own.

    Example:
    >>> list(by_length([1, 5, 2, 4], lambda item: item, 10))
    [[5, 4], [2, 1]]
    """
    batch: list[Item] = []
    for item in sorted(items, key=lambda item: -length(item)):
        if batch and (len(batch) + 1) * length(batch[0]) > budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def padded(
    signals: Sequence[np.ndarray], channels: int | None, *, min_length: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Pad signals to one batch.

    Args:
        signals: float32 `(samples,)` each, or `(samples, channels)`; at least one.
        channels: Number of channels of a signal `(samples, channels)`; None for `(samples,)`.
        min_length: Smallest number of samples of the batch.

    Returns:
        float32 `(batch, samples[, channels])`, right-padded with zeros, and the length of each, int32 `(batch,)`.
    """
    lengths = np.array([len(signal) for signal in signals], "int32")
    batch = np.zeros((len(signals), max(min_length, *lengths), *([] if channels is None else [channels])), "float32")
    for row, signal in zip(batch, signals, strict=True):
        row[: len(signal)] = signal
    return batch, lengths


def check_signals(signals: Sequence[np.ndarray], channels: int | None, shortest: int | None) -> None:
    """Refuse signals that a classifier or a forecaster cannot process.

    Args:
        signals: The signals.
        channels: Number of channels of a signal `(samples, channels)`; None for `(samples,)`.
        shortest: Smallest number of samples; None allows empty signals.

    Raises:
        ValueError: A signal does not fit; the message gives its index.
    """
    wanted = "(samples,)" if channels is None else f"(samples, {channels})"
    for index, signal in enumerate(signals):
        shape = np.shape(signal)
        if len(shape) != (1 if channels is None else 2) or (channels is not None and shape[1] != channels):
            raise ValueError(f"A signal must be {wanted}. Received: shape {shape} (signal {index}).")
        if shortest is not None and shape[0] < shortest:
            raise ValueError(f"A signal must have {shortest} samples or more. Received: {shape[0]} (signal {index}).")
        values = np.asarray(signal)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            first = int(np.argmax(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            received = f"a sample {values[first].tolist()} at place {first:,} (signal {index})"
            raise ValueError(f"A signal must be finite: fill its gaps, see `signals.fill_gaps`. Received: {received}.")
