"""A new forecaster for a manifest of series."""

from collections.abc import Sequence
from typing import Any

from speechrnn.data.examples import probe_example, read_example, readable
from speechrnn.data.manifest import Example
from speechrnn.features import RawSignal
from speechrnn.pipeline.windowing import MAX_GAP
from speechrnn.tasks.forecasting.model import Forecaster
from speechrnn.tasks.forecasting.network import recurrent_forecaster


def for_manifest(
    examples: Sequence[Example],
    *,
    context: int,
    horizon: int,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    **network: Any,
) -> Forecaster:
    """A forecaster that has learned nothing; rate, channels and scale are those of the series.

    Args:
        examples: Series, or parts of them.
        context: Samples to forecast from.
        horizon: Samples to forecast.
        quantiles: Which quantiles of each value to forecast.
        **network: Options of `recurrent_forecaster`, such as `units` and `layers`.

    Raises:
        OSError, ValueError: There is no series, the first one cannot be read, or an option is out of its range.
    """
    if not examples:
        raise ValueError("A forecaster needs a manifest with at least one series. Received none.")
    info = probe_example(examples[0])
    count = len(info.channels)
    features = RawSignal(info.rate, window=1, hop=1, channels=count, normalize="global")
    max_gap = MAX_GAP / info.rate
    features.adapt(readable(examples, lambda e: read_example(e, channels=count, max_gap=max_gap)[0]))
    made = recurrent_forecaster(channels=count, context=context, horizon=horizon, quantiles=len(quantiles), **network)
    return Forecaster(features, made, context, quantiles, card={"channels": list(info.channels)})
