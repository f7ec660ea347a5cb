"""Run an exported forecaster without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.forecasting.methods import ForecasterMethods


class ForecasterSession(ForecasterMethods, Session):
    """A forecaster that `speechrnn export` wrote, ready to run.

    It stands wherever a `speechrnn.models.protocols.ForecastModel` is asked for. Loading it starts neither
    TensorFlow nor Keras.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "forecaster"
    noun = "forecaster"

    def _prepare(self) -> None:
        self.channels, self.context, self.horizon = (
            self.require(name, lambda n: isinstance(n, int) and n > 0, "be a positive whole number")
            for name in ("channels", "context", "horizon")
        )
        rising = self.require(
            "quantiles",
            lambda found: list(found) == sorted(found) and 0 < min(found) <= max(found) < 1,
            "rise, and lie between 0 and 1",
        )
        self.quantiles = tuple(rising)
        self.known, self.calendar = (tuple(self.metadata.get(name, ())) for name in ("known", "calendar"))
        scale = self.require(
            "scale", lambda found: len(found) == self.channels and min(found) > 0, "be positive, one per channel"
        )
        self.scale = np.array(scale, np.float32)
        """Standard deviation of each channel in the training series, float32 `(channels,)`."""

    def _forecasts(self, read: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(self._run(["forecast"], read)[0])
