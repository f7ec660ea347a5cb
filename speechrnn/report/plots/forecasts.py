"""Plots of forecasts with past and true values, and of anomalies with their score and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.report.plots.style import DARK, blank, without_frame
from speechrnn.tasks.forecasting.quantiles import nearest_half

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_forecast(
    past: np.ndarray,
    forecast: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    channels: Sequence[str] = (),
    period: float = 1.0,
    unit: str = "samples",
    width: float = 8.0,
    height: float = 2.2,
) -> Figure:
    """Plot a forecast after its past values, with one axis per channel.

    Args:
        past: float `(samples, channels)`: past values.
        forecast: float `(horizon, channels, quantiles)`, as `Forecaster.forecast` returns for one series.
        truth: float `(up to horizon, channels)`: true values, if known.
        quantiles: Quantile levels of the forecast's last axis.
        channels: Names of the channels.
        period: Time between samples, in `unit`.
        unit: Unit of time.
        width: Width of the figure in inches.
        height: Height of each axis in inches.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    past, forecast = np.asarray(past), np.asarray(forecast)
    count = past.shape[-1]
    if past.ndim != 2 or forecast.ndim != 3 or forecast.shape[1:] != (count, len(quantiles)):
        raise ValueError(
            "`past` must be (samples, channels) and `forecast` (horizon, channels, quantiles) of the same channels and "
            f"as many quantiles as are named. Received: {past.shape}, {forecast.shape} and {len(quantiles)} quantiles."
        )
    figure = blank(width, 0.6 + height * count)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    before, ahead = period * np.arange(1 - len(past), 1), period * np.arange(1, len(forecast) + 1)
    middle = nearest_half(quantiles)
    for index, axes in enumerate(panels):
        axes.plot(before, past[:, index], color="#555555", lw=1, label="past values")
        axes.axvline(0, color="#bbbbbb", lw=1)
        for low, high in zip(range(len(quantiles)), reversed(range(len(quantiles))), strict=True):
            if low < high:
                share = quantiles[high] - quantiles[low]
                label = f"{share:.0%} of future values" if index == 0 else None
                axes.fill_between(
                    ahead,
                    forecast[:, index, low],
                    forecast[:, index, high],
                    color=DARK[0],
                    alpha=0.22,
                    lw=0,
                    label=label,
                )
        axes.plot(ahead, forecast[:, index, middle], color=DARK[0], lw=1.6, label="forecast")
        if truth is not None:
            axes.plot(ahead[: len(truth)], np.asarray(truth)[:, index], color=DARK[1], lw=1, label="what came")
        axes.set_ylabel(channels[index] if channels else f"channel {index}")
        without_frame(axes)
    panels[-1].set_xlabel(f"{unit} from now")
    legend = panels[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def plot_anomalies(
    values: np.ndarray,
    score: np.ndarray,
    windows: Sequence[tuple[int, int]] = (),
    *,
    threshold: float | None = None,
    channels: Sequence[str] = (),
    period: float = 1.0,
    unit: str = "samples",
    width: float = 8.0,
    height: float = 1.8,
) -> Figure:
    """Plot a series above the anomaly score of its samples; labeled windows are shaded, detections are marked.

    Args:
        values: float `(samples, channels)`.
        score: float `(samples,)`, from `anomaly_score` or `anomaly_likelihood`.
        windows: First and last sample of each labeled window.
        threshold: Samples with at least this score are marked; without it none are.
        channels: Names of the channels.
        period: Time between samples, in `unit`.
        unit: Unit of time.
        width: Width of the figure in inches.
        height: Height of each axis in inches.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    values, score = np.asarray(values), np.asarray(score)
    if values.ndim != 2 or score.shape != (len(values),):
        raise ValueError(
            f"`values` must be (samples, channels), `score` (samples,). Received: {values.shape} and {score.shape}."
        )
    count, time = values.shape[1], period * np.arange(len(values))
    figure = blank(width, 0.6 + height * (count + 1))
    panels = figure.subplots(count + 1, 1, sharex=True)
    for index, axes in enumerate(panels):
        is_series = index < count
        line, color = (values[:, index], "#555555") if is_series else (score, DARK[0])
        axes.plot(time, line, color=color, lw=0.8, label="values" if is_series else "score")
        for number, (first, last) in enumerate(windows):
            label = "labeled" if number == 0 and index == 0 else None
            axes.axvspan(period * first, period * last, color=DARK[1], alpha=0.2, lw=0, label=label)
        if threshold is not None:
            detected = score >= threshold
            axes.plot(time[detected], line[detected], "o", ms=4, mfc="none", color=DARK[1], label="found")
        name = channels[index] if is_series and channels else f"channel {index}"
        axes.set_ylabel(name if is_series else "score")
        without_frame(axes)
    if threshold is not None:
        panels[-1].axhline(threshold, color="#bbbbbb", lw=1, zorder=0)
    panels[-1].set_xlabel(unit)
    legend = panels[0].get_legend_handles_labels()
    figure.legend(*legend, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
