"""Where exports of `.keras` files are kept, under the hash of their content."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import speechrnn
from speechrnn.files import cache_folder, replacing
from speechrnn.runtime import onnxfile

_log = logging.getLogger(__name__)


def cached(path: str | os.PathLike[str], *, streaming: bool = False) -> Path:
    """Where the export of a `.keras` file is kept: by its content, and by what wrote it."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    suffix = "-streaming" if streaming else ""
    return cache_folder() / f"{digest[:32]}-{onnxfile.FORMAT_VERSION}-{speechrnn.__version__}{suffix}.onnx"


def through(path: str, export: Callable[[], bytes], *, streaming: bool = False) -> onnxfile.OnnxFile:
    """The export of a `.keras` file, from the cache where it is there and whole.

    A cache that cannot be written costs time and nothing else.

    Args:
        path: The file.
        export: Makes the export.
        streaming: Whether the export is that of one step.
    """
    try:
        place = cached(path, streaming=streaming)
    except OSError as error:
        if not os.path.isfile(path):
            raise
        _log.info("%s is exported each time: %s", path, error)
        return onnxfile.read(export())
    if place.exists():
        try:
            return onnxfile.read(place)
        except (OSError, ValueError) as error:
            _log.info("%s cannot be used and is rebuilt: %s", place, error)
    content = export()
    try:
        with replacing(place, overwrite=True) as file:
            file.write(content)
    except OSError as error:
        _log.info("%s cannot be kept (%s): %s is exported each time.", place, error.strerror or error, path)
    return onnxfile.read(content)
