"""Damaged sensor records of every format: read as an independent reader reads them, or refused by name.

`python -m tests.campaigns.records --count 10000 --seed 0` tries them; a finding is printed with the words that make its
file again. What is read is compared with pandas, NumPy, scipy, h5py, pyedflib and wfdb, as far as they read the file at
all; of every record that is read, a part is read too and compared with the whole.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from speechrnn import signals
from tests.campaigns.harness import WrongError, damage, main
from tests.recordings import write_edf, write_wfdb

Reference = Callable[[Path], "tuple[np.ndarray, float | None] | None"]
"""Gives what an independent reader reads of a file, `(samples, channels)` and a rate; `None` where it reads none."""


def attempt(kind: str, seed: int, folder: Path) -> None:
    """Make a file of a kind, damage it, read it, and compare.

    Raises:
        WrongError: It was read, and differently by an independent reader, or in parts.
        ValueError, OSError: It was refused.
    """
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    path, hurt, header, reference, options = KINDS[kind](rng, folder)
    whole = hurt.read_bytes()
    damaged, _ = damage(rng, whole, header=header)
    hurt.write_bytes(damaged)
    if kind == "annotations":
        _compare_annotations(path)
        return
    options = {"max_gap": 0.0, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info = signals.probe(path, **{name: options[name] for name in options.keys() - {"max_gap"}})
        rate = info.rate
        # Channels of other rates are read one by one, so that nothing is resampled.
        own = [signals.read(path, channels=[i], **options) for i in range(len(info.channels))]
        if not options["max_gap"]:  # a gap at the edge of a part is filled in another way
            _compare_part(rng, path, options, own[0])
        with contextlib.redirect_stdout(io.StringIO()):
            expected = _quiet(reference, path)
    if expected is None:
        return
    values, its_rate = expected
    if its_rate is not None and not np.isclose(rate, its_rate, rtol=1e-4):
        raise WrongError(f"rate {rate}, and not {its_rate}")
    if len(values) != len(own):
        raise WrongError(f"{len(own)} channels {info.channels}, and not {len(values)}")
    for place, ((found, _), there) in enumerate(zip(own, values, strict=True)):
        if found.shape[0] != len(there):
            raise WrongError(f"channel {place}: {len(found)} samples, and not {len(there)}")
        if not np.allclose(found[:, 0], np.asarray(there, np.float64).astype(np.float32), rtol=1e-4, atol=1e-5):
            first = int(np.argmax(~np.isclose(found[:, 0], there, rtol=1e-4, atol=1e-5)))
            raise WrongError(f"channel {place}, sample {first}: {found[first, 0]}, and not {there[first]}")


def warm(folder: Path) -> None:
    """Import what reads files, before memory is limited."""
    for kind in KINDS:
        for seed in range(3):
            (there := folder / f"{kind}-{seed}").mkdir()
            with contextlib.suppress(Exception):
                attempt(kind, seed, there)


def _quiet(reference: Reference, path: Path) -> Any:
    try:
        return reference(path)
    except Exception:  # a reader that refuses the file, or falls over it, has no opinion
        return None


def _compare_part(rng: np.random.Generator, path: Path, options: dict[str, Any], whole: Any) -> None:
    signal, rate = whole
    start = int(rng.integers(len(signal)))
    stop = int(rng.integers(start, len(signal))) + 1
    part, _ = signals.read(path, channels=[0], offset=start / rate, duration=(stop - start) / rate, **options)
    if not np.array_equal(part, signal[start:stop], equal_nan=True):
        raise WrongError(f"samples {start} to {stop} are others in a part than in the whole")


def _compare_annotations(path: Path) -> None:
    import wfdb

    found = signals.annotations(path)
    expected = _quiet(lambda _: wfdb.rdann(str(path.with_suffix("")), "atr"), path)
    if expected is not None and not np.array_equal(found.samples, expected.sample):
        raise WrongError("annotations lie at other samples")


# ---------------------------------------------------------------------------------------------------- text tables


def _values(rng: np.random.Generator, channels: int) -> np.ndarray:
    return np.round(rng.normal(0, 50, (int(rng.integers(20, 80)), channels)), int(rng.integers(1, 4)))


def _text(rng: np.random.Generator, folder: Path, suffix: str, mark: str, decimal: str) -> Any:
    values = _values(rng, int(rng.integers(2, 5)))
    timed, named = rng.random() < 0.4, rng.random() < 0.8
    head = [f"c{i}" for i in range(values.shape[1])]
    rows = [[f"{value:.3f}".replace(".", decimal) for value in row] for row in values]
    if timed and named:
        head = ["time", *head]
        rows = [[f"{place / 50:.2f}".replace(".", decimal), *row] for place, row in enumerate(rows)]
    if named and rng.random() < 0.3:
        head, rows = [*head, "note"], [[*row, "ok"] for row in rows]
    lines = [mark.join(row) for row in ([head, *rows] if named else rows)]
    path = folder / f"t{suffix}"
    path.write_text("\n".join(lines) + "\n")

    def reference(path: Path) -> Any:
        import pandas

        frame = pandas.read_csv(
            path, sep=mark, decimal=decimal, header=0 if named else None, comment="#", index_col=False,
            skip_blank_lines=True, skipinitialspace=True,
        )  # fmt: skip
        columns = [frame[name] for name in frame if name != "time" and frame[name].dtype.kind in "fiu"]
        return [column.to_numpy(np.float64) for column in columns], None

    return path, path, 80, reference, {} if timed and named else {"rate": 50.0}


def _csv(rng: np.random.Generator, folder: Path) -> Any:
    return _text(rng, folder, ".csv", ",", ".")


def _semicolons(rng: np.random.Generator, folder: Path) -> Any:
    return _text(rng, folder, ".csv", ";", ",")


def _blanks(rng: np.random.Generator, folder: Path) -> Any:
    return _text(rng, folder, ".txt", " ", ".")


def _tabs(rng: np.random.Generator, folder: Path) -> Any:
    """UCR's rows: a class, then samples."""
    values = _values(rng, 12)
    path, row = folder / "X_TRAIN.tsv", int(rng.integers(20))
    path.write_text(
        "".join(
            f"{place % 3}\t" + "\t".join(f"{value:.3f}" for value in line) + "\n" for place, line in enumerate(values)
        )
    )

    def reference(path: Path) -> Any:
        import pandas

        frame = pandas.read_csv(path, sep="\t", header=None, comment="#")
        return [frame.iloc[row, 1:].to_numpy(np.float64)], None

    return path, path, 80, reference, {"rate": 50.0, "row": row}


