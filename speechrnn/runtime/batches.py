"""Signals as batches: what bundles and sessions do before a network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["by_length", "check_signals", "padded"]

Item = TypeVar("Item")


def by_length(items: Iterable[Item], length: Callable[[Item], int], budget: float) -> Iterator[list[Item]]:
    """Items sorted by length, the longest first, in batches as large as a budget allows, padding counted.

    Args:
        items: What is to be run.
        length: Samples of one.
        budget: Samples of a batch; a longer item is alone.

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


def padded(signals: Sequence[np.ndarray], channels: int | None, *, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Signals as one batch.

    Args:
        signals: float32 `(samples,)` each, or `(samples, channels)`; one at least.
        channels: Of a signal `(samples, channels)`; None for `(samples,)`.
        least: Samples that the batch has at least.

    Returns:
        float32 `(batch, samples[, channels])`, right-padded with zeros, and the samples of each, int32 `(batch,)`.
    """
    lengths = np.array([len(signal) for signal in signals], "int32")
    batch = np.zeros((len(signals), max(least, *lengths), *([] if channels is None else [channels])), "float32")
    for row, signal in zip(batch, signals, strict=True):
        row[: len(signal)] = signal
    return batch, lengths


def check_signals(signals: Sequence[np.ndarray], channels: int | None, shortest: int | None) -> None:
    """Refuse signals that a classifier or a forecaster cannot take.

    Args:
        signals: What is to be classified, or forecast.
        channels: Of a signal `(samples, channels)`; None for `(samples,)`.
        shortest: Fewest samples for an answer; None where there may be none.

    Raises:
        ValueError: A signal does not fit; its number among the signals is named.
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
            place = int(np.argmax(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            told = f"a sample {values[place].tolist()} at place {place:,} (signal {index})"
            raise ValueError(f"A signal must be finite: fill its gaps, see `signals.fill_gaps`. Received: {told}.")
