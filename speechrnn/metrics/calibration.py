"""Calibration of confidences: of the words with confidence 0.8, 80 % should be right.

scikit-learn is not used: its `calibration_curve` does not return the number of words per bin, which the expected
calibration error needs; its sigmoid takes probabilities instead of log odds and can reverse the order; and its import
takes 5 s.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from speechrnn.faults import data_error, file_faults, read_text
from speechrnn.files import replacing

_EDGE = 1e-6


class Bin(NamedTuple):
    """A bin of a reliability diagram: words whose confidences are between `low` and `high`."""

    low: float
    high: float
    words: int
    confidence: float
    """Mean confidence; NaN without words."""
    accuracy: float
    """Share of the words that are right; NaN without words."""


def reliability(
    confidences: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = 10
) -> list[Bin]:
    """The bins of a reliability diagram (Niculescu-Mizil and Caruana 2005), of equal widths over [0, 1].

    Args:
        confidences: Values in [0, 1]; 1 belongs to the last bin, and any other edge to the bin above it.
        right: Whether each word is right.
        bins: Number of bins.

    Raises:
        ValueError: The lengths differ, or a confidence is outside [0, 1].
    """
    p, hits = _checked(confidences, right)
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1. Received: {bins}.")
    edges = np.linspace(0, 1, bins + 1)
    indices = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    count = np.bincount(indices, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(indices, p, minlength=bins) / count
        accuracy = np.bincount(indices, hits, minlength=bins) / count
    rows = zip(edges[:-1], edges[1:], count, mean, accuracy, strict=True)
    return [Bin(float(a), float(b), int(n), float(m), float(r)) for a, b, n, m, r in rows]


def calibration_error(
    confidences: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = 10
) -> float:
    """Expected calibration error (Naeini et al. 2015): the mean of |accuracy - confidence| of the bins, by words.

    NaN without words.

    Example:
    >>> round(calibration_error([0.9, 0.9, 0.2], [True, False, False]), 3)
    0.333
    """
    filled = [b for b in reliability(confidences, right, bins) if b.words]
    total = sum(b.words for b in filled)
    return sum(b.words * abs(b.accuracy - b.confidence) for b in filled) / total if total else math.nan


@dataclass(frozen=True)
class Calibration:
    """Platt scaling (Platt 1999): the log odds of a confidence are multiplied by `slope`, and `offset` is added.

    Example:
    >>> Calibration(1.0, 0.0)(np.array([0.25, 0.9])).round(3).tolist()
    [0.25, 0.9]
    """

    slope: float
    offset: float

    def __call__(self, confidences: np.ndarray) -> np.ndarray:
        """Float64 probabilities, in (0, 1), for confidences in [0, 1]."""
        return _logistic(self.slope * _log_odds(confidences) + self.offset)

    @classmethod
    def fit(cls, confidences: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray) -> Calibration:
        """Fit on words of validation data by maximum likelihood; the slope is at least 0, so that the order is kept.

        The targets are Platt's, a little above 0 and below 1, so that the solution is finite.

        Raises:
            ValueError: There are no words, the lengths differ, or a confidence is outside [0, 1].
        """
        p, hits = _checked(confidences, right)
        if not len(p):
            raise ValueError("A calibration needs recognized words. Received none.")
        correct = int(hits.sum())
        targets = np.where(hits, (correct + 1) / (correct + 2), 1 / (len(p) - correct + 2))
        x = np.column_stack([_log_odds(p), np.ones(len(p))])
        weights = np.array([1.0, 0.0])
        for _ in range(100):  # Newton's method on a convex loss; a step is halved until the loss decreases
            q = _logistic(x @ weights)
            gradient = x.T @ (q - targets)
            curvature = (x * (q * (1 - q))[:, None]).T @ x + 1e-9 * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            while _loss(x @ (weights - step), targets) > _loss(x @ weights, targets) and np.abs(step).max() > 1e-12:
                step = step / 2
            weights = weights - step
            if np.abs(step).max() < 1e-10:
                break
        if weights[0] < 0:
            rate = float(targets.mean())
            return cls(0.0, math.log(rate / (1 - rate)))
        return cls(float(weights[0]), float(weights[1]))

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False, **notes: Any) -> None:
        """Write the calibration as JSON, with further fields.

        Raises:
            FileExistsError: The file exists and `overwrite` is false.
        """
        with replacing(path, overwrite=overwrite) as file:
            file.write(json.dumps({"slope": self.slope, "offset": self.offset, **notes}, indent=1).encode() + b"\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a calibration from the file of `write`.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is not a calibration.
        """
        with file_faults(path):
            stored = json.loads(read_text(path))
            numbers = [stored.get(name) for name in ("slope", "offset")] if isinstance(stored, dict) else [None, None]
            slope, offset = (
                float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
                for value in numbers
            )
            if not (math.isfinite(slope) and math.isfinite(offset) and slope >= 0):
                raise data_error(
                    path,
                    "invalid",
                    "must be JSON with `slope` and `offset`, finite numbers, the slope not negative. "
                    f"Received: {numbers}. Make it with `speechrnn calibrate`.",
                )
        return cls(slope, offset)


def _checked(confidences: Any, right: Any) -> tuple[np.ndarray, np.ndarray]:
    p, hits = np.asarray(confidences, np.float64), np.asarray(right, bool)
    if p.shape != hits.shape or p.ndim != 1:
        raise ValueError(f"There must be one confidence for each word. Received: {p.shape} and {hits.shape}.")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"Confidences must lie in [0, 1]. Received: {p[~((p >= 0) & (p <= 1))][0]}.")
    return p, hits


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(np.asarray(p, np.float64), _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _loss(x: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0, x) - targets * x).sum())
