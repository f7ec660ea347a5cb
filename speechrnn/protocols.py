"""What the parts of the package ask of each other, whatever library stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from speechrnn.text import Vocabulary


class Recognizer(Protocol):
    """What transcription needs of a model, whatever runs it."""

    vocabulary: Vocabulary

    @property
    def sample_rate(self) -> int:
        """Samples per second that signals must have."""

    @property
    def frame_period(self) -> float:
        """Seconds between two frames of logits."""

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each float32 `(samples,)` signal, float32 `(frames, vocabulary)`."""


class Classifier(Protocol):
    """What classification needs of a model, whatever runs it."""

    @property
    def sample_rate(self) -> float:
        """Samples per second that signals must have."""

    @property
    def channels(self) -> int | None:
        """Channels of a signal `(samples, channels)`; None for a mono signal `(samples,)`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""

    @property
    def per_frame(self) -> bool:
        """Whether there is an answer for each frame, and not one for the whole signal."""

    @property
    def frame_period(self) -> float:
        """Seconds between two frames of a per-frame answer."""

    def probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each float32 `(samples[, channels])` signal, float32 `(classes,)` or `(frames, classes)`."""


def check_signals(signals: Sequence[np.ndarray], channels: int | None, shortest: int | None) -> None:
    """Refuse signals that a classifier cannot take.

    Args:
        signals: What is to be classified.
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
