"""The one way to open a model: a bundle from a `.keras` file, or a session from `.onnx`, `.tflite` or an export."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import zipfile
from pathlib import Path
from typing import Any

from speechrnn.faults import file_faults, suggestion
from speechrnn.models import kinds
from speechrnn.runtime import cache, onnxfile, session

__all__ = [
    "DEFAULT",
    "PRONUNCIATION",
    "SHIPPED",
    "file_of",
    "is_keras",
    "kind_in",
    "load",
    "load_bundle",
    "load_session",
    "needs_tensorflow",
    "opened",
    "shipped",
]

_log = logging.getLogger(__name__)

_PRETRAINED = Path(__file__).parents[1] / "pretrained"

SHIPPED = {
    "english": "read English, letters, numbers and commands: 55,427 words",
    "english_letters_numbers": "English letters, numbers and commands",
    "english_letters_numbers_streaming": "the same, block by block as it is spoken",
    "english_pronunciation": "letters of English words, as phones",
    "english_voice": "English texts, which it reads aloud",
}
"""Models included in the package, by name, and what they understand."""

PRONUNCIATION = "english_pronunciation"
"""The one that pronounces words where neither a model nor a lexicon is given."""

DEFAULT = "english"
"""The one that transcribes where no model is given; `default` is another name for it."""


def load(
    model: str | os.PathLike[str], *, kind: str | None = None, threads: int | None = None, streaming: bool = False
) -> Any:
    """Open a model.

    Args:
        model: Path of a `.keras`, `.onnx` or `.tflite` file, or the name of an included model (`SHIPPED`).
        kind: Name of the kind it must be, such as "recognizer"; None for any.
        threads: Processor threads of a session; by default as many as this process may use, up to eight.
        streaming: Open a recognizer that listens, by `push` and `finish`: block by block if the model can stream, and
            otherwise through windows of some seconds.

    Returns:
        For a `.keras` file the bundle, a Keras model, if TensorFlow is installed; otherwise a session. Both have the
        methods of their kind: `transcribe`, `classify` or `forecast`, and `evaluate` and `export`.

    Raises:
        FileNotFoundError: There is no such file.
        ModuleNotFoundError: It is a `.keras` file, TensorFlow is not installed, and no export of it is cached.
        ValueError: The file is damaged, is not a model of speechrnn, or is one of another kind.
    """
    path = file_of(model)
    if (
        streaming
        or not is_keras(path)
        or (importlib.util.find_spec("tensorflow") is None and not needs_tensorflow(path))
    ):
        return load_session(path, kind=kind, threads=threads, streaming=streaming)
    return load_bundle(path, kind=kind)


def load_bundle(path: str | os.PathLike[str], *, kind: str | None = None) -> Any:
    """As `load`, always the Keras model of a `.keras` file."""
    found = _with_tensorflow(path, "speechrnn.models.bundle:read")(path)
    if not isinstance(getattr(found, "kind", None), str):
        raise ValueError(
            f"{os.fspath(path)}: must hold a model of speechrnn. Received: a {type(found).__name__}, which another "
            "program wrote."
        )
    return _checked(found, path, kind)


def load_session(
    model: str | os.PathLike[str], *, kind: str | None = None, threads: int | None = None, streaming: bool = False
) -> Any:
    """As `load`, always a session: a `.keras` file is exported when it is first used, and the export is kept.

    Args:
        model: See `load`.
        kind: See `load`.
        threads: See `load`.
        streaming: See `load`.
    """
    path = file_of(model)
    if is_keras(path):
        file: Any = cache.through(path, lambda: _exported(path, streaming), streaming=streaming)
    else:
        file = session.read(path)
    with file_faults(path):
        found, held = kinds.named(str(file.metadata.get("kind"))), str(file.metadata.get("kind"))
    if kind is not None and found.name != kind:
        raise _other_kind(path, found, kind)
    if not streaming or held.startswith("streaming "):
        return kinds.resolve(found.sessions[held])(file, threads=threads)
    if held not in found.listening:
        raise ValueError(
            f"{path}: must hold a model that can listen. Received: a {held}, which needs whole signals. Export a "
            "one-directional model with `speechrnn export --model MODEL.keras --streaming`."
        )
    return kinds.resolve(found.listening[held])(file, threads=threads)


def kind_in(model: str | os.PathLike[str]) -> kinds.Kind | None:
    """The kind of the model in a file, without opening it; None where that cannot be told."""
    try:
        path = file_of(model)
        if not is_keras(path):
            return kinds.named(str(session.read(path).metadata.get("kind")))
        with zipfile.ZipFile(path) as archive:
            name = json.loads(archive.read("config.json")).get("class_name")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return next(
        (kind for kind in kinds.kinds() if any(one.endswith(f":{name}") for one in (kind.model, *kind.classes))), None
    )


def opened(model: Any, kind: str, *, where: str | os.PathLike[str] = "The model") -> Any:
    """A model as it is, or a session of the one at a path; None is the one that ships.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is of another kind.
    """
    if model is None or isinstance(model, str | os.PathLike):
        return load_session(DEFAULT if model is None else model, kind=kind)
    return _checked(model, where, kind)


def shipped(name: str = DEFAULT) -> Path:
    """The file of a model that ships.

    Raises:
        FileNotFoundError: This installation lacks it.
    """
    path = _PRETRAINED / f"{name}.onnx"
    if not path.exists():
        raise FileNotFoundError(f"{path}: this installation has no model of its own. Give a model.")
    return path


def is_keras(path: str | os.PathLike[str]) -> bool:
    """Whether a file is to be read by Keras: by its first bytes, those of a zip archive, or by its ending.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
    """
    onnxfile.check_path(path)
    with open(path, "rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or os.fspath(path).endswith(".keras")


def needs_tensorflow(path: str | os.PathLike[str], *, streaming: bool = False) -> bool:
    """Whether `load_session` would have to export the model first."""
    path = file_of(path)
    return is_keras(path) and not cache.cached(path, streaming=streaming).exists()


def file_of(model: str | os.PathLike[str] | None) -> str:
    """The file of a model; a name that ships counts where there is no such file, and None is the one that ships."""
    path = DEFAULT if model is None else os.fspath(model)
    name = DEFAULT if path == "default" else path
    if os.path.exists(path) or name not in SHIPPED:
        hint = "" if os.path.exists(path) or os.path.splitext(path)[1] else suggestion(path, SHIPPED)
        if hint:
            raise FileNotFoundError(f"{path}: no such model file, and no included model has this name.{hint}")
        return path
    return str(shipped(name))


def _checked(model: Any, where: str | os.PathLike[str], kind: str | None) -> Any:
    if kind is None:
        return model
    try:
        found = kinds.of(model)
    except TypeError as error:
        raise ValueError(
            f"{os.fspath(where)}: must be {kinds.one(kind)}. Received: a {type(model).__name__}."
        ) from error
    if found.name != kind:
        raise _other_kind(where, found, kind)
    return model


def _other_kind(where: str | os.PathLike[str], found: kinds.Kind, kind: str) -> ValueError:
    return ValueError(
        f"{os.fspath(where)}: must be {kinds.one(kinds.named(kind).noun)}. Received: {kinds.one(found.noun)}, see "
        f"`speechrnn {found.method}`."
    )


def _exported(path: str, streaming: bool) -> bytes:
    bundle = load_bundle(path)
    write = _with_tensorflow(path, "speechrnn.export.writing:onnx_bytes")
    try:
        return write(bundle, streaming=streaming)
    except ValueError as error:
        if not streaming or bundle.kind not in kinds.of(bundle).listening:
            raise
        _log.info("%s: %s It listens through windows.", path, error)
        return write(bundle)


def _with_tensorflow(path: str | os.PathLike[str], reference: str) -> Any:
    try:
        return kinds.resolve(reference)
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "keras", "onnx"):
            raise
        raise ModuleNotFoundError(
            f"{os.fspath(path)}: a .keras model needs TensorFlow. Install it: pip install 'speechrnn[train]'. Or "
            "export the model where TensorFlow is (speechrnn export), and give the .onnx.",
            name=error.name,
        ) from error
