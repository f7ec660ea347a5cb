"""NPZ and MAT: named arrays.

An NPZ record is `signal` `(samples, channels)` with `rate` and, if known, `channels` and `units`. Any other array of
two axes is a record of its own, whose longer axis is time.
"""

import os
import zipfile
from typing import Any

import numpy as np

from speechrnn.faults import data_error
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
        with np.load(path, allow_pickle=False) as file:
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
