"""Build a forecaster for a manifest of series."""

from collections.abc import Sequence
from typing import Any

from speechrnn.data.examples import probe_example, read_series, readable
from speechrnn.data.manifest import Example
from speechrnn.features import RawSignal
from speechrnn.pipeline.windowing import MAX_GAP
from speechrnn.signals.calendar import checked_cycles
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
    """Build an untrained forecaster with the rate, channels and scale of series.

    Args:
        examples: Series, or parts of them. `known` of their `extra` names columns whose values are known ahead,
            `calendar` cycles of `speechrnn.signals.calendar`; they must be the same for all.
        context: Samples to forecast from.
        horizon: Samples to forecast.
        quantiles: Which quantiles of each value to forecast.
        **network: Options of `recurrent_forecaster`, such as `units` and `layers`.

    Raises:
        OSError, ValueError: There is no series, the first one cannot be read, or an option is out of its range.
    """
    if not examples:
        raise ValueError("A forecaster needs a manifest with at least one series. Received none.")
    known, calendar = told = _ahead(examples[0])
    if other := next((example for example in examples if _ahead(example) != told), None):
        raise ValueError(
            f"{other.path}: `known` and `calendar` must be those of the first series, {list(known)} and "
            f"{list(calendar)}. Received: {list(map(list, _ahead(other)))}."
        )
    info = probe_example(examples[0])
    named = [name for name in info.channels if name not in known]
    beside = len(known) + 2 * len(checked_cycles(calendar))
    features = RawSignal(info.rate, window=1, hop=1, channels=len(named) + beside, normalize="global")
    how = {"channels": len(named), "known": known, "calendar": calendar, "max_gap": MAX_GAP / info.rate}
    features.adapt(readable(examples, lambda e: read_series(e, **how)[0]))
    sizes = {"channels": len(named), "context": context, "horizon": horizon, "quantiles": len(quantiles)}
    made = recurrent_forecaster(**sizes, known=beside, **network)
    return Forecaster(features, made, context, quantiles, known=known, calendar=calendar, card={"channels": named})


def _ahead(example: Example) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(example.extra.get("known") or ()), tuple(example.extra.get("calendar") or ())
