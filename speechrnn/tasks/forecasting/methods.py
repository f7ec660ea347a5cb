"""Methods that all forecasters share, bundles and sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from speechrnn.faults import options_as_keywords
from speechrnn.models.answers import ModelMethods, OnError
from speechrnn.runtime.batches import check_signals
from speechrnn.tasks.forecasting.options import ForecastOptions
from speechrnn.tasks.forecasting.quantiles import nearest_half


class ForecasterMethods(ModelMethods):
    """The methods of forecasters."""

    channels: int
    context: int
    horizon: int
    quantiles: tuple[float, ...]
    known: tuple[str, ...]
    """Columns whose values are known ahead, such as forecasts of the weather, prices and holidays."""
    calendar: tuple[str, ...]
    """Cycles of `speechrnn.signals.calendar` whose sine and cosine are known ahead."""

    @property
    def columns(self) -> int:
        """Columns of a series: channels, known ones, sine and cosine of each cycle."""
        return self.channels + len(self.known) + 2 * len(self.calendar)

    @property
    def median(self) -> int:
        """Index of the quantile that is nearest to one half: the forecast, where one number is wanted."""
        return nearest_half(self.quantiles)

    def predict_quantiles(self, signals: Sequence[np.ndarray], ahead: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Forecasts of series in memory at `sample_rate`.

        Args:
            signals: float32 `(samples, columns)` each, in the unit of the training series; of longer ones the last
                `context` samples are read, shorter ones are read whole.
            ahead: For each series what is known of the samples to forecast, float32 `(horizon, columns - channels)`, if
                the model has columns known ahead or a calendar.

        Returns:
            float32 `(signals, horizon, channels, quantiles)`.

        Raises:
            ValueError: A signal has another number of columns, or no sample; `ahead` is missing or does not fit.
        """
        read = self._with_ahead(signals, ahead)
        if not read:
            return np.zeros((0, self.horizon, self.channels, len(self.quantiles)), np.float32)
        return self._forecasts(read)

    def _forecasts(self, read: Sequence[np.ndarray]) -> np.ndarray:
        """What the network makes of what it reads of each series, see `_with_ahead`."""
        raise NotImplementedError

    def _with_ahead(self, signals: Sequence[np.ndarray], ahead: Sequence[np.ndarray] | None) -> list[np.ndarray]:
        """What the network reads of series: the last of each, and behind it what is known ahead, beside zeros.

        Raises:
            ValueError: Something has another shape, is missing, or is not finite.
        """
        check_signals(signals, self.columns, 1)
        past, width = [signal[-self.context :] for signal in signals], self.columns - self.channels
        shape = (self.horizon, width)
        if not width:
            if ahead is not None:
                raise ValueError(
                    "`ahead` is for forecasters with columns known ahead, or a calendar; this has neither."
                )
            return past
        if ahead is None or len(ahead) != len(signals):
            received = "none" if ahead is None else f"{len(ahead)} for {len(signals)} series"
            raise ValueError(f"`ahead` must hold what is known, {shape}, for each series. Received: {received}.")
        for index, values in enumerate(ahead):
            if np.shape(values) != shape or not np.isfinite(values).all():
                what = "values that are not finite" if np.shape(values) == shape else f"shape {np.shape(values)}"
                raise ValueError(f"What is known ahead must be finite, {shape}. Received: {what} (series {index}).")
        unknown = np.zeros((self.horizon, self.channels), np.float32)
        return [
            np.concatenate([values, np.concatenate([unknown, known], axis=1)])
            for values, known in zip(past, ahead, strict=True)
        ]

    @options_as_keywords(ForecastOptions)
    def forecast(  # noqa: D417 - the decorator adds the options
        self,
        sources: Any,
        *,
        options: ForecastOptions,
        on_error: OnError = "raise",
        table: Any = None,
        progress: Callable[[str], object] | None = None,
    ) -> Any:
        """Forecast the values that follow one record, or each of several.

        Args:
            sources: A file of signals, or an iterable of these. For series in memory there is `predict_quantiles`.
            on_error: "raise" raises what is wrong with a record; "collect" gives a forecast whose `ok` is false and
                whose `error` says why.
            table: How to read tables that can be read in several ways, see `speechrnn.signals.read`.
            progress: Called with the path of each record once it is done.

        Returns:
            A `Forecast` for one file; for several an iterator of them, in the order given.

        Raises:
            OSError, ValueError: With "raise", what is wrong with a record.
        """
        from speechrnn.tasks.forecasting.forecast import Forecast

        return self._answer(Forecast, sources, on_error, table=table, progress=progress, **vars(options))
