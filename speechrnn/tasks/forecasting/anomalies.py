"""Detect anomalies: forecast errors of a series, their likelihood, and the score of the NAB benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.data.corpora.nab import learned
from speechrnn.faults import check_choice
from speechrnn.models.protocols import ForecastModel

_LEAST_SPREAD = 0.01
"""Smallest spread of a forecast, in standard deviations of the training series."""
_LEAST_OF_USUAL = 0.5
"""Smallest spread, as a part of its mean until then: quantiles may meet by chance."""
_LEAST_DEVIATION = 0.05
LOG_OF_SURE = math.log(1e-10)

NAB_PROFILES = {"standard": (1.0, 0.11, 1.0), "reward_low_fp": (1.0, 0.22, 1.0), "reward_low_fn": (1.0, 0.11, 2.0)}
"""Weights of a detection, of a false one, and of a missed window, by the name of the application profile."""


def surprise(model: ForecastModel, values: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """The normalized error of the one-step forecast of each sample of a series.

    `|x - median| / spread`, where the spread is half the width between the outer quantiles, but no less than half of
    its mean until then; the mean over the channels. Nothing after a sample has an influence on its value.

    Args:
        model: A forecaster of two quantiles or more.
        values: float `(samples, channels)` at the model's rate, finite.
        batch_size: Samples forecast at once.

    Returns:
        float64 `(samples,)`; NaN for the first sample, which has no past.

    Raises:
        ValueError: The model has one quantile, so that it does not say how sure it is; or something is known ahead.
    """
    if len(model.quantiles) < 2:
        raise ValueError(f"`surprise` needs a forecaster of two quantiles or more. Received: {model.quantiles}.")
    refuse_known(model)
    values = np.asarray(values, np.float32)
    errors, spread = np.zeros((2, *values.shape))
    for start in range(1, len(values), batch_size):
        ends = range(start, min(start + batch_size, len(values)))
        ahead = model.predict_quantiles([values[max(0, end - model.context) : end] for end in ends])[:, 0]
        errors[ends.start : ends.stop] = np.abs(values[ends.start : ends.stop] - ahead[..., model.median])
        spread[ends.start : ends.stop] = (ahead[..., -1] - ahead[..., 0]) / 2
    mean_spread = np.cumsum(spread[1:], 0) / np.arange(1, len(values))[:, None]
    least = np.maximum(_LEAST_OF_USUAL * mean_spread, _LEAST_SPREAD * model.scale)
    return np.concatenate([np.full(min(1, len(values)), np.nan), (errors[1:] / np.maximum(spread[1:], least)).mean(1)])


def refuse_known(model: ForecastModel) -> None:
    """Refuse a model that must know more than the series.

    Raises:
        ValueError: It has columns known ahead, or a calendar.
    """
    if model.columns != model.channels:
        names = ", ".join((*model.known, *model.calendar))
        raise ValueError(
            f"Anomalies need a forecaster without columns known ahead. Received: one that knows {names}. Train "
            "another without `known` and `calendar`."
        )


def anomaly_likelihood(errors: np.ndarray, *, short: int = 10, long: int = 8000, fewest: int = 100) -> np.ndarray:
    """How unlikely the errors of the last few samples are, given those of the many before: in [0, 1], 1 for sure.

    The mean of the last `short` errors is set against mean and deviation of up to `long` errors before them; of the
    normal distribution's upper tail the logarithm is taken, so that 1e-10 and less are 1, 1e-5 is 0.5. (In the papers
    the last errors are among the usual ones too, where a single large one hides itself.)

    Args:
        errors: `(samples,)`, such as `surprise` gives; NaN where none is known.
        short: Number of samples over which errors are averaged: more of them find lasting anomalies, 1 finds sudden
            ones.
        long: Samples before them that say what is usual.
        fewest: Usual errors that must be known before anything is judged; 0 until then.

    Returns:
        float64 `(samples,)`; nothing after a sample has an influence on its value.

    Reference:
        Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark", ICMLA 2015,
        section III; Ahmad et al., "Unsupervised real-time anomaly detection for streaming data", Neurocomputing 262,
        2017, equations 4 to 7.
    """
    if not 1 <= short < long:
        raise ValueError(f"`short` must be at least 1, and less than `long`. Received: {short=}, {long=}.")
    errors = np.asarray(errors, np.float64)
    ends = np.arange(1, len(errors) + 1)
    _, recent, _ = moments(errors, ends, short)
    count, mean, variance = moments(errors, np.maximum(ends - short, 0), long)
    score = (recent - mean) / np.maximum(np.sqrt(variance), _LEAST_DEVIATION)
    tail = np.array([0.5 * math.erfc(value / math.sqrt(2)) for value in score])
    likelihood = np.clip(np.log(tail + 1e-10) / LOG_OF_SURE, 0.0, 1.0)
    return np.where((count >= fewest) & np.isfinite(errors), likelihood, 0.0)


def moments(values: np.ndarray, ends: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and variance of the finite values among the `most` values before each of `ends`; zeros for none.

    Example:
    >>> [found.tolist() for found in moments(np.array([1.0, 3.0, np.nan, 5.0]), np.array([2, 4]), 2)]
    [[2.0, 1.0], [2.0, 5.0], [1.0, 0.0]]
    """
    known, first = np.isfinite(values), np.maximum(ends - most, 0)
    sums = [np.concatenate([[0.0], np.cumsum(np.where(known, power, 0.0))]) for power in (known, values, values**2)]
    count, total, squares = (each[ends] - each[first] for each in sums)
    mean = total / np.maximum(count, 1)
    return count, mean, np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0)


