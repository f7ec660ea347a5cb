"""Formats to which models can be exported: one line for each, and a function in a module of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """An export format."""

    ending: str
    """Ending of its files, or folders."""
    write: str
    """`write(exporter, path, *, int8, streaming, overwrite)`, as `"module:function"`."""
    needs: str | None = None
    """Attribute of `speechrnn.export.exporter.Exporter` that must be true for it."""


TARGETS = {
    "onnx": Target(".onnx", "speechrnn.export.writing:write_onnx"),
    "savedmodel": Target(".savedmodel", "speechrnn.export.savedmodel:write", needs="takes_signals"),
    "litert": Target(".tflite", "speechrnn.export.litert:write", needs="streams"),
}
"""All formats, by name in `export(to=...)`."""


def of_ending(path: str | os.PathLike[str]) -> str | None:
    """Name of the format that a path's ending stands for; None if for none."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    return next((name for name, target in TARGETS.items() if target.ending == ending), None)