def _parquet(rng: np.random.Generator, folder: Path) -> Any:
    import pandas

    values = _values(rng, 3)
    frame = pandas.DataFrame(values, columns=list("abc"))
    path = folder / "t.parquet"
    frame.to_parquet(path, compression=str(rng.choice(["snappy", "gzip", "none"])))

    def reference(path: Path) -> Any:
        found = pandas.read_parquet(path)
        return [found[name].to_numpy(np.float64) for name in found if found[name].dtype.kind in "fiu"], None

    return path, path, 256, reference, {"rate": 50.0}


# ---------------------------------------------------------------------------------------------------------- arrays


def _npz(rng: np.random.Generator, folder: Path) -> Any:
    path = folder / "a.npz"
    save = np.savez_compressed if rng.random() < 0.5 else np.savez
    save(path, signal=_values(rng, 3), rate=50.0)

    def reference(path: Path) -> Any:
        with np.load(path) as file:
            return list(file["signal"].T), float(file["rate"])

    return path, path, 256, reference, {}


def _mat(rng: np.random.Generator, folder: Path) -> Any:
    import scipy.io

    path, values = folder / "a.mat", _values(rng, 3)
    form = str(rng.choice(["4", "5"]))
    scipy.io.savemat(path, {"ecg": values, "fs": 50.0}, format=form, do_compression=form == "5" and rng.random() < 0.5)

    def reference(path: Path) -> Any:
        return list(scipy.io.loadmat(path)["ecg"].T), None

    return path, path, 256, reference, {"rate": 50.0}


