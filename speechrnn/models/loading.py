"""Open a model: a bundle from a `.keras` file, or a session from an `.onnx` or `.tflite` file or a cached export."""

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
    "open_model",
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
"""Names and descriptions of the models included in the package."""

PRONUNCIATION = "english_pronunciation"
"""The included model that pronounces words if neither a model nor a lexicon is given."""

DEFAULT = "english"
"""The included model that transcribes if no model is given; `default` is another name for it."""


def load(
    model: str | os.PathLike[str], *, kind: str | None = None, threads: int | None = None, streaming: bool = False
) -> Any:
    """Open a model.

    Args:
        model: Path of a `.keras`, `.onnx` or `.tflite` file, or the name of an included model (`SHIPPED`).
        kind: Name of the kind it must be, such as "recognizer"; None for any.
        threads: Processor threads of a session; by default as many as this process may use, up to eight.
        streaming: Open a streaming recognizer, with `push` and `finish`: it works block by block if the model can
            stream, and otherwise in windows of some seconds.

    Returns:
        For a `.keras` file the bundle, a Keras model, if TensorFlow is installed; otherwise a session. Both have the
        methods of their kind: `transcribe`, `classify` or `forecast`, and `evaluate` and `export`.

    Raises:
        FileNotFoundError: The file does not exist.
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
    """Like `load`, but always returns the Keras model in a `.keras` file."""
    bundle = _with_tensorflow(path, "speechrnn.models.bundle:read")(path)
    if not isinstance(getattr(bundle, "kind", None), str):
        raise ValueError(
            f"{os.fspath(path)}: must hold a model of speechrnn. Received: a {type(bundle).__name__}, which another "
            "program wrote."
        )
    return _checked(bundle, path, kind)


def load_session(
    model: str | os.PathLike[str], *, kind: str | None = None, threads: int | None = None, streaming: bool = False
) -> Any:
    """Like `load`, but always returns a session: a `.keras` file is exported on first use, and the export is cached.

    Args:
        model: See `load`.
        kind: See `load`.
        threads: See `load`.
        streaming: See `load`.
    """
    path = file_of(model)
    if is_keras(path):
        file: Any = cache.load_or_export(path, lambda: _exported(path, streaming), streaming=streaming)
    else:
        file = session.read(path)
    file_kind = str(file.metadata.get("kind"))
    with file_faults(path):
        model_kind = kinds.named(file_kind)
    if kind is not None and model_kind.name != kind:
        raise _other_kind(path, model_kind, kind)
    if not streaming or file_kind.startswith("streaming "):
        return kinds.resolve(model_kind.sessions[file_kind])(file, threads=threads)
    if file_kind not in model_kind.listening:
        raise ValueError(
            f"{path}: must hold a model that can listen. Received: a {file_kind}, which needs whole signals. Export a "
            "one-directional model with `speechrnn export --model MODEL.keras --streaming`."
        )
    return kinds.resolve(model_kind.listening[file_kind])(file, threads=threads)


def kind_in(model: str | os.PathLike[str]) -> kinds.Kind | None:
    """The kind of the model in a file, without loading it; None if the file cannot be read or its kind is unknown."""
    try:
        path = file_of(model)
        if not is_keras(path):
            return kinds.named(str(session.read(path).metadata.get("kind")))
        with zipfile.ZipFile(path) as archive:
            name = json.loads(archive.read("config.json")).get("class_name")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return next(
        (kind for kind in kinds.kinds() if any(each.endswith(f":{name}") for each in (kind.model, *kind.classes))), None
    )


def open_model(model: Any, kind: str, *, where: str | os.PathLike[str] = "The model") -> Any:
    """Check the kind of a model that is open, or open the session of one at a path; None opens the default model.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The model is of another kind.
    """
    if model is None or isinstance(model, str | os.PathLike):
        return load_session(DEFAULT if model is None else model, kind=kind)
    return _checked(model, where, kind)


def shipped(name: str = DEFAULT) -> Path:
    """The file of an included model.

    Raises:
        FileNotFoundError: This installation does not contain it.
    """
    path = _PRETRAINED / f"{name}.onnx"
    if not path.exists():
        raise FileNotFoundError(f"{path}: this installation has no model of its own. Give a model.")
    return path


def is_keras(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of Keras: it begins as a zip archive does, or ends in `.keras`.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
    """
    onnxfile.check_path(path)
    with open(path, "rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or os.fspath(path).endswith(".keras")


def needs_tensorflow(path: str | os.PathLike[str], *, streaming: bool = False) -> bool:
    """Whether `load_session` would have to export the model first."""
    path = file_of(path)
    return is_keras(path) and not cache.cached_path(path, streaming=streaming).exists()


def file_of(model: str | os.PathLike[str] | None) -> str:
    """The file of a model: a path, or the name of an included model if no file has this name; None is the default."""
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
        model_kind = kinds.of(model)
    except TypeError as error:
        raise ValueError(
            f"{os.fspath(where)}: must be {kinds.with_article(kind)}. Received: a {type(model).__name__}."
        ) from error
    if model_kind.name != kind:
        raise _other_kind(where, model_kind, kind)
    return model


def _other_kind(where: str | os.PathLike[str], actual: kinds.Kind, required: str) -> ValueError:
    return ValueError(
        f"{os.fspath(where)}: must be {kinds.with_article(kinds.named(required).noun)}. Received: "
        f"{kinds.with_article(actual.noun)}, see `speechrnn {actual.method}`."
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
