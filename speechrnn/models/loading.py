"""Any model as a session: an `.onnx` as it is, a `.keras` exported once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import speechrnn
from speechrnn.files import replacing
from speechrnn.runtime import onnxfile
from speechrnn.runtime.session import Session
from speechrnn.tasks.classification.session import KIND as CLASSIFIER
from speechrnn.tasks.classification.session import ClassifierSession
from speechrnn.tasks.forecasting.session import KIND as FORECASTER
from speechrnn.tasks.forecasting.session import ForecasterSession
from speechrnn.tasks.recognition.litert import LiteRtSession, is_litert
from speechrnn.tasks.recognition.streaming import KIND, StreamingSession

CACHE_VARIABLE = "SPEECHRNN_CACHE"
"""Environment variable that names another folder for exported models."""

_log = logging.getLogger(__name__)


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> Session | StreamingSession:
    """A session of a recogniser in an `.onnx` or `.keras` file.

    A `.keras` is exported when it is first used, which needs TensorFlow, and kept under the hash of its content; a
    cache that cannot be written costs time and nothing else.

    Args:
        path: The model.
        threads: See `Session`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no recogniser, or has a layer that cannot be exported.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    path = os.fspath(path)
    if not is_keras(path):
        if is_litert(path):
            return LiteRtSession(path, threads=threads or 1)
        if onnxfile.read(path).metadata.get("kind") == KIND:  # takes whole signals too, block by block
            return StreamingSession(path, threads=threads or 1)
        return Session(path, threads=threads)
    return Session(kept(path), threads=threads)


def load_streaming(path: str | os.PathLike[str], *, threads: int = 1) -> StreamingSession:
    """As `load`, for a model that runs block by block.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no recogniser, or one that needs whole signals.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    path = os.fspath(path)
    if is_keras(path):
        return StreamingSession(kept(path, streaming=True), threads=threads)
    return (LiteRtSession if is_litert(path) else StreamingSession)(path, threads=threads)


def load_classifier(path: str | os.PathLike[str], *, threads: int | None = None) -> ClassifierSession:
    """As `load`, for a classifier.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no classifier, or has a layer that cannot be exported.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    path = os.fspath(path)
    return ClassifierSession(kept(path) if is_keras(path) else path, threads=threads)


def load_forecaster(path: str | os.PathLike[str], *, threads: int | None = None) -> ForecasterSession:
    """As `load`, for a forecaster.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no forecaster, or has a layer that cannot be exported.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    path = os.fspath(path)
    return ForecasterSession(kept(path) if is_keras(path) else path, threads=threads)


def load_any(
    path: str | os.PathLike[str], *, threads: int | None = None
) -> Session | StreamingSession | ClassifierSession | ForecasterSession:
    """As `load`, for a recogniser, a classifier or a forecaster, whichever the file holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is none of them, or has a layer that cannot be exported.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    path = os.fspath(path)
    if not is_keras(path):
        return _SESSIONS.get(kind_of(path), load)(path, threads=threads)
    content = kept(path)  # read and hashed once
    kind = onnxfile.read(content).metadata.get("kind")
    return _SESSIONS.get(str(kind), Session)(content, threads=threads)


_SESSIONS: dict[str, Callable[..., ClassifierSession | ForecasterSession]] = {
    CLASSIFIER: ClassifierSession,
    FORECASTER: ForecasterSession,
}


def kind_of(path: str | os.PathLike[str]) -> str:
    """What a model file holds, as its export says: "classifier", "forecaster", "recognizer" or another kind.

    A `.keras` is exported first.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no model of ours, or has a layer that cannot be exported.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    path = os.fspath(path)
    if not is_keras(path) and is_litert(path):
        return "recognizer"
    return str(onnxfile.read(kept(path) if is_keras(path) else path).metadata.get("kind"))


def kept(path: str, *, streaming: bool = False, exported: Callable[[str], bytes] | None = None) -> bytes:
    """The export of a `.keras` file, from the cache where it is there and whole.

    Args:
        path: The file.
        streaming: Of a recogniser, the graph of one step.
        exported: Makes the export of a file that is no recogniser, classifier or forecaster.
    """
    kept = cached(path, streaming=streaming)
    if kept.exists():
        try:
            return onnxfile.read(kept).content
        except (OSError, ValueError) as error:
            _log.info("%s cannot be used and is made anew: %s", kept, error)
    content = _with_tensorflow(path, exported or (lambda path: _exported(path, streaming)))
    try:
        with replacing(kept, overwrite=True) as file:
            file.write(content)
    except OSError as error:
        _log.info("%s cannot be kept (%s): %s is exported each time.", kept, error.strerror or error, path)
    return content


def is_keras(path: str | os.PathLike[str]) -> bool:
    """Whether a file is to be read by Keras: by its first bytes, those of a zip archive, or by its ending.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)}: no such model file.")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{os.fspath(path)}: is a folder. A model is one .keras or .onnx file.")
    with open(path, "rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or os.fspath(path).endswith(".keras")


def needs_tensorflow(path: str | os.PathLike[str], *, streaming: bool = False) -> bool:
    """Whether `load`, or `load_streaming`, would have to export the model first."""
    return is_keras(path) and not cached(path, streaming=streaming).exists()


def cached(path: str | os.PathLike[str], *, streaming: bool = False) -> Path:
    """Where the export of a `.keras` file is kept: by its content, and by what wrote it."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kind = "-streaming" if streaming else ""
    return cache_folder() / f"{digest[:32]}-{onnxfile.FORMAT_VERSION}-{speechrnn.__version__}{kind}.onnx"


def cache_folder() -> Path:
    """The user's folder for exported models."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches").expanduser()
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser()
    else:
        base = Path("~/.cache").expanduser()
    return base / "speechrnn" / "models"


def _exported(path: str, streaming: bool) -> bytes:
    from speechrnn.export.writing import onnx_bytes, step_bytes
    from speechrnn.tasks.recognition.model import load as load_recogniser
    from speechrnn.tasks.recognition.model import load_bundle

    return step_bytes(load_recogniser(path)) if streaming else onnx_bytes(load_bundle(path))


def _with_tensorflow(path: str, exported: Callable[[str], bytes]) -> bytes:
    try:
        return exported(path)
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras", "onnx"):
            raise
        raise ModuleNotFoundError(
            f"{path}: a .keras model needs TensorFlow. Install it: pip install 'speechrnn[train]'. Or export the model "
            "where TensorFlow is (speechrnn export), and give the .onnx.",
            name=error.name,
        ) from error