def _mat73(rng: np.random.Generator, folder: Path) -> Any:
    import h5py

    path, values = folder / "a.mat", _values(rng, 3)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("ecg", data=values.T, compression="gzip" if rng.random() < 0.5 else None)
        file.create_dataset("fs", data=[[50.0]])

    def reference(path: Path) -> Any:
        with h5py.File(path) as file:
            return list(np.asarray(file["ecg"])), None

    return path, path, 2048, reference, {"rate": 50.0}


def _ts(rng: np.random.Generator, folder: Path) -> Any:
    values = _values(rng, 12)
    path, row = folder / "X_TRAIN.ts", int(rng.integers(20))
    lines = [",".join(f"{value:.3f}" for value in line) + f":{'ab'[place % 2]}" for place, line in enumerate(values)]
    path.write_text("# made here\n@problemName X\n@timeStamps false\n@classLabel true a b\n@data\n" + "\n".join(lines))

    def reference(path: Path) -> Any:
        body = path.read_text().partition("@data")[2]
        kept = [line for line in body.split("\n")[1:] if line.strip() and not line.startswith(("#", "%"))]
        return [np.array(kept[row].split(":")[0].split(","), np.float64)], None

    return path, path, 120, reference, {"rate": 50.0, "row": row}


# -------------------------------------------------------------------------------------------------------- EDF, WFDB


def _edf(rng: np.random.Generator, folder: Path, kind: str = "") -> Any:
    wide = 23 if kind.startswith("BDF") else 15
    values = [rng.integers(-(2**wide), 2**wide, size) for size in (500, 100)]
    onsets = [f"+{place}" for place in range(5)] if kind.endswith("+C") else None
    if kind.endswith("D"):
        onsets = [f"+{place + (place > 2) * 0.5}" for place in range(5)]
    path = folder / ("a.bdf" if kind.startswith("BDF") else "a.edf")
    write_edf(path, values, [100, 20], ["EEG", "Temp"], kind=kind, onsets=onsets)

    def reference(path: Path) -> Any:
        import pyedflib

        with pyedflib.EdfReader(str(path)) as file:
            count = file.signals_in_file
            if any(label.endswith("Annotations") for label in file.getSignalLabels()):
                return None  # a kind that was damaged: what are annotations looks like a signal then
            return [file.readSignal(i) for i in range(count)], max(map(float, file.getSampleFrequencies()))

    options = {"max_gap": 5.0} if kind.endswith("D") else {}
    return path, path, 256 * (3 + (onsets is not None)), reference, options


def _edf_plus(rng: np.random.Generator, folder: Path) -> Any:
    return _edf(rng, folder, str(rng.choice(["EDF+C", "BDF+C"])))


def _edf_apart(rng: np.random.Generator, folder: Path) -> Any:
    return _edf(rng, folder, str(rng.choice(["EDF+D", "BDF+D"])))


def _wfdb(rng: np.random.Generator, folder: Path, hurt: str = ".hea") -> Any:
    header = write_wfdb(
        folder / "r", rng.integers(-2000, 2000, (600, 2)), rate=100, marks=[(5, "+"), (18, "N"), (370, "V"), (590, "A")]
    )

    def reference(path: Path) -> Any:
        import wfdb

        found = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
        return found.e_p_signal, float(found.fs) * max(found.samps_per_frame)

    return header, header.with_suffix(hurt), 400, reference, {}


def _wfdb_signal(rng: np.random.Generator, folder: Path) -> Any:
    return _wfdb(rng, folder, ".dat")


def _annotations(rng: np.random.Generator, folder: Path) -> Any:
    return _wfdb(rng, folder, ".atr")


KINDS: dict[str, Callable[[np.random.Generator, Path], Any]] = {
    "csv": _csv,
    "csv-semicolons": _semicolons,
    "txt": _blanks,
    "tsv": _tabs,
    "parquet": _parquet,
    "npz": _npz,
    "mat": _mat,
    "mat-7.3": _mat73,
    "ts": _ts,
    "edf": _edf,
    "edf-plus": _edf_plus,
    "edf-apart": _edf_apart,
    "wfdb": _wfdb,
    "wfdb-signal": _wfdb_signal,
    "annotations": _annotations,
}
"""Makes a file of each kind: what to read, what to damage, bytes of its header, the reference, options of reading."""

if __name__ == "__main__":
    sys.exit(main("tests.campaigns.records", list(KINDS), __doc__ or ""))
