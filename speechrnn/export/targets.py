"""What models can be written to: one line for each target, and a function in a module of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A format of other programs."""

    ending: str
    """Of its files, or folders."""
    write: str
    """`write(exporter, path, *, int8, streaming, overwrite)`, as `"module:function"`."""
    needs: str | None = None
    """What an exporter must have for it, a flag of `speechrnn.export.exporter.Exporter`."""


TARGETS = {
    "onnx": Target(".onnx", "speechrnn.export.writing:write_onnx"),
    "savedmodel": Target(".savedmodel", "speechrnn.export.savedmodel:write", needs="takes_signals"),
    "litert": Target(".tflite", "speechrnn.export.litert:write", needs="streams"),
}
"""Every target, by its name in `export(to=...)`."""


def of_ending(path: str | os.PathLike[str]) -> str | None:
    """The target whose ending a path has; None if it has none of them."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    return next((name for name, target in TARGETS.items() if target.ending == ending), None)
