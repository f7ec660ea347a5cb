"""Options of forecasters, in a module without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegativeInt
from speechrnn.training.options import TrainingOptions


@dataclass(frozen=True)
class ForecasterTraining(TrainingOptions):
    """How to train a forecaster; its series are kept in memory."""

    monitor: Literal["auto", "loss", "mae", "mse"] = "auto"
    """Validation figure that decides which epoch is the best: loss (auto), absolute error or
    squared error."""


@dataclass(frozen=True)
class ForecastingNetwork(CheckedOptions):
    """Options of `recurrent_forecaster`."""

    cell: Literal["lstm", "gru", "rnn"] = "gru"
    """Recurrent cell. The encoder and the decoder share it."""
    segment: Count = 24
    """Frames of a segment: a season of the data, or a part of one."""
    units: Count = 128
    """State size of a recurrent layer. It must be even."""
    decoder: Literal["parallel", "recurrent"] = "parallel"
    """"parallel" forecasts each segment in one step from the state of the encoder, "recurrent" one segment after the
    other, passing its state on."""
    instance_scale: bool = False
    """Divide each channel of the context by its own standard deviation, and multiply its forecast by it, as RevIN does.
    The last value is subtracted and added again in any case."""
    dropout: Fraction = 0.0
    """Share of activations dropped in training: those before the output."""
    dtype: str | None = None
    """Policy of the layers, such as "mixed_bfloat16"; by default Keras's global policy."""


@dataclass(frozen=True, kw_only=True)
class ForecasterNetwork(ForecastingNetwork):
    """How a new forecaster is built."""

    context: Count
    """Samples to forecast from."""
    horizon: Count
    """Samples to forecast."""
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    """Which quantiles of each value are forecast."""


@dataclass(frozen=True)
class ForecastOptions:
    """How records are forecast."""

    at: float | None = None
    """Second of the record at which the forecast begins; later samples are not read. By default its end."""
    rate: float | None = None
    """Samples per second. Files that do not contain their rate need it."""
    row: int | None = None
    """Which record to read from files with many."""


@dataclass(frozen=True)
class ForecasterEvaluation(CheckedOptions):
    """How the errors of a forecaster are measured."""

    season: Count | None = None
    """Samples of a season, such as 24 of hourly values, for the error of repeating it; at most the model's context."""
    every: Count = 1
    """Samples from one window's start to the next one's."""
    batch_size: Count = 64
    """Examples in a batch: windows of a series."""
    seed: NonNegativeInt = 0
    """Seed of random numbers: those of the bootstrap."""
