"""What `train` asks for a new forecaster."""

from __future__ import annotations

import argparse
from typing import Any

from speechrnn.cli.options import Parser

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
