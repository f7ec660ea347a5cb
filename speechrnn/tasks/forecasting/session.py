"""A forecaster run by ONNX Runtime: past values go in, forecasts come out, and no TensorFlow is started."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.forecasting.methods import Forecasts


class ForecasterSession(Forecasts, Session):
    """A forecaster that `speechrnn export` wrote, ready to run.

    It stands wherever a `speechrnn.models.protocols.ForecastModel` is asked for. Loading it starts neither
    TensorFlow nor Keras.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    holds = "forecaster"
    noun = "forecaster"

    def _prepare(self) -> None:
        for name in ("channels", "context", "horizon"):
            self.require(name, lambda n: isinstance(n, int) and n > 0, "be a positive whole number")
        self.require("quantiles", lambda found: list(found) == sorted(found) and 0 < min(found) <= max(found) < 1,
                     "rise, and lie between 0 and 1")  # fmt: skip
        self.known, self.calendar = (tuple(self.metadata.get(name, ())) for name in ("known", "calendar"))
        self.require(
            "scale", lambda found: len(found) == self.channels and min(found) > 0, "be positive, one per channel"
        )

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Columns that are forecast."""
        return self.metadata["channels"]

    @property
    def context(self) -> int:  # type: ignore[override]
        """Samples that a forecast is made from."""
        return self.metadata["context"]

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Samples that are forecast."""
        return self.metadata["horizon"]

    @property
    def quantiles(self) -> tuple[float, ...]:  # type: ignore[override]
        """What is forecast of each sample."""
        return tuple(self.metadata["quantiles"])

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of each channel in the training series, float32 `(channels,)`."""
        return np.array(self.metadata["scale"], np.float32)

    def _forecasts(self, read: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(self._run(["forecast"], read)[0])
