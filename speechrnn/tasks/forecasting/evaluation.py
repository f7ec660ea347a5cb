"""Evaluate forecasters: errors over all windows of series, compared with those of naive forecasts."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import metrics, pipeline
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, Faults, options_as_keywords
from speechrnn.metrics.intervals import Interval, finite
from speechrnn.models import reports
from speechrnn.models.loading import open_model
from speechrnn.tasks.forecasting.options import ForecasterEvaluation

if TYPE_CHECKING:
    from rich.console import Console

_FEWEST_BLOCKS = 8
_SUMS = ("squares", "errors", "last", "season", "within", "crps", "season_crps", "values")


@dataclass(frozen=True, eq=False)
class ForecastReport:
    """Errors of a forecaster on series; all figures follow from sums over all windows, steps and channels.

    The forecast is the median.
    """

    figures: dict[str, float]
    """`mse` and `mae`, in standard deviations of the training series, as papers give them; `last_mae` and
    `season_mae`, the absolute error of repeating the last value, or the last season (NaN without one); `skill`, by
    which part the forecast's absolute error is below that of the better of these two; `coverage`, the share of values
    between the outer quantiles; `crps`, twice the pinball loss on average over the quantiles, which is the continuous
    ranked probability score as far as they tell, and `season_crps`, that of repeating the last season with quantiles
    of a normal distribution around it."""
    intervals: dict[str, Interval]
    """95 % bootstrap interval of each, blocks of windows drawn with replacement; NaN for fewer than eight blocks."""
    blocks: int
    """Of windows that begin within one horizon: neighboring windows share most of their samples."""
    nominal: float
    """What the coverage should be: the outer quantiles' difference."""
    windows: int
    horizon: int
    """Samples that each window forecasts."""
    step_mae: np.ndarray
    """Absolute error by how far ahead, float64 `(horizon,)`, in standard deviations."""
    channel_mae: np.ndarray
    """Absolute error by channel, float64 `(channels,)`, in the series' own units."""
    faults: tuple[Fault, ...] = ()
    """What could not be scored; none of it is in the figures."""
    elapsed: float = 0.0
    """Wall time that forecasting took, in seconds."""

    def __str__(self) -> str:
        parts = [f"{name.upper()} {self.figures[name]:.3f}{self._between(name)}" for name in ("mse", "mae")]
        season = self.figures["season_mae"]
        peer = "a season ago" if season < self.figures["last_mae"] else "the last value"
        skill = self.figures["skill"]
        parts.append(f"absolute error {abs(skill):.1%} {'above' if skill < 0 else 'below'} that of {peer}")
        if self.nominal:
            parts.append(f"{self.figures['coverage']:.1%} of values within the {self.nominal:.0%} interval")
            naive = self.figures["season_crps"]
            seasonal = f", of a season ago {naive:.3f}" if math.isfinite(naive) else ""
            parts.append(f"CRPS {self.figures['crps']:.3f}{self._between('crps')}{seasonal}")
        windows = f"{self.windows:,} windows of {self.horizon:,} samples, {self.blocks:,} blocks"
        return f"{'; '.join([', '.join(parts[:2]) + ' in standard deviations', *parts[2:]])}. {windows}."

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "figures": {name: finite(value) for name, value in self.figures.items()},
            "intervals": {name: list(map(finite, pair)) for name, pair in self.intervals.items()},
            "nominal_coverage": self.nominal,
            "windows": self.windows,
            "blocks": self.blocks,
            "horizon": self.horizon,
            "step_mae": self.step_mae.tolist(),
            "channel_mae": self.channel_mae.tolist(),
            "faults": [str(fault) for fault in self.faults],
            "seconds": self.elapsed,
        }

    def _between(self, name: str) -> str:
        low, high = self.intervals[name]
        return f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else ""


