"""Options of decoding, shared by several verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group


def groups(*, skip: tuple[str, ...] = ()) -> tuple[Group, ...]:
    """Groups of the decoding options, such as `--beam`, `--lm` and `--rescore`."""
    return (
        Group("speechrnn.decoding.options:decoder", skip=skip),
        Group("speechrnn.tasks.language.rescoring:decoder", skip=skip),
    )


def build_decoder(options: Mapping[str, Any], model: Any) -> Any:
    """Build the decoder for the given options, or the one stored in the model's file."""
    from speechrnn.tasks.recognition import attachments

    terminal.start_tensorflow_for(options.get("rescore"))
    return attachments.decoder(model, **options)


def calibration(path: str | None) -> Any:
    """Read a calibration, if a file is given."""
    if path is None:
        return None
    from speechrnn.metrics.calibration import Calibration

    return Calibration.read(path)
