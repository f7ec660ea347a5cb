"""Protocols that bundles and sessions implement: the interface that tasks, serving and reports use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from speechrnn.text import Vocabulary
from speechrnn.text.tokens import Tokens


class Recognizer(Protocol):
    """A recognizer, run by any library."""

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
    """A classifier, run by any library."""

    @property
    def sample_rate(self) -> float:
        """Samples per second that signals must have."""

    @property
    def channels(self) -> int | None:
        """Channels of a signal `(samples, channels)`; None for a mono signal `(samples,)`."""

    @property
    def tokens(self) -> Tokens | None:
        """Tokens of a classifier of texts; None if it classifies signals."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""

    @property
    def per_frame(self) -> bool:
        """Whether the model gives one answer per frame instead of one per signal."""

    @property
    def frame_period(self) -> float:
        """Seconds between two frames of a per-frame answer."""

    def probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each float32 `(samples[, channels])` signal, float32 `(classes,)` or `(frames, classes)`."""


class ForecastModel(Protocol):
    """A forecaster, run by any library."""

    @property
    def sample_rate(self) -> float:
        """Samples per second that series must have."""

    @property
    def channels(self) -> int | None:
        """Channels of a series `(samples, channels)`."""

    @property
    def context(self) -> int:
        """Number of past samples that a forecast uses."""

    @property
    def horizon(self) -> int:
        """Number of samples that are forecast."""

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Quantiles that are forecast of each sample, ascending, in (0, 1)."""

    @property
    def median(self) -> int:
        """Index of the quantile that is nearest to one half."""

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of each channel in the training series, float32 `(channels,)`."""

    @property
    def columns(self) -> int | None:
        """Columns of a series: its channels, and the inputs that are known ahead."""

    @property
    def known(self) -> tuple[str, ...]:
        """Names of columns that are known ahead."""

    @property
    def calendar(self) -> tuple[str, ...]:
        """Cycles of `speechrnn.signals.calendar` that are known ahead."""

    def predict_quantiles(self, signals: Sequence[np.ndarray], ahead: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Forecasts of series.

        Args:
            signals: float32 `(samples, columns)` each.
            ahead: Known inputs of the samples to forecast, float32 `(horizon, columns - channels)` for each series.

        Returns:
            float32 `(series, horizon, channels, quantiles)`.
        """
