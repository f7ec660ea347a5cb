"""A new forecaster for a manifest of series."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from speechrnn import signals
from speechrnn.cli.options import Parser
from speechrnn.data.examples import chosen_channels, read_example
from speechrnn.data.manifest import Example

if TYPE_CHECKING:
    from speechrnn.tasks.forecasting.model import Forecaster

NETWORK = "speechrnn.tasks.forecasting.network:recurrent_forecaster"
_QUANTILES = (0.1, 0.5, 0.9)
_NAMES = ("context", "horizon", "quantiles")


def add(made: Parser) -> None:
    """What only a forecaster is asked for."""
    made.add_argument("--context", type=int, metavar="N", help="with --task forecast: samples to forecast from")
    made.add_argument("--horizon", type=int, metavar="N", help="with --task forecast: samples to forecast")
    made.add_argument(
        "--quantiles", type=float, nargs="+", metavar="X",
        help="with --task forecast: what to forecast of each (default: 0.1 0.5 0.9)",
    )  # fmt: skip


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those that were given."""
    return {name: getattr(arguments, name) for name in _NAMES if getattr(arguments, name) is not None}


def check(made: Parser, arguments: argparse.Namespace) -> None:
    """Complain of what is missing, or not for this task."""
    found = given(arguments)
    if arguments.task != "forecast":
        if found:
            made.error(f"--{next(iter(found))}: only with --task forecast.")
    elif arguments.sample_rate:
        made.error(
            "--sample-rate: not for --task forecast; `prepare series --rate` says the rate of files without one."
        )
    elif not arguments.model and not {"context", "horizon"} <= set(found):
        made.error("--task forecast needs --context and --horizon, in samples.")


def make(arguments: argparse.Namespace, examples: Sequence[Example], network: dict[str, Any]) -> Forecaster:
    """A forecaster that has learnt nothing; rate and channels are those of the first series."""
    from speechrnn.features import RawSignal
    from speechrnn.pipeline.windowing import MAX_GAP
    from speechrnn.tasks.forecasting.model import Forecaster
    from speechrnn.tasks.forecasting.network import recurrent_forecaster

    first, quantiles = examples[0], arguments.quantiles or _QUANTILES
    info = signals.probe(
        first.path,
        row=first.extra.get("row"),
        rate=first.extra.get("rate"),
        channels=chosen_channels(first),
    )
    count = len(info.channels)
    features = RawSignal(info.rate, window=1, hop=1, channels=count, normalize="global")
    features.adapt(_readable(examples, count, MAX_GAP / info.rate))
    made = recurrent_forecaster(
        channels=count, context=arguments.context, horizon=arguments.horizon, quantiles=len(quantiles), **network
    )
    return Forecaster(features, made, arguments.context, quantiles, card={"channels": list(info.channels)})


def _readable(examples: Sequence[Example], channels: int, max_gap: float) -> Any:
    """Series that can be read; training names the others."""
    for example in examples:
        with suppress(OSError, ValueError):
            yield read_example(example, channels=channels, max_gap=max_gap)[0]
