"""What every forecaster can be asked, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speechrnn.faults import takes
from speechrnn.models.answers import OnError, Usable
from speechrnn.tasks.forecasting.options import ForecastOptions


class Forecasts(Usable):
    """The methods of forecasters."""

    @takes(ForecastOptions)
    def forecast(  # noqa: D417 - `takes` adds the options
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

        return self._answered(Forecast, sources, on_error, table=table, progress=progress, **vars(options))
