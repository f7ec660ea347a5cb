"""Memory-mapped binary files of language models.

A file is a signature and a version, the length of a header, the header (JSON), the words, the integers of
`speechrnn.decoding.lm.ngram.NGram.of_arrays`, and its probabilities: as floats, or quantized as indices into tables,
one table for the probabilities of each order and one for the backoff weights.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechrnn.faults import check_choice, data_error
from speechrnn.files import replacing

_MAGIC = b"\x89SpeechRNN language model\r\n"
_VERSION = 1
_LEADING = struct.Struct(f"<{len(_MAGIC)}sII")
"""Signature, version, and length of the header."""
_ALIGNED = 64
_TYPES: dict[int, Any] = {8: np.dtype("u1"), 32: np.dtype("<f4"), 64: np.dtype("<f8")}
"""Types of probabilities by their number of bits."""

Arrays = tuple[tuple[str, ...], tuple[int, ...], np.ndarray, np.ndarray]
"""Words, numbers of n-grams by order, and the arrays of `NGram.of_arrays`."""


def is_binary(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins with our signature."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def write(
    path: str | os.PathLike[str],
    words: Sequence[str],
    sizes: Sequence[int],
    ints: np.ndarray,
    floats: np.ndarray,
    *,
    bits: int | None = None,
    mark: str = "",
    overwrite: bool = False,
) -> None:
    """Write a model.

    Args:
        path: The file.
        words: The words by their indices.
        sizes: Number of n-grams of each order.
        ints: See `NGram.of_arrays`.
        floats: See `NGram.of_arrays`.
        bits: Bits of each probability: 8 for the nearest of 256 values, 32 or 64 for a float; by default those of
            `floats`.
        mark: A text that `read` must be given too.
        overwrite: Replace a file that exists.

    Raises:
        FileExistsError: The file exists and `overwrite` is false.
        ValueError: `bits` is another number.
    """
    bits = floats.dtype.itemsize * 8 if bits is None else bits
    check_choice("bits", bits, _TYPES)
    parts = [np.frombuffer("\n".join(words).encode(), np.uint8), ints.astype("<i4", copy=False)]
    if bits == 8:
        tables, codes = _quantized(floats, _ranges(sizes))
        parts += [tables, codes]
    else:
        parts.append(floats.astype(_TYPES[bits], copy=False))
    header: dict[str, Any] = {"sizes": list(map(int, sizes)), "bits": bits, "mark": mark, "words": len(words)}
    header["bytes"] = [part.nbytes for part in parts]
    header["crc32"] = [zlib.crc32(np.ascontiguousarray(part).data) for part in parts]
    text = json.dumps(header).encode()
    text += struct.pack("<I", zlib.crc32(text))
    with replacing(path, overwrite=overwrite) as file:
        position = file.write(_LEADING.pack(_MAGIC, _VERSION, len(text)) + text)
        for part in parts:
            position += file.write(bytes(-position % _ALIGNED))
            position += file.write(np.ascontiguousarray(part).data)


def read(path: str | os.PathLike[str], *, mark: str = "") -> Arrays:
    """Read a model; its arrays stay in the file as far as they can.

    Args:
        path: A file of `write`.
        mark: The mark that it was written with.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file has another format, version or mark, or is cut off or damaged.
    """
    path = Path(path)
    return parse(np.memmap(path, np.uint8, "c") if path.stat().st_size else np.zeros(0, np.uint8), path, mark=mark)


def parse(content: np.ndarray, path: str | os.PathLike[str], *, mark: str = "") -> Arrays:
    """Parse the bytes of a file, see `read`.

    Args:
        content: uint8.
        path: The path of the file, for errors.
        mark: See `read`.

    Raises:
        ValueError: See `read`.
    """
    header, start = _header(path, content)
    if header["mark"] != mark:
        raise data_error(path, "invalid", f"was made from another file. Expected the mark {mark!r}.")
    parts = list(_parts(path, content, header, start))
    words = tuple(parts[0].tobytes().decode().split("\n"))
    sizes = tuple(header["sizes"])
    ints, floats = (  # in a file within another one they may be unaligned
        np.require(part.view(kind), requirements="A")
        for part, kind in ((parts[1], "<i4"), (parts[-1], _TYPES[header["bits"]]))
    )
    nodes, contexts = 1 + sum(sizes), 1 + sum(sizes[:-1])
    if len(words) != header["words"] or len(ints) != nodes + 2 * contexts + 1 or len(floats) != nodes + contexts:
        raise data_error(path, "damaged", f"{_DAMAGED} Its parts do not have the lengths it says.")
    if header["bits"] == 8:
        tables = parts[2].view("<f4").reshape(-1, 256)
        codes, floats = floats, np.empty(len(floats), np.float32)
        for table, part in zip(tables, _ranges(sizes), strict=True):
            np.take(table, codes[part], out=floats[part])
    return words, sizes, ints, floats


_DAMAGED = "is damaged. Copy it again, or make it again with `speechrnn lm train`."


def _header(path: str | os.PathLike[str], content: np.ndarray) -> tuple[dict[str, Any], int]:
    """The header, and where the parts begin."""
    leading = content[: _LEADING.size].tobytes()
    if leading[: len(_MAGIC)] != _MAGIC[: len(leading)]:
        raise data_error(path, "no language model", "is no binary language model.")
    if len(leading) < _LEADING.size:
        raise _cut_off(path, len(content), _LEADING.size)
    _, version, length = _LEADING.unpack(leading)
    if version != _VERSION:
        raise data_error(
            path,
            "unsupported",
            f"must be a binary language model of version {_VERSION}. Received: version {version}. "
            "Make it again from its text or ARPA file.",
        )
    end = _LEADING.size + length
    if len(content) < end:
        raise _cut_off(path, len(content), end)
    text = content[_LEADING.size : end].tobytes()
    if len(text) < 4 or zlib.crc32(text[:-4]) != struct.unpack("<I", text[-4:])[0]:
        raise data_error(path, "damaged", f"{_DAMAGED} Its header is not what was written.")
    return json.loads(text[:-4]), end


def _parts(
    path: str | os.PathLike[str], content: np.ndarray, header: dict[str, Any], start: int
) -> Iterator[np.ndarray]:
    for length, crc in zip(header["bytes"], header["crc32"], strict=True):
        start += -start % _ALIGNED
        part = content[start : start + length]
        if len(part) < length:
            raise _cut_off(path, len(content), start + length)
        if zlib.crc32(part.data) != crc:
            raise data_error(path, "damaged", f"{_DAMAGED} Bytes {start:,} to {start + length:,} differ.")
        start += length
        yield part
    if start != len(content):
        message = f"{_DAMAGED} It must have {start:,} bytes. Received: {len(content):,}."
        raise data_error(path, "damaged", message)


def _cut_off(path: str | os.PathLike[str], length: int, least: int) -> ValueError:
    return data_error(
        path, "cut off", f"is cut off: it has {length:,} bytes and needs {least:,}. Copy or write it again."
    )


def _ranges(sizes: Sequence[int]) -> list[slice]:
    """Slices of the probabilities of each order, node 0 with the unigrams, and of the backoff weights."""
    ends = [1 + sum(sizes[: n + 1]) for n in range(len(sizes))]
    contexts = 1 + sum(sizes[:-1])
    return [slice(a, b) for a, b in zip([0, *ends], [*ends, ends[-1] + contexts], strict=True)]


def _quantized(floats: np.ndarray, ranges: Sequence[slice]) -> tuple[np.ndarray, np.ndarray]:
    """Tables float32 `(ranges, 256)`, and the index in them of each number.

    A table has the means of bins of equal width, since bins with equally many values would be wide for the few high
    probabilities. The highest and the lowest value are exact, so that 0 stays 0 and -99 stays -99.
    """
    tables = np.zeros((len(ranges), 256), np.float32)
    codes = np.empty(len(floats), np.uint8)
    for table, part in zip(tables, ranges, strict=True):
        values = floats[part]
        if not len(values):
            continue
        distinct = np.unique(values)
        if len(distinct) > len(table):
            inner = values[(values > distinct[0]) & (values < distinct[-1])].astype(np.float64)
            edges = np.linspace(inner.min(), inner.max(), len(table) - 1)
            bins = np.minimum(np.searchsorted(edges, inner, side="right") - 1, len(edges) - 2)
            counts, sums = np.bincount(bins), np.bincount(bins, inner)
            means = sums[counts > 0] / counts[counts > 0]
            distinct = np.unique(np.concatenate([distinct[:1], means, distinct[-1:]]).astype(np.float32))
        table[: len(distinct)], table[len(distinct) :] = distinct, distinct[-1]
        middles = (distinct[1:].astype(np.float64) + distinct[:-1]) / 2
        codes[part] = np.searchsorted(middles, values)
    return tables, codes
