"""Check a `.keras` file before Keras opens it: it must not run code, refer to other files or unpack to a huge size."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import h5py
import keras

from speechrnn.faults import data_error, file_faults

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_UNPACKED = 20
"""A file may unpack to this many times its size, plus `_SMALL` bytes: Keras stores without compression."""
_SMALL = 1 << 24
_LARGEST_CONFIG = 1 << 26
_ROOTS = ("keras", "speechrnn", "builtins", "numpy")
_REFUSED = {
    "Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TextVectorization",
    "StringLookup", "IntegerLookup",
}  # fmt: skip
"""Layers that run code or read other files."""
_RECURRENT = {"LSTM", "GRU", "SimpleRNN"}


def check(path: str) -> None:
    """Refuse a `.keras` file that is damaged or malicious.

    Raises:
        ValueError: It is not an archive, lacks a part, is damaged, names code or other files, or unpacks to too much.
    """
    with file_faults(path):
        try:
            with zipfile.ZipFile(path) as archive:
                _check_entries(archive, os.path.getsize(path))
                with archive.open(_WEIGHTS) as file:
                    weights = _check_weights(file, archive.getinfo(_WEIGHTS).file_size)
                with archive.open(_CONFIG) as file:
                    _check_config(file, weights)
        except zipfile.BadZipFile as error:
            message = "is not a .keras model, or is cut off. Copy it again, or save it with model.save()."
            raise data_error(path, "undecodable", message) from error
        except OSError as error:  # the archive's index points outside the file
            if error.filename is not None:
                raise
            raise data_error(path, "undecodable", f"is damaged ({error.strerror or error}). Copy it again.") from error
        except ValueError as error:
            raise data_error(path, "undecodable", f"{error}.") from error


def newer_keras_hint(path: str) -> str:
    """A sentence about a file that a newer Keras saved; empty if that is not so, or not known."""
    try:
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
        saved, here = ([int(part) for part in one.split(".")[:2]] for one in (version, keras.__version__))
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile):
        return ""
    hint = f" It was saved by Keras {version}, newer than {keras.__version__} here: install that, or export it there."
    return hint if saved > here else ""


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    names = archive.namelist()
    missing = {_CONFIG, _WEIGHTS} - set(names)
    if missing:
        raise ValueError(f"is not a .keras model. It lacks {', '.join(sorted(missing))}")
    outside = [name for name in names if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/")]
    if outside:
        raise ValueError(f"would write outside its folder, to {outside[0]!r}. Do not trust it")
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _UNPACKED * size + _SMALL or archive.getinfo(_CONFIG).file_size > _LARGEST_CONFIG:
        raise ValueError(f"has {size:,} bytes and unpacks to {unpacked:,}. Do not trust it")
    broken = archive.testzip()
    if broken:
        raise ValueError(f"is damaged at {broken}. Copy it again")


def _check_config(file: IO[bytes], weights: int) -> None:
    try:
        config = json.load(file)
    except RecursionError:
        raise ValueError("has a configuration that is nested too deeply. Do not trust it") from None
    for entry in _objects(config):
        name, module = entry["class_name"], entry.get("module")
        if name in _REFUSED:
            raise ValueError(f"holds a {name} layer, which runs code or reads other files. Do not trust it")
        ours = not module or str(module).partition(".")[0] in _ROOTS
        if not ours and keras.saving.get_registered_object(str(entry.get("registered_name"))) is None:
            raise ValueError(f"needs {name} of {module}, which is not registered: import the module that defines it")
        if isinstance(entry.get("config"), dict):
            _check_size(name, entry["config"], weights)


def _check_size(name: str, config: dict[str, Any], weights: int) -> None:
    """Refuse a layer that is larger than all weights: Keras would fill the memory with new weights before reading."""
    units = config.get("units", config.get("filters"))
    if not isinstance(units, int):
        return
    squared = name in _RECURRENT and not config.get("projection")  # the weights from state to state
    if (units * units if squared else units) > weights:  # at least one byte each
        raise ValueError(f"has a layer of {units:,} units ({name}), more than its weights. Do not trust it")


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of a configuration that names a class."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _check_weights(file: IO[bytes], size: int) -> int:
    """Check the weights' file, and return the size of all weights in bytes."""
    with h5py.File(file, "r") as weights:
        stack, total, links = [weights], 0, 0
        while stack:
            group = stack.pop()
            for name in group:
                links += 1
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink) or links > 1_000_000:
                    raise ValueError(f"has weights that lead elsewhere, by {name!r}. Do not trust it")
                value = group[name]
                if isinstance(value, h5py.Group):
                    stack.append(value)
                    continue
                if value.external or value.is_virtual:
                    raise ValueError(f"has weights in another file, those of {value.name!r}. Do not trust it")
                total += value.nbytes
        if total > _UNPACKED * size + _SMALL:
            raise ValueError(f"has weights of {size:,} bytes that would take {total:,}. Do not trust it")
    return total
