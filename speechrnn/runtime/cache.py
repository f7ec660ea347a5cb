"""A cache of exports of `.keras` files, by the hash of their content."""

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


def cached_path(path: str | os.PathLike[str], *, streaming: bool = False) -> Path:
    """The cache file of a `.keras` file's export, named by its content's hash and the writer's versions."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    suffix = "-streaming" if streaming else ""
    return cache_folder() / f"{digest[:32]}-{onnxfile.FORMAT_VERSION}-{speechrnn.__version__}{suffix}.onnx"


def load_or_export(path: str, export: Callable[[], bytes], *, streaming: bool = False) -> onnxfile.OnnxFile:
    """The export of a `.keras` file, from the cache if it is there and valid.

    If the cache cannot be written, the file is exported each time.

    Args:
        path: The file.
        export: Makes the export.
        streaming: Whether it is the export of one step, for streams.
    """
    try:
        target = cached_path(path, streaming=streaming)
    except OSError as error:
        if not os.path.isfile(path):
            raise
        _log.info("%s is exported each time: %s", path, error)
        return onnxfile.read(export())
    if target.exists():
        try:
            return onnxfile.read(target)
        except (OSError, ValueError) as error:
            _log.info("%s cannot be used and is rebuilt: %s", target, error)
    content = export()
    try:
        with replacing(target, overwrite=True) as file:
            file.write(content)
    except OSError as error:
        _log.info("%s cannot be kept (%s): %s is exported each time.", target, error.strerror or error, path)
    return onnxfile.read(content)
