"""The options of decoding, which several verbs share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Parser, add_options, collect

if TYPE_CHECKING:
    from speechrnn.text import Vocabulary

_FUNCTION = "speechrnn.decoding.options:decoder"
_RESCORING = "speechrnn.tasks.language.rescoring:decoder"


def add(parser: Parser, *, skip: tuple[str, ...] = ()) -> None:
    """`--beam`, `--lm`, `--rescore` and their like."""
    add_options(parser, _FUNCTION, title="decoding", prefix="decoding", skip=("vocabulary", *skip))
    add_options(parser, _RESCORING, title="rescoring", prefix="rescoring", skip=("vocabulary", *skip))


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given."""
    return collect(arguments, _FUNCTION) | collect(arguments, _RESCORING)


def chosen(arguments: argparse.Namespace, vocabulary: Vocabulary) -> Any:
    """The decoder that was asked for."""
    from speechrnn.tasks.language import rescoring

    options = given(arguments)
    terminal.start_for(options.get("rescore"))
    return rescoring.decoder(vocabulary, **options)


def calibration(path: str | None) -> Any:
    """The calibration in a file, if one was named."""
    if path is None:
        return None
    from speechrnn.metrics.calibration import Calibration

    return Calibration.read(path)
