"""NPZ and MAT: named arrays.

A record is `signal` `(samples, channels)` with `rate` and, if known, `channels` and `units`. Any other array of two
axes is a record of its own, whose longer axis is time; what MATLAB's users call fs or srate is its rate too. MAT files
up to version 7 are read by scipy, those of version 7.3, which are HDF5, by h5py.
"""

import dataclasses
import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from speechrnn.faults import data_error, file_faults
from speechrnn.files import replacing
from speechrnn.signals import wfdb_files
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import Record, cached, need, of_array, pick

RATES = ("rate", "fs", "srate", "sfreq", "sr", "freq", "frequency", "samplerate", "samplingrate", "samplefrequency",
         "samplingfrequency")  # fmt: skip
"""Names of a number that is the rate, in lower case and without the marks between their words."""
_ABOUT = ("channels", "units", "labels")
_MOST_PACKED = 1100
"""Times that deflate makes bytes fewer, at most."""
_MATRIX, _COMPRESSED = 14, 15
"""Kinds of elements of a MAT file."""
_NO_MAT = "is no MAT file that can be read"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LARGE = 1 << 24
"""Bytes from which on an array that is stored as it is stays in its file until parts of it are wanted."""


def record(path: str, row: int | str | None = None, options: TableOptions | None = None) -> Record:
    """One record of a file of arrays."""
    if path.lower().endswith(".mat"):
        header = f"{path[:-4]}.hea"
        if os.path.isfile(header):  # CinC's .mat is a WFDB signal that MATLAB reads too
            return wfdb_files.record(header)
        return _one(path, _mats(path), row)
    arrays = _npzs(path)
    signal = _one(path, arrays, row)
    bases: list[Any] = [array.base for array in arrays.values()]
    maps = [base for base in bases if isinstance(base, mmap.mmap)]
    return dataclasses.replace(signal, load=_released(signal.load, maps)) if maps else signal


def _released(load: Callable[[int, int, int], np.ndarray], maps: Sequence[mmap.mmap]) -> Callable[..., np.ndarray]:
    """Wrap `load` so that the memory-mapped pages it read are released afterwards."""

    def loaded(channel: int, start: int, stop: int) -> np.ndarray:
        samples = np.array(load(channel, start, stop))
        for one in maps if hasattr(mmap, "MADV_DONTNEED") else ():
            one.madvise(mmap.MADV_DONTNEED)
        return samples

    return loaded


def write(
    path: str | os.PathLike[str],
    signal: np.ndarray,
    rate: float,
    *,
    channels: Sequence[str] = (),
    units: Sequence[str] = (),
    overwrite: bool = False,
    **arrays: np.ndarray,
) -> None:
    """Write a signal as an NPZ that `read` understands; it appears whole or not at all.

    Args:
        path: Ends in .npz.
        signal: Floating point `(samples, channels)`, stored as float32.
        rate: Samples per second.
        channels: Names of the channels.
        units: Their physical units.
        overwrite: Replace a file that is there.
        arrays: What else is to be stored in it.

    Raises:
        FileExistsError: There is a file already and `overwrite` is false.
        ValueError: The ending is another one, or the signal has another shape, or another number of channels than
            there are names or units.
    """
    signal = np.asarray(signal, np.float32)
    if not os.fspath(path).endswith(".npz"):
        raise ValueError(f"{path}: the ending must be .npz.")
    if signal.ndim != 2 or not signal.size or not {len(channels), len(units)} <= {0, signal.shape[1]}:
        raise ValueError(
            f"A signal has shape (samples, channels). Received: {signal.shape}, {len(channels)} names of channels and "
            f"{len(units)} units."
        )
    named = {"channels": np.array(channels), "units": np.array(units)}
    stored: dict[str, Any] = {"signal": signal, "rate": float(rate), **arrays}
    stored |= {name: array for name, array in named.items() if array.size}
    with replacing(path, overwrite=overwrite) as file:
        np.savez(file, **stored)


def _one(path: str, arrays: Mapping[str, np.ndarray], row: int | str | None) -> Record:
    rate = _rate(path, arrays)
    about = [_words(arrays[key]) if key in arrays else () for key in ("channels", "units")]
    if "signal" in arrays and row in (None, "signal"):
        return of_array(path, arrays["signal"], rate, *about)
    names = [name for name, array in arrays.items() if array.size > 1 and array.dtype.kind in "fiubcV" and
             name not in _ABOUT and not name.startswith("__") and not _is_rate(name, array)]  # fmt: skip
    if not names:
        raise data_error(
            path, "empty", f"has no array that could be a signal. Received: {', '.join(arrays) or 'none'}."
        )
    name = names[pick(path, row, names)]
    array = arrays[name]
    if array.ndim not in (1, 2) or array.dtype.kind in "cV":
        message = (
            f"its array {name!r} must hold real numbers in one or two axes. Received: {array.dtype} {array.shape}."
        )
        raise data_error(path, "undecodable", message)
    if array.ndim == 2 and array.shape[0] == array.shape[1]:
        message = f"its array {name!r} has as many rows as columns: name it `signal`, (samples, channels)."
        raise data_error(path, "undecodable", message)
    return of_array(path, array.T if array.ndim == 2 and array.shape[0] < array.shape[1] else array, rate, *about)


def _rate(path: str, arrays: Mapping[str, np.ndarray]) -> float | None:
    """The one number that is called a rate."""
    rates = {name: float(np.real(array.ravel()[0])) for name, array in arrays.items() if _is_rate(name, array)}
    if "rate" in rates:
        return rates["rate"]
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} = {value:g}" for name, value in rates.items())
        raise data_error(path, "without a rate", f"says several rates: {listed}. Store one of them as `rate`.")
    return next(iter(rates.values()), None)


