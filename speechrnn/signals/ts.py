"""UEA's and UCR's `.ts`: cases of several dimensions, of one length or many, with a class at the end of each line."""

from dataclasses import dataclass

import numpy as np

from speechrnn.faults import data_error
from speechrnn.signals.record import Record, cached, of_array, pick


@dataclass(frozen=True)
class Cases:
    """What a file holds."""

    signals: tuple[np.ndarray, ...]
    """float32 `(samples, dimensions)` each, NaN where a value is missing."""
    labels: tuple[str | None, ...]
    """Class of each."""


def record(path: str, row: int | str | None = None) -> Record:
    """One case of a file."""
    found = cases(path).signals
    return of_array(path, found[pick(path, row, [str(i) for i in range(len(found))])], None)


def _parse(path: str) -> Cases:
    signals: list[np.ndarray] = []
    labels: list[str | None] = []
    labelled, data = True, False
    with open(path, encoding="latin-1") as file:  # descriptions are written in whatever their authors used
        for number, text in enumerate(file, start=1):
            line = text.strip()
            if not line or line.startswith(("#", "%")):
                continue
            if not data:
                key, _, value = line.lower().partition(" ")
                labelled = value.strip().startswith("true") if key == "@classlabel" else labelled
                if key == "@timestamps" and value.strip() == "true":
                    raise data_error(path, "undecodable", "has times beside its values. Resample it to a regular rate.")
                data = key == "@data"
                continue
            try:
                signal, label = _case(line, labelled)
            except ValueError as error:
                raise data_error(path, "undecodable", f"line {number} is no case: {error}.") from error
            signals.append(signal)
            labels.append(label)
    if not signals:
        raise data_error(path, "empty", "has no case after `@data`.")
    return Cases(tuple(signals), tuple(labels))


def _case(line: str, labelled: bool) -> tuple[np.ndarray, str | None]:
    *parts, last = line.split(":")
    if not labelled:
        parts.append(last)
    if not parts:
        raise ValueError("it has no dimension")
    rows = [np.array(part.replace("?", "nan").split(","), np.float32) for part in parts]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise ValueError(f"its dimensions have different lengths, {lengths}")
    return _without_padding(np.stack(rows, axis=1)), last.strip() if labelled else None


def _without_padding(signal: np.ndarray) -> np.ndarray:
    """The case without the NaN that bring shorter ones to one length."""
    there = np.flatnonzero(~np.isnan(signal).all(axis=1))
    return signal[: there[-1] + 1] if len(there) else signal


cases = cached(_parse, 8)
"""The cases of a file; those of the last eight files are remembered."""
