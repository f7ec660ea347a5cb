"""The options of decoding, which several verbs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group


def groups(*, skip: tuple[str, ...] = ()) -> tuple[Group, ...]:
    """`--beam`, `--lm`, `--rescore` and their like."""
    return (
        Group("speechrnn.decoding.options:decoder", skip=skip),
        Group("speechrnn.tasks.language.rescoring:decoder", skip=skip),
    )


def chosen(given: Mapping[str, Any], model: Any) -> Any:
    """The decoder that the given options ask for, or that the model's file carries."""
    from speechrnn.tasks.recognition import carried

    terminal.start_for(given.get("rescore"))
    return carried.decoder(model, **given)


def calibration(path: str | None) -> Any:
    """The calibration in a file, if one was named."""
    if path is None:
        return None
    from speechrnn.metrics.calibration import Calibration

    return Calibration.read(path)
