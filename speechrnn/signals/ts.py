"""UEA's and UCR's `.ts`: cases of several dimensions, of one length or many, with a class at the end of each line.

Read here and not by aeon's `load_from_ts_file`: aeon 1.6 holds pandas below 3.1 and numpy below 2.4 and brings numba,
for the sake of one function, and it takes every byte of a class as Latin-1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.options import TableOptions
from speechrnn.signals.record import Record, cached, of_array, pick

_TIMES = "has times beside its values. Resample it to a regular rate."


@dataclass(frozen=True)
class Cases:
    """What a file holds."""

    signals: tuple[np.ndarray, ...]
    """float32 `(samples, dimensions)` each, NaN where a value is missing."""
    labels: tuple[str | None, ...]
    """Class of each."""


def record(path: str, row: int | str | None = None, options: TableOptions | None = None) -> Record:
    """One case of a file."""
    signals = cases(path, options.encoding if options else None).signals
    return of_array(path, signals[pick(path, row, [str(i) for i in range(len(signals))])], None)


@cached(8)
def cases(path: str, encoding: str | None = None) -> Cases:
    """The cases of a file; those of the last eight files are remembered.

    Raises:
        ValueError: It is damaged, or not in UTF-8 and its `encoding` is not given.
    """
    signals: list[np.ndarray] = []
    labels: list[str | None] = []
    labeled, data, classes, dimensions = True, False, None, None
    promised: dict[str, str] = {}
    with open(path, "rb") as file:
        lines = file.read().removeprefix(b"\xef\xbb\xbf").splitlines()
    for number, raw in enumerate(lines, start=1):
        if not raw.strip() or raw.lstrip().startswith((b"#", b"%")):
            continue  # descriptions are written in whatever their authors used
        line = _text(path, number, raw, encoding).strip()
        if not data:
            key, _, value = line.partition(" ")
            key, words = key.lower(), value.split()
            stated = bool(words) and words[0].lower() == "true"
            if key in ("@classlabel", "@targetlabel"):
                labeled, classes = stated, words[1:] if stated and key == "@classlabel" else None
            elif key == "@timestamps" and stated:
                raise data_error(path, "undecodable", _TIMES)
            elif words:
                promised[key.removesuffix("s")] = words[0].lower()
            data = key == "@data"
            continue
        try:
            signal, label = _case(line, labeled, promised)
        except ValueError as error:
            raise data_error(path, "undecodable", f"line {number} is no case: {error}.") from error
        dimensions = dimensions or signal.shape[1]
        if signal.shape[1] != dimensions:
            message = f"line {number} has {signal.shape[1]} dimensions, the lines before it have {dimensions}."
            raise data_error(path, "undecodable", message)
        if classes and label is not None and not _among(label, classes):
            message = f"line {number} has the class {label!r}, which `@classLabel` does not list: {', '.join(classes)}."
            raise data_error(path, "undecodable", message)
        signals.append(signal)
        labels.append(label)
    if not signals:
        raise data_error(path, "empty", "has no case after `@data`.")
    return Cases(tuple(signals), tuple(labels))


def _text(path: str, number: int, raw: bytes, encoding: str | None) -> str:
    try:
        return raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        message = (
            f"line {number} is not {encoding or 'UTF-8'} ({error.reason}). Save it as UTF-8, or say its `encoding`."
        )
        raise data_error(path, "undecodable", message) from error


def _among(label: str, classes: list[str]) -> bool:
    """Whether a class is listed, as text or as a number: archives write 1 and 1.0."""
    if label in classes:
        return True
    try:
        return float(label) in {float(name) for name in classes}
    except ValueError:
        return False


def _case(line: str, labeled: bool, promised: Mapping[str, str]) -> tuple[np.ndarray, str | None]:
    if line.startswith("("):
        raise ValueError(f"it {_TIMES.rstrip('.')}")
    *parts, last = line.split(":")
    if not labeled:
        parts.append(last)
    elif not last.strip():
        raise ValueError("it has no class")
    if not parts:
        raise ValueError("it has no dimension")
    if "_" in line.rpartition(":")[0]:
        raise ValueError("it has an underscore within its numbers")
    rows = [np.array(part.replace("?", "nan").split(","), np.float64) for part in parts]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ValueError(f"its dimensions have different lengths, {lengths}")
    signal = np.stack(rows, axis=1)
    if (np.isfinite(signal) & (np.abs(signal) > np.finfo(np.float32).max)).any():
        raise ValueError("it has a number that is larger than float32 can hold")
    length = promised.get("@serieslength") if promised.get("@equallength") == "true" else None
    for name, declared, actual in (
        ("samples", length, len(signal)),
        ("dimensions", promised.get("@dimension"), len(rows)),
    ):
        if declared is not None and declared.isdigit() and int(declared) != actual:
            raise ValueError(f"it has {actual:,} {name}, the header promises {declared}")
    return _without_padding(signal.astype(np.float32)), last.strip() if labeled else None


def _without_padding(signal: np.ndarray) -> np.ndarray:
    """The case without the NaN that bring shorter ones to one length."""
    present = np.flatnonzero(~np.isnan(signal).all(axis=1))
    return signal[: present[-1] + 1] if len(present) else signal