def _is_rate(name: str, array: np.ndarray) -> bool:
    """Whether it is called a rate and is one number, or the same one for every channel."""
    plain = name.rpartition(".")[2].lower().replace("_", "").replace("-", "")
    return plain in RATES and array.size > 0 and array.dtype.kind in "fiu" and bool((array == array.flat[0]).all())


def _words(array: np.ndarray) -> tuple[str, ...]:
    """Text of an array of names; MATLAB's cells are arrays of their own, and its rows are padded."""
    words = [np.asarray(item).ravel()[0] if np.size(item) else "" for item in array.ravel().tolist()]
    return tuple(word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word).rstrip() for word in words)


@cached(32)
def _npzs(path: str) -> dict[str, np.ndarray]:
    with file_faults(path, problem="is no NPZ that can be read"), zipfile.ZipFile(path) as archive:
        arrays = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in arrays}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array; NumPy would make room for all that its header promises before it looks for it."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if reader is None:
            raise ValueError(f"{entry.filename} is of version {version}")
        shape, fortran, kind = reader(file)
        begin = file.tell()
    size = kind.itemsize
    for axis in shape:
        size *= int(axis)
    if not 0 <= size <= entry.file_size:
        raise ValueError(f"{entry.filename} promises {size:,} bytes and has {entry.file_size:,}")
    if size >= _LARGE and entry.compress_type == zipfile.ZIP_STORED and kind.kind in "fiub" and archive.filename:
        return _mapped(archive, entry, begin, shape, kind, "F" if fortran else "C")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _mapped(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, begin: int, shape: tuple[int, ...], kind: np.dtype, order: Any
) -> np.ndarray:
    """A large array in its place in the file, once its checksum has been compared."""
    with archive.open(entry) as file:
        while file.read(_LARGE):
            pass
    with open(str(archive.filename), "rb") as file:
        file.seek(entry.header_offset + 26)
        begin += entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray(shape, kind, whole, begin, order=order)


@cached(8)
def _mats(path: str) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        start = file.read(1024)
    if start[:8] == _HDF5 or start[512:520] == _HDF5:
        return _parse_hdf5(path)
    loader: Any = need("scipy.io", path)
    with file_faults(path, problem=_NO_MAT):
        with open(path, "rb") as file:
            data = file.read()
        if all(data[:4]):  # version 4 has a zero there, and is read from memory, which asks for no more than there is
            _check_sizes(data[128:], "<" if data[126:128] == b"IM" else ">")
        contents = loader.loadmat(io.BytesIO(data), chars_as_strings=True)
        return dict(pair for name, value in contents.items() if name[:2] != "__" for pair in _flat(name, value))


def _check_sizes(data: bytes, order: str) -> None:
    """Refuse elements of a MAT file (version 5 to 7) that promise more bytes than there are: scipy makes room for them.

    Reference:
        MATLAB, "MAT-File Format", chapter 1: tags of data elements.
    """
    offset = 0
    while offset + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, offset)
        if kind >> 16:  # a small element, its size beside its kind
            offset += 8
            continue
        if size > len(data) - offset - 8:
            raise ValueError(f"it promises {size:,} bytes and has {len(data) - offset - 8:,}")
        part = data[offset + 8 : offset + 8 + size]
        if kind == _COMPRESSED:
            _check_sizes(zlib.decompress(part), order)
        elif kind == _MATRIX:
            _check_sizes(part, order)
        offset += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _flat(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays by name; those within a structure, such as EEGLAB's, as `EEG.data`, those within cells as `data.0`."""
    if hasattr(value, "tocsc"):  # sparse: is no signal, and keeps what lies beside it from being taken for the only one
        yield name, np.broadcast_to(np.zeros((), [("sparse", value.dtype)]), value.shape)
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names:
        for index, item in enumerate(value.ravel()):
            for key in value.dtype.names:
                yield from _flat(f"{name}.{key}" if value.size == 1 else f"{name}.{index}.{key}", item[key])
        return
    yield name, value
    if value.dtype == object:
        for index, item in enumerate(value.ravel()):
            if getattr(item, "dtype", np.dtype(str)).kind not in "US":  # names of channels stay together
                yield from _flat(f"{name}.{index}", item)


def _parse_hdf5(path: str) -> dict[str, np.ndarray]:
    h5py: Any = need("h5py", path)
    values: dict[str, np.ndarray] = {}

    def add(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):
            return
        if h5py.check_ref_dtype(item.dtype) is h5py.Reference:  # cells
            for place, cell in enumerate(item[()].T.ravel()):
                if cell and file[cell].attrs.get("MATLAB_class", b"") not in (b"char", "char"):
                    read(f"{name}.{place}", file[cell])
            return
        read(name, item)

    def read(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
            return
        if item.attrs.get("MATLAB_empty", 0):
            return
        if item.nbytes > _MOST_PACKED * (item.id.get_storage_size() + 1024):
            raise ValueError(f"{name} promises {item.nbytes:,} bytes and has {item.id.get_storage_size():,}")
        array = np.asarray(item[()]).T  # MATLAB's columns are HDF5's rows
        text = item.attrs.get("MATLAB_class", b"") in (b"char", "char")
        values[name.replace("/", ".")] = np.array("".join(map(chr, array.ravel().tolist()))) if text else array

    with file_faults(path, problem=_NO_MAT), h5py.File(path, "r") as file:
        file.visititems(add)
    return values
