"""Signals as batches: what bundles and sessions do before a network runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["check_signals", "padded"]


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
