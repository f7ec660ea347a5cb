"""Read and check the metadata of an `.onnx` file from its bytes, so that other programs' files never reach a runtime.

An ONNX model is a protocol buffer: a sequence of fields, each with a number, a wire type and a value. Only the needed
fields are parsed, and every length is checked, so that a truncated file is detected.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FORMAT_VERSION = 1
"""Layout of inputs, outputs and metadata; a session runs its own version only."""
PREFIX = "speechrnn."
"""Prefix of the names of our metadata; the values are JSON."""

_METADATA = 14  # field of ModelProto
_ATTACHED = 7600
"""A field that ModelProto does not define, so that runtimes skip it: a message with a name (1) and bytes (2)."""
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
}
"""For each message, the fields in which tensors can be nested, and the messages that they contain (onnx.proto3)."""
_MAX_BYTES = (1 << 31) - 1
"""Largest size of a protocol buffer."""
_MAX_DEPTH, _MAX_FIELDS = 16, 1_000_000
"""Limits of nesting and of fields; this package's graphs have no graphs in them, and some thousands of fields."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of TensorProto


class OnnxFile(NamedTuple):
    """A file that `read` has checked."""

    content: bytes
    metadata: dict[str, Any]
    """Parsed from JSON, by names without their prefix."""
    name: str = "The model"
    """Where it comes from, for errors."""


def read(model: str | os.PathLike[str] | bytes) -> OnnxFile:
    """Read and check a file that `speechrnn export` wrote.

    Args:
        model: Its path, or its bytes.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: It is not an ONNX model, cut off, damaged, written by another program, of another format version, or
            refers to other files.
    """
    content, name = (model, "The model") if isinstance(model, bytes) else (_content(model), os.fspath(model))
    if not content:
        raise ValueError(f"{name}: is empty. Export the model again with `speechrnn export`.")
    try:
        properties, external, digest = _scan(memoryview(content))
    except _HostileError as error:
        raise ValueError(f"{name}: no model of ours has {error}. Do not trust it; export the model again.") from error
    except (IndexError, UnicodeDecodeError, _BrokenError) as error:
        if looks_like_onnx(content):
            raise ValueError(f"{name}: is cut off or damaged. Copy it again, or export it again.") from error
        message = "is not an ONNX model. Make one with `speechrnn export --model MODEL.keras`."
        if content.startswith(b"version https://git-lfs"):
            message = "is a Git LFS pointer: run `git lfs pull`."
        elif content.startswith(b"\x89HDF"):
            message = "is an HDF5 file, with weights alone or of an older Keras. A model is one .keras file."
        raise ValueError(f"{name}: {message}") from error
    if PREFIX + "format_version" not in properties:
        raise ValueError(
            f"{name}: was not written by speechrnn, so that its inputs and symbols are unknown. Make one with "
            "`speechrnn export`."
        )
    metadata = _metadata(name, properties)
    if external:
        raise ValueError(
            f"{name}: must hold its weights itself. Received: one that reads them from the file {external!r}. Do not "
            "trust it; export the model again."
        )
    if metadata.get("digest", digest) != digest:  # files of older versions have none
        raise ValueError(f"{name}: is damaged: its weights are not those that were written. Copy it again.")
    return OnnxFile(content, metadata, name)


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is not a file.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)}: no such model file.")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{os.fspath(path)}: is a folder. A model is one file.")


def with_digest(model: Any) -> bytes:
    """Serialize a model, with a digest in its metadata by which `read` checks that the graph is undamaged.

    Args:
        model: An `onnx.ModelProto` with our metadata.
    """
    digest = hashlib.sha256(model.graph.SerializeToString()).hexdigest()
    model.metadata_props.add(key=PREFIX + "digest", value=json.dumps(digest))
    return model.SerializeToString()


def attachments(content: bytes) -> dict[str, memoryview]:
    """The attachments of a file that `read` accepted, by name, such as a lexicon and a language model."""
    result, count = {}, itertools.count()
    for number, value in _fields(memoryview(content), count):
        if number == _ATTACHED and isinstance(value, memoryview):
            parts = {key: part for key, part in _fields(value, count) if isinstance(part, memoryview)}
            result[str(parts.get(1, b""), "utf-8")] = parts.get(2, memoryview(b""))
    return result


def with_attachments(content: bytes, parts: Mapping[str, bytes]) -> bytes:
    """A model file's content with `parts` attached. Runtimes and older versions of this package skip them."""
    return content + b"".join(
        _field(_ATTACHED, _field(1, name.encode()) + _field(2, part)) for name, part in parts.items()
    )