def stretches(where: np.ndarray) -> list[tuple[int, int]]:
    """The runs of True in `(samples,)`, as the index of the first sample and the index after the last.

    Example:
    >>> stretches(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(where, bool), [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True)
class NabScore:
    """Score of detections by the rules of the Numenta Anomaly Benchmark."""

    score: float
    """100 for every window found at once and nothing else, 0 for a detector that says nothing."""
    threshold: float
    """Samples with a score of at least this were taken for anomalies."""
    found: int
    """Windows with a detection in them."""
    windows: int
    false: int
    """Samples outside of windows that were taken for anomalies."""


def nab_score(
    scores: Sequence[np.ndarray],
    windows: Sequence[Sequence[tuple[int, int]]],
    *,
    profile: str = "standard",
    threshold: float | None = None,
) -> NabScore:
    """The Numenta Anomaly Benchmark's score of a detector over a corpus.

    The earliest detection in a window counts most, by a sigmoid of its position; a false detection costs more the
    farther it lies behind a window. The benchmark has one threshold for all series, and takes the one that is
    best for the corpus it scores: a score with `threshold=None` is that of the literature, and optimistic for that
    reason.

    Args:
        scores: A value of each sample, for each series: float `(samples,)`.
        windows: The labeled windows of each series, as indices of their first and last sample.
        profile: One of `NAB_PROFILES`.
        threshold: Samples with at least this score are taken for anomalies; None takes the best threshold.

    Raises:
        ValueError: There is no such profile, or there are windows for another number of series.

    Reference:
        Lavin and Ahmad, ICMLA 2015, section II, and the benchmark's program (version 1.1) where the paper is silent.
    """
    check_choice("profile", profile, NAB_PROFILES)
    if len(scores) != len(windows):
        raise ValueError(f"There must be windows for each series. Received: {len(windows)} for {len(scores)}.")
    weights = NAB_PROFILES[profile]
    values, gains, members, count = [], [], [], 0
    for series, series_windows in zip(scores, windows, strict=True):
        start = learned(len(series))
        gain, member = _gains(len(series), series_windows, weights)
        values.append(np.asarray(series, np.float64)[start:])
        gains.append(gain[start:])
        members.append(np.where(member >= 0, member + count, -1)[start:])
        count += len(series_windows)
    value, gain, member = (np.concatenate(parts) for parts in (values, gains, members))
    scored = len(np.unique(member[member >= 0]))
    order = np.argsort(-value, kind="stable")
    value, gain, member = value[order], gain[order], member[order]
    steps = np.where(member < 0, gain, 0.0)
    first = np.zeros(len(value), bool)
    for window in np.unique(member[member >= 0]):
        positions = np.flatnonzero(member == window)
        best = np.maximum.accumulate(np.maximum(gain[positions], -weights[2]))
        steps[positions] = np.diff(best, prepend=-weights[2])
        first[positions[0]] = True
    totals = np.concatenate([[0.0], np.cumsum(steps)]) - weights[2] * scored
    allowed = np.concatenate([[True], np.append(value[1:] < value[:-1], True)])  # equal values go together
    if threshold is None:
        taken = int(np.where(allowed, totals, -np.inf).argmax())
        threshold = float(value[taken - 1]) if taken else math.inf
    else:
        taken = int(np.searchsorted(-value, -threshold, side="right"))
    null, perfect = -weights[2] * scored, weights[0] * scored
    return NabScore(
        score=float(100 * (totals[taken] - null) / (perfect - null)) if scored else math.nan,
        threshold=threshold,
        found=int(first[:taken].sum()),
        windows=scored,
        false=int((member[:taken] < 0).sum()),
    )


def _gains(
    samples: int, windows: Sequence[tuple[int, int]], weights: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """What a detection at each sample is worth, and which window it lies in (-1 for none)."""
    hit, false, _ = weights
    gain, member = np.full(samples, -false), np.full(samples, -1)
    positions = np.arange(samples)
    for start, end in windows:
        behind = positions > end
        if end > start:
            gain[behind] = false * _sigmoid((positions[behind] - end) / (end - start))
    for number, (start, end) in enumerate(windows):
        inside = positions[start : end + 1]
        gain[inside] = hit * _sigmoid(-(end - inside + 1) / (end - start + 1)) / _sigmoid(np.array(-1.0))
        member[inside] = number
    return gain, member


def _sigmoid(position: np.ndarray) -> np.ndarray:
    """1 long before a window's end, 0 at its end, -1 long after it."""
    return np.where(position > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(position, 3.0))) - 1.0)
