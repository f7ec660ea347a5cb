"""A streaming session that LiteRT runs, as on a small device."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from speechrnn.faults import of_file
from speechrnn.runtime import onnxfile
from speechrnn.tasks.recognition.streaming import KIND, StreamingSession

METADATA = "speechrnn.json"
"""Name of the entry, in a zip archive behind the model, that says what a runtime must know."""
_LARGEST_METADATA = 1 << 26


class LiteRtSession(StreamingSession):
    """A recogniser in a `.tflite` file that `speechrnn export --to litert` wrote; needs `speechrnn[litert]`.

    Args:
        path: The file, or its bytes.
        threads: Processor threads.

    Raises:
        FileNotFoundError: There is no such file.
        ModuleNotFoundError: ai-edge-litert is not installed.
        ValueError: The file is none of ours, or cut off, or of another format version.
    """

    def __init__(self, path: str | os.PathLike[str] | bytes, *, threads: int = 1) -> None:
        name = "The model" if isinstance(path, bytes) else os.fspath(path)
        if not isinstance(path, bytes) and not os.path.exists(path):
            raise FileNotFoundError(f"{name}: no such model file.")
        content = path if isinstance(path, bytes) else Path(path).read_bytes()
        with of_file(name):
            self._prepare(_metadata(content, name))
        self._session = _interpreter(content, name, threads)

    def _steps(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """Block by block, since the shapes are fixed."""
        found = []
        for start in range(0, len(samples), self.block):
            count = max(0, min(self.stride, frames - start // self._hop))
            given = {"samples": samples[None, start : start + self.block], "frames": np.array([count], np.int32)}
            out = self._session(**given, **self._states)
            self._states = {name: out[f"next_{name}"] for name in self._shapes}
            found.append(out["logits"][0])
        return np.concatenate(found)


def is_litert(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a TensorFlow Lite model."""
    with open(path, "rb") as file:
        return file.read(8)[4:] == b"TFL3"


def _metadata(content: bytes, name: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entry = archive.getinfo(METADATA)
            if entry.file_size > _LARGEST_METADATA:
                raise ValueError(f"{entry.file_size:,} bytes of metadata")
            properties = json.loads(archive.read(METADATA))
            digest = hashlib.sha256(memoryview(content)[: archive.infolist()[0].header_offset]).hexdigest()
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"{name}: is cut off, or was not written by `speechrnn export --to litert`. Export the model again."
        ) from error
    found = {key.removeprefix(onnxfile.PREFIX): json.loads(value) for key, value in properties.items()}
    if found.get("format_version") != onnxfile.FORMAT_VERSION or found.get("kind") != KIND:
        raise ValueError(
            f"{name}: must be a {KIND} of format version {onnxfile.FORMAT_VERSION}. Received: a {found.get('kind')} of "
            f"version {found.get('format_version')}. Export the model again with this speechrnn."
        )
    if found.get("digest", digest) != digest:  # files of older versions have none
        raise ValueError(f"{name}: is damaged: it does not hold the model that was written. Copy it again.")
    return found


def _interpreter(content: bytes, name: str, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name}: a .tflite model needs ai-edge-litert. Install it: pip install 'speechrnn[litert]'"
        ) from error
    try:
        return Interpreter(model_content=content, num_threads=threads).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: LiteRT cannot run it: {str(error).strip().splitlines()[0]}") from error