@options_as_keywords(ForecasterEvaluation)
def evaluate_forecaster(  # noqa: D417 - the decorator adds the options
    model: Any,
    examples: Sequence[Example],
    *,
    options: ForecasterEvaluation,
    faults: Faults | None = None,
    progress: Callable[[str], object] | None = None,
) -> ForecastReport:
    """Forecast every window of series, and compare the forecasts with the true values.

    Args:
        model: A forecaster, or its path.
        examples: Examples of a manifest; a window forecasts samples of the example from those before, see
            `speechrnn.pipeline.windows`.
        faults: Earlier faults, such as those of reading the manifest; new ones are added.
        progress: Called with the path of each example once it is done.

    Raises:
        ValueError: The season does not fit, or no window can be made.

    Reference:
        Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", JASA 102, 2007, for the CRPS;
        Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17, 1989,
        for drawing blocks.
    """
    model = open_model(model, "forecaster")
    season, batch_size = options.season, options.batch_size
    if season is not None and not 1 <= season <= model.context:
        raise ValueError(f"`season` must be 1 to the model's context, {model.context}. Received: season={season}.")
    collected = Faults() if faults is None else faults
    plan = pipeline.plan_windows(
        examples, rate=model.sample_rate, channels=model.channels, context=model.context, horizon=model.horizon,
        every=options.every, batch_size=batch_size, known=model.known, calendar=model.calendar, faults=collected,
    )  # fmt: skip
    scale, started = model.scale.astype(np.float64), time.perf_counter()
    block = _blocks(plan.origins, model.horizon)
    sums = np.zeros((int(block.max()) + 1, len(_SUMS)))
    by_step, by_channel = np.zeros(model.horizon), np.zeros(len(scale))
    ends, reported = np.cumsum(np.bincount(plan.origins[:, 0])), 0
    for step in range(plan.steps):
        batch = plan.load(0, step)
        count = int(batch.weight.sum())
        past, future = batch.values[:count, : model.context], batch.target[:count]
        ahead = batch.values[:count, model.context :, model.channels :]
        forecasts = model.predict_quantiles(past, *([ahead] if ahead.size else []))
        past = past[..., : model.channels]
        errors = np.abs(forecasts[..., model.median] - future) / scale
        peers = [np.abs(peer - future) / scale for peer in (past[:, -1:], _repeated(past, season, model.horizon))]
        within = (forecasts[..., 0] <= future) & (future <= forecasts[..., -1])
        season_quantiles = _season_quantiles(past, season, model.horizon, model.quantiles)
        crps = [_pinball(future, quantiles, model.quantiles) / scale for quantiles in (forecasts, season_quantiles)]
        each = (np.square(errors), errors, *peers, within, *crps, np.ones_like(errors))
        tally = np.stack([values.sum((1, 2), dtype=np.float64) for values in each], axis=-1)
        np.add.at(sums, block[step * batch_size : step * batch_size + count], tally)
        by_step += errors.sum((0, 2))
        by_channel += errors.sum((0, 1))
        if progress is not None:
            done = int((ends <= step * batch_size + count).sum())
            for example in plan.examples[reported:done]:
                progress(example.path)
            reported = done
    windows = len(plan.origins)
    intervals = metrics.bootstrap(sums, _figures, seed=options.seed)
    if len(sums) < _FEWEST_BLOCKS:
        intervals = dict.fromkeys(intervals, (math.nan, math.nan))
    return ForecastReport(
        figures={name: float(value) for name, value in _figures(sums.sum(0)).items()},
        intervals=intervals,
        blocks=len(sums),
        nominal=model.quantiles[-1] - model.quantiles[0],
        windows=windows,
        horizon=model.horizon,
        step_mae=by_step / (windows * len(scale)),
        channel_mae=by_channel / (windows * model.horizon) * scale,
        faults=tuple(collected),
        elapsed=time.perf_counter() - started,
    )


def print_report(report: ForecastReport, channels: Sequence[str] = (), console: Console | None = None) -> None:
    """Print a report; to standard output unless a console is given.

    Args:
        report: What to print.
        channels: Names of the channels.
        console: Where to.
    """
    console = reports.print_summary(report, console)
    ahead = []
    for first, last in _stretches(report.horizon):
        name = f"{first + 1:,}" if last == first + 1 else f"{first + 1:,} to {last:,}"
        ahead.append((name, f"{report.step_mae[first:last].mean():.3f}"))
    console.print(reports.table(("Samples ahead", "MAE"), ahead))
    names = channels or [str(index) for index in range(len(report.channel_mae))]
    channel_rows = [(name, f"{value:.4g}") for name, value in zip(names, report.channel_mae, strict=False)]
    console.print(reports.table(("Channel", "MAE in its unit"), channel_rows))


def _figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Figures from sums `(..., sums)`."""
    squares, errors, last, season, within, crps, season_crps, values = np.moveaxis(np.asarray(sums, np.float64), -1, 0)
    return {
        "mse": squares / values,
        "mae": errors / values,
        "last_mae": last / values,
        "season_mae": season / values,
        "skill": 1 - errors / np.fmin(last, season),
        "coverage": within / values,
        "crps": crps / values,
        "season_crps": season_crps / values,
    }


def _blocks(origins: np.ndarray, horizon: int) -> np.ndarray:
    """Which block each window belongs to, counted through all series; none is empty."""
    starts = origins[:, 1].copy()
    for series in range(int(origins[:, 0].max()) + 1):
        in_series = origins[:, 0] == series
        starts[in_series] = (starts[in_series] - starts[in_series].min()) // horizon
    return np.unique(np.stack([origins[:, 0], starts], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _repeated(past: np.ndarray, season: int | None, horizon: int) -> np.ndarray:
    """The last season of `(windows, context, channels)` over and over, for `horizon` samples; NaN without a season."""
    if season is None:
        return np.full((len(past), 1, 1), np.nan, np.float32)
    return past[:, -season:][:, np.arange(horizon) % season]


def _pinball(truth: np.ndarray, forecast: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Twice the pinball loss of `(..., quantiles)`, on average over these: `(...)`."""
    shares = np.asarray(quantiles, np.float64)
    error = truth[..., None].astype(np.float64) - forecast
    return 2 * np.maximum(shares * error, (shares - 1) * error).mean(-1)


def _season_quantiles(past: np.ndarray, season: int | None, horizon: int, quantiles: Sequence[float]) -> np.ndarray:
    """The last season of `(windows, context, channels)` with quantiles around it; NaN where there are not two seasons.

    Their spread is that of the differences to a season before, and grows by the root of the seasons ahead (Hyndman and
    Athanasopoulos, "Forecasting: principles and practice", 3rd edition, section 5.5).
    """
    middle = _repeated(past, season, horizon)[..., None]
    if season is None or past.shape[1] < 2 * season:
        return np.full_like(middle, np.nan)
    spread = (past[:, season:] - past[:, :-season]).std(1)[:, None, :, None]
    ahead = np.sqrt(1 + np.arange(horizon) // season)[:, None, None]
    normal = statistics.NormalDist()
    return middle + spread * ahead * np.array([normal.inv_cdf(share) for share in quantiles])


def _stretches(horizon: int) -> list[tuple[int, int]]:
    """1, 2 to 3, 4 to 7, ... samples ahead."""
    edges = [2**power - 1 for power in range(horizon.bit_length())]
    return [(first, min(2 * first + 1, horizon)) for first in edges if first < horizon]
