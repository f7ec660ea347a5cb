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


class ForecastModel(Protocol):
    """What forecasting needs of a model, whatever runs it."""

    @property
    def sample_rate(self) -> float:
        """Samples per second that series must have."""

    @property
    def channels(self) -> int | None:
        """Channels of a series `(samples, channels)`."""

    @property
    def context(self) -> int:
        """Samples that a forecast is made from."""

    @property
    def horizon(self) -> int:
        """Samples that are forecast."""

    @property
    def quantiles(self) -> tuple[float, ...]:
        """What is forecast of each sample, rising, in (0, 1)."""

    @property
    def median(self) -> int:
        """Index of the quantile that is nearest to one half."""

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of each channel in the training series, float32 `(channels,)`."""

    def forecast(self, signals: Sequence[np.ndarray]) -> np.ndarray:
        """For float32 `(samples, channels)` series, float32 `(series, horizon, channels, quantiles)`."""


def what_is(model: object) -> str:
    """What kind of model one is, and the verb that runs it, for an error."""
    for method, words in _KINDS.items():
        if hasattr(model, method):
            return words
    return f"a {type(model).__name__}"


_KINDS = {
    "probabilities": "a classifier, see `speechrnn classify`",
    "forecast": "a forecaster, see `speechrnn forecast`",
    "logits": "a recogniser, see `speechrnn transcribe`",
}


def nearest_half(quantiles: Sequence[float]) -> int:
    """Index of the quantile that is nearest to one half: the forecast, where one number is wanted.

    Example:
    >>> nearest_half((0.1, 0.5, 0.9))
    1
    """
    return int(np.abs(np.asarray(quantiles) - 0.5).argmin())


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
