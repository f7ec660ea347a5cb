"""Options of forecasters, in a module without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

from speechrnn.training.options import TrainingOptions

__all__ = ["ForecasterTraining"]


@dataclass(frozen=True)
class ForecasterTraining(TrainingOptions):
    """How to train a forecaster; its series are kept in memory."""

    monitor: Literal["auto", "loss", "mae", "mse"] = "auto"
    """Validation figure that decides which epoch is the best: loss (auto), absolute error or squared error."""
