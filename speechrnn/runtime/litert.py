"""LiteRT models of one step, for small devices, with the interface of an ONNX Runtime session."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechrnn.runtime import onnxfile

METADATA = "speechrnn.json"
"""Name of the entry with the metadata, in a zip archive that follows the model."""
_LARGEST_METADATA = 1 << 26


class LiteRtFile(NamedTuple):
    """A file that `read` has checked."""

    content: bytes
    metadata: dict[str, Any]
    name: str = "The model"
    """Where it comes from, for errors."""


def is_litert(model: str | os.PathLike[str] | bytes) -> bool:
    """Whether a file or its bytes are a TensorFlow Lite model, by the file's ending or its first bytes."""
    if isinstance(model, bytes):
        return model[4:8] == b"TFL3"
    with open(model, "rb") as file:
        return os.fspath(model).endswith(".tflite") or file.read(8)[4:] == b"TFL3"


def read(model: str | os.PathLike[str] | bytes) -> LiteRtFile:
    """Read a file that `speechrnn export --format litert` wrote.

    Raises:
        OSError: It cannot be read.
        ValueError: It is cut off, was written by another program, or is of another format version.
    """
    content, name = (model, "The model") if isinstance(model, bytes) else (Path(model).read_bytes(), os.fspath(model))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entry = archive.getinfo(METADATA)
            if entry.file_size > _LARGEST_METADATA:
                raise ValueError(f"{entry.file_size:,} bytes of metadata")
            properties = json.loads(archive.read(METADATA))
            digest = hashlib.sha256(memoryview(content)[: archive.infolist()[0].header_offset]).hexdigest()
        metadata = {key.removeprefix(onnxfile.PREFIX): json.loads(value) for key, value in properties.items()}
    except (zipfile.BadZipFile, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: is cut off, or was not written by `speechrnn export --format litert`. Export the model again."
        ) from error
    if metadata.get("format_version") != onnxfile.FORMAT_VERSION:
        raise ValueError(
            f"{name}: must be of format version {onnxfile.FORMAT_VERSION}. Received: a {metadata.get('kind')} of "
            f"version {metadata.get('format_version')}. Export the model again with this speechrnn."
        )
    if metadata.get("digest", digest) != digest:  # files of older versions have none
        raise ValueError(f"{name}: is damaged: it does not hold the model that was written. Copy it again.")
    return LiteRtFile(content, metadata, name)


class Runner:
    """A LiteRT interpreter with the `run` method of an `onnxruntime.InferenceSession`; needs `speechrnn[litert]`.

    Several threads may run it: an interpreter holds its inputs and outputs, so that one waits for another.

    Args:
        file: The model.
        threads: Processor threads.

    Raises:
        ModuleNotFoundError: ai-edge-litert is not installed.
        ValueError: LiteRT cannot run it.
    """

    def __init__(self, file: LiteRtFile, threads: int) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{file.name}: a .tflite model needs ai-edge-litert. Install it: pip install 'speechrnn[litert]'"
            ) from error
        try:
            self._signature = Interpreter(model_content=file.content, num_threads=threads).get_signature_runner()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{file.name}: LiteRT cannot run it: {reason}") from error
        self._alone = threading.Lock()

    def get_providers(self) -> list[str]:
        """An empty list: LiteRT has no execution providers."""
        return []

    def run(self, outputs: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The named outputs for inputs by name."""
        with self._alone:
            results = self._signature(**feed)
        return [results[name] for name in outputs]
