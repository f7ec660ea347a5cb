"""NPZ and MAT: named arrays.

An NPZ record is `signal` `(samples, channels)` with `rate` and, if known, `channels` and `units`. Any other array of
two axes is a record of its own, whose longer axis is time.
"""

import os
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.faults import data_error
from speechrnn.files import replacing
from speechrnn.signals import wfdb_files
from speechrnn.signals.record import Record, cached, need, of_array, pick

_ABOUT = ("rate", "channels", "units", "labels")


def record(path: str, row: int | str | None = None) -> Record:
    """One record of a file of arrays."""
    if path.lower().endswith(".mat"):
        header = f"{path[:-4]}.hea"
        if os.path.isfile(header):  # CinC's .mat is a WFDB signal that MATLAB reads too
            return wfdb_files.record(header)
        return _one(path, _mats(path), row)
    return _one(path, _npzs(path), row)


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
        ValueError: The ending is another one, or the signal has another shape.
    """
    signal = np.asarray(signal, np.float32)
    if not os.fspath(path).endswith(".npz"):
        raise ValueError(f"{path}: the ending must be .npz.")
    if signal.ndim != 2 or not signal.size or (channels and len(channels) != signal.shape[1]):
        raise ValueError(
            f"A signal has shape (samples, channels). Received: {signal.shape} and {len(channels)} names of channels."
        )
    named = {"channels": np.array(channels), "units": np.array(units)}
    stored: dict[str, Any] = {"signal": signal, "rate": float(rate), **arrays}
    stored |= {name: array for name, array in named.items() if array.size}
    with replacing(path, overwrite=overwrite) as file:
        np.savez(file, **stored)


def _one(path: str, there: dict[str, np.ndarray], row: int | str | None) -> Record:
    rate = float(there["rate"].ravel()[0]) if "rate" in there and there["rate"].size else None
    about = [tuple(there[key].ravel().tolist()) if key in there else () for key in ("channels", "units")]
    if "signal" in there and row in (None, "signal"):
        return of_array(path, there["signal"], rate, *about)
    names = [
        name
        for name, array in there.items()
        if name not in _ABOUT and not name.startswith("__") and array.dtype.kind in "fiub" and array.ndim in (1, 2)
    ]
    if not names:
        raise data_error(path, "empty", f"has no array that could be a signal. Received: {', '.join(there)}.")
    array = there[names[pick(path, row, names)]]
    return of_array(path, array.T if array.ndim == 2 and array.shape[0] < array.shape[1] else array, rate, *about)


def _parse_npz(path: str) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:  # np.load leaks a bad file
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise data_error(path, "undecodable", f"is no NPZ that can be read: {error}.") from error


def _parse_mat(path: str) -> dict[str, np.ndarray]:
    loader: Any = need("scipy.io", path)
    try:
        found = loader.loadmat(path)
    except Exception as error:  # what scipy raises depends on where the file is damaged
        raise data_error(path, "undecodable", f"is no MAT file up to version 7 that can be read: {error}.") from error
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


_npzs, _mats = cached(_parse_npz, 32), cached(_parse_mat, 8)
