"""An anomaly score of samples, from their values, forecast errors, and changes of level, spread and spectrum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from speechrnn.tasks.forecasting.anomalies import LOG_OF_SURE, moments

_MOST = 3.0  # of a tail likelihood in a sum: what is beyond 1e-30 is no surer
_LEAST = 0.05  # of the series' spread: no stretch is steadier than that
_BANDS = (0, 1, 2, 4, 8, 16)
_SHORT, _LONG, _WAVE = 24, 288, 32
_BETWEEN = 100
_LAGS = (1, 2, 3, 4, 6, 12)


def evidence(
    values: np.ndarray, *, clean: int, season: int | None = None, surprise: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Several kinds of errors of each sample of a series, which are large for anomalies.

    `value` is the distance from zero, the mean of the clean stretch; `forecast` how far a sample is from what was
    forecast of it; `level` and `spread` set the last 24 samples against the 288 before them (difference of means in
    deviations, logarithm of the deviations' ratio); `spectrum` sets the log power of five bands of the last 32 samples
    against its mean and deviation until then.

    Args:
        values: float `(samples, channels)`, in deviations of a clean stretch from its mean.
        clean: First samples, in which nothing was wrong.
        season: Samples of a season, which the forecast then looks back to.
        surprise: How far each sample is from its forecast, `(samples,)`, as `speechrnn.tasks.forecasting.anomalies` has
            it of a model; without it the forecast is that of a linear autoregression, learned from the clean stretch.

    Returns:
        float64 `(samples,)` by name, the largest over the channels; nothing after a sample has an influence on it.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2:
        raise ValueError(f"`values` must be (samples, channels). Received: shape {values.shape}.")
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]]
    kinds = {"value": np.abs, "level": _level, "spread": _spread, "spectrum": _spectrum}
    if surprise is None:
        kinds["forecast"] = lambda channel: _off_forecast(channel, clean, season)
    result = {name: np.max([of(channel) for channel in values.T], axis=0) for name, of in kinds.items()}
    return result if surprise is None else {**result, "forecast": np.nan_to_num(np.asarray(surprise, np.float64))}


def tail_likelihood(errors: np.ndarray, *, clean: int, long: int = 8000, tail: float = 0.05) -> np.ndarray:
    """How unlikely each error is by the tail of those before it: 1 for a chance of 1e-10, 2 for 1e-20, and so on.

    Above their 95th percentile errors are taken to be distributed exponentially, which suits more series than a normal
    distribution does: errors of any quantity are large more often than that allows. The percentile and the mean excess
    are those of up to `long` errors before, at first those of the clean stretch, and are updated every 100 samples.

    Args:
        errors: float `(samples,)`, finite.
        clean: First samples, in which nothing was wrong; they are 0 themselves.
        long: Samples that say what is usual.
        tail: Share of them that are its tail.

    Returns:
        float64 `(samples,)`; nothing after a sample has an influence on its value.

    Reference:
        Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017.
    """
    if clean < 1:
        raise ValueError(f"`clean` must be at least 1. Received: clean={clean}.")
    errors, result = np.asarray(errors, np.float64), np.zeros(len(errors))
    for start in range(clean, len(errors), _BETWEEN):
        past, now = errors[max(0, start - long) : start], slice(start, start + _BETWEEN)
        threshold = np.quantile(past, 1 - tail)
        excess = past[past > threshold] - threshold
        size = max(float(excess.mean()) if len(excess) else 0.0, _LEAST * float(past.std()) + 1e-3)
        over = errors[now] - threshold
        result[now] = np.where(over > 0, (math.log(tail) - over / size) / LOG_OF_SURE, 0.0)
    return result


def anomaly_score(
    values: np.ndarray,
    *,
    clean: int,
    season: int | None = None,
    surprise: np.ndarray | None = None,
    hold: int = 100,
) -> np.ndarray:
    """One score for each sample of a series, from all `evidence`, on one scale for any series.

    Values are standardized by the clean stretch; each kind of evidence becomes a `tail_likelihood`; these are added.
    A score no higher than one of the `hold` scores before it becomes 0, so that an alarm is raised once.

    Args:
        values: float `(samples, channels)`, in any unit.
        clean: First samples, in which nothing was wrong, at least two.
        season: Samples of a season, such as 288 for a day of a value every five minutes.
        surprise: How far each sample is from a model's forecast; a linear forecast is made without it.
        hold: Samples for which an alarm holds; 0 repeats it.

    Returns:
        float64 `(samples,)`, 0 in the clean stretch; nothing after a sample has an influence on its value.
    """
    values = np.asarray(values, np.float64)
    if not 2 <= clean < max(len(values), 3):
        raise ValueError(f"`clean` must be from 2 to the series' {len(values)} samples. Received: clean={clean}.")
    first = values[:clean]
    spread = np.maximum(first.std(0), 1e-9 * np.maximum(np.abs(first).max(0), 1e-9))
    kinds = evidence((values - first.mean(0)) / spread, clean=clean, season=season, surprise=surprise)
    score = sum(np.minimum(tail_likelihood(errors, clean=clean), _MOST) for errors in kinds.values())
    return _first_alarms(np.asarray(score), hold) if hold else np.asarray(score)


def _first_alarms(score: np.ndarray, hold: int) -> np.ndarray:
    from scipy.ndimage import maximum_filter1d

    last = maximum_filter1d(score, hold, origin=(hold - 1) // 2, mode="constant")  # of a sample and those before it
    return np.where(score > np.concatenate([[0.0], last[:-1]]), score, 0.0)


def _now_and_before(values: np.ndarray) -> tuple[tuple[np.ndarray, ...], ...]:
    ends = np.arange(1, len(values) + 1)
    return moments(values, ends, _SHORT), moments(values, np.maximum(ends - _SHORT, 0), _LONG)


def _off_forecast(values: np.ndarray, clean: int, season: int | None) -> np.ndarray:
    """How far each value is from a ridge regression on some values before it, and on that of a season ago."""
    size = len(values)
    lags = [lag for lag in (*_LAGS, season or size) if lag < size]
    before = [np.concatenate([np.zeros(lag), values[:-lag]]) for lag in lags]
    table = np.stack([*before, np.ones(size)], axis=1)
    known = slice(min(max(_LAGS), clean // 2), clean)
    square = table[known].T @ table[known] + np.eye(table.shape[1])
    return np.abs(values - table @ np.linalg.solve(square, table[known].T @ values[known]))


def _level(values: np.ndarray) -> np.ndarray:
    (_, now, _), (_, mean, variance) = _now_and_before(values)
    return np.abs(now - mean) / np.sqrt(variance + _LEAST**2)


def _spread(values: np.ndarray) -> np.ndarray:
    (*_, now), (*_, before) = _now_and_before(values)
    return np.abs(np.log((now + _LEAST**2) / (before + _LEAST**2)))


def _spectrum(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, (_WAVE - 1, 0), mode="edge")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WAVE)
    power = np.square(np.abs(np.fft.rfft((pieces - pieces.mean(1, keepdims=True)) * np.hanning(_WAVE))))[:, 1:]
    bands = [np.log(power[:, a:b] + 1e-2).mean(1) for a, b in itertools.pairwise(_BANDS)]
    off = []
    for band in bands:
        _, mean, variance = moments(band, np.maximum(np.arange(1, len(band) + 1) - _WAVE, 0), 2000)
        off.append(np.square(band - mean) / (variance + 0.1))
    return np.sqrt(np.mean(off, axis=0))