def without_attachments(content: bytes) -> bytes:
    """The content without attachments, if they are at its end; a runtime would read and then skip them."""
    parts = [
        part
        for number, part in _fields(memoryview(content), itertools.count())
        if number == _ATTACHED and isinstance(part, memoryview)
    ]
    sizes = [len(_to_varint(_ATTACHED << 3 | 2)) + len(_to_varint(len(part))) + len(part) for part in parts]
    model = content[: len(content) - sum(sizes)]
    try:
        return content if attachments(model) else model
    except (_BrokenError, IndexError):  # they are elsewhere
        return content


def _field(number: int, value: bytes) -> bytes:
    return _to_varint(number << 3 | 2) + _to_varint(len(value)) + value


def _to_varint(number: int) -> bytes:
    """Encode a whole number as `_varint` decodes it."""
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def looks_like_onnx(content: bytes) -> bool:
    """Whether a file begins as an ONNX model: with its format version, then the graph or the producer's name."""
    return len(content) >= 3 and content[0] == 0x08 and content[1] < 0x20 and content[2] in (0x12, 0x1A, 0x3A, 0x42)


def _content(path: str | os.PathLike[str]) -> bytes:
    check_path(path)
    if os.path.getsize(path) > _MAX_BYTES:
        raise ValueError(f"{os.fspath(path)}: is no ONNX model, which has at most {_MAX_BYTES:,} bytes.")
    return Path(path).read_bytes()


def _metadata(name: str, properties: dict[str, str]) -> dict[str, Any]:
    ours = {key.removeprefix(PREFIX): value for key, value in properties.items() if key.startswith(PREFIX)}
    try:
        metadata = {key: json.loads(value) for key, value in ours.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: its metadata are damaged ({error}). Export the model again.") from error
    if metadata["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{name}: the format version must be {FORMAT_VERSION}. Received: {metadata['format_version']}, written by "
            f"speechrnn {metadata.get('version', 'of unknown version')}. Export the .keras model again with this one."
        )
    return metadata


class _BrokenError(Exception):
    """The bytes are not a protocol buffer."""


class _HostileError(Exception):
    """The protocol buffer is built to take long to parse."""


def _scan(model: memoryview) -> tuple[dict[str, str], str, str]:
    """The metadata, the first external file of weights if there is one, and the graph's digest.

    Each byte is read once, however deeply messages are nested.
    """
    properties: dict[str, str] = {}
    external, graphs, count = "", [], itertools.count()
    stack: list[tuple[str, memoryview, int]] = [("model", model, 0)]
    while stack:
        kind, message, depth = stack.pop()
        if kind == "tensor":
            external = external or _external_file(message, count)
            continue
        if depth > _MAX_DEPTH:
            raise _HostileError(f"graphs within graphs, more than {_MAX_DEPTH} deep")
        for number, value in _fields(message, count):
            if not isinstance(value, memoryview):
                continue
            if kind == "model" and number == _METADATA:
                entry = {key: str(text, "utf-8") for key, text in _fields(value, count) if isinstance(text, memoryview)}
                properties[entry.get(1, "")] = entry.get(2, "")
            elif number in _CHILDREN[kind]:
                child = _CHILDREN[kind][number]
                if kind == "model" and child == "graph":
                    graphs.append(value)
                stack.append((child, value, depth + (child == "graph")))
    if not graphs:
        raise _BrokenError("no graph")
    return properties, external, hashlib.sha256(graphs[-1]).hexdigest()


def _external_file(tensor: memoryview, count: Iterator[int]) -> str:
    location, external = "", False
    for number, value in _fields(tensor, count):
        if number == _DATA_LOCATION and value == 1:
            external = True
        elif number == _EXTERNAL_DATA and isinstance(value, memoryview):
            external = True
            entry = {key: bytes(text) for key, text in _fields(value, count) if isinstance(text, memoryview)}
            if entry.get(1) == b"location":
                location = entry.get(2, b"").decode(errors="replace")
    return location or ("(unnamed)" if external else "")


def _fields(message: memoryview, count: Iterator[int]) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field: bytes, or a whole number; other fixed-size values are given as 0."""
    position = 0
    while position < len(message):
        if next(count) >= _MAX_FIELDS:
            raise _HostileError(f"more than {_MAX_FIELDS:,} fields")
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise _BrokenError(f"kind {kind}")
        size, position = _varint(message, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        if position + size > len(message):
            raise _BrokenError("cut off")
        yield tag >> 3, message[position : position + size] if kind == 2 else 0
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Decode a whole number of seven bits per byte, and return it with the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise _BrokenError("a number too long")
