"""MIT-BIH Arrhythmia: heartbeats in their context, AAMI classes, de Chazal's split into patients.

https://physionet.org/content/mitdb/, ODC-By 1.0. Moody and Mark, IEEE EMB 20 (2001); de Chazal et al., IEEE TBME 51
(2004); ANSI/AAMI EC57.

A heartbeat is a row of numbers: what each lead shows around the beat, how that differs from the patient's usual beat,
and the intervals around it.

A row has `WINDOW * CHANNELS` columns, `row[: WINDOW * CHANNELS].reshape(WINDOW, CHANNELS)`, whose channels are, for
each lead, the beat and the beat minus the record's median beat, both divided by the height of that median beat; then
the `INTERVALS` and the `DIFFERENCES`. Nothing in it needs a label, so an unseen patient's record is treated the same.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from speechrnn import signals
from speechrnn.data.building import Draft, build, need_folder
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.files import refuse_existing

DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122", "124", "201", "203", "205", "207",
    "208", "209", "215", "220", "223", "230",
)  # fmt: skip
"""Records to train on."""
DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210", "212", "213", "214", "219", "221",
    "222", "228", "231", "232", "233", "234",
)  # fmt: skip
"""Records to test on. The four records of paced hearts are in neither."""
CLASSES = ("N", "S", "V", "F", "Q")
"""Normal or bundle branch block, supraventricular ectopic, ventricular ectopic, fusion, unknown."""
AAMI = {
    **dict.fromkeys("NLRej", "N"), **dict.fromkeys("AaJS", "S"), **dict.fromkeys("VE", "V"), "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}  # fmt: skip
"""Class of each of the database's symbols for beats; flutter waves (`!`) are no beats."""
_SAME_MAN = {"202": "201"}

RATE = 180.0
"""Samples per second of a window."""
WINDOW = 128
"""Samples of a window."""
BEFORE = 50
"""Samples of a window before the beat's mark."""
LEADS = 2
CHANNELS = 2 * LEADS
"""Numbers a sample of a window: beat and difference of each lead."""
INTERVALS = (
    "before", "after", "before / usual", "after / usual", "before / local", "after / local", "after / before",
    "local / usual", "before / local in spreads",
)  # fmt: skip
"""RR intervals: the first two in seconds less 0.8, the ratios as logarithms, all times 4 to vary about as much
as the leads. Usual is the record's median, local that of the ten beats around. The last is how early a beat comes for
the rhythm it is in: that logarithm over its usual size in the 30 beats around, which is ten times larger in atrial
fibrillation than in a regular rhythm, and halved."""
DIFFERENCES = {"P": slice(0, 38), "QRS": slice(38, 62), "T": slice(62, WINDOW)}
"""Parts of the window: how much a beat differs there from the record's median beat, both leads together, as the
logarithm of that over what is usual in the record."""
RHYTHM = slice(WINDOW * CHANNELS, WINDOW * CHANNELS + len(INTERVALS))
"""Columns of the `INTERVALS`."""
NUM_FEATURES = RHYTHM.stop + len(DIFFERENCES)
_LIMIT = 8.0  # times the usual height; beyond it is an artifact
_LOCAL = 10
_AROUND = 30
_STEADY = 0.03  # no rhythm is steadier than that
_FLAT = 0.1  # two leads that cancel each other out leave noise
_SCALE = 4.0
_DRIFT = 150  # beats from one rate to the next


def prepare(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    faults: Faults | None = None,
    valid_fraction: float = 0.0,
    seed: int = 0,
    chunk: int = 64,
    progress: Callable[[int], object] | None = None,
) -> dict[str, list[Example]]:
    """Write `train.jsonl` (DS1) and/or `test.jsonl` (DS2), and a .npz of each record's beats that they point to.

    One "second" of such a .npz is one beat, a row of `NUM_FEATURES` numbers.

    Args:
        folder: Holds the records as `.hea`, `.dat` and `.atr`, in any WFDB format.
        out: Folder for the manifests, and for `beats`.
        overwrite: Replace what is there.
        faults: Collects unusable records; without it the first is an error.
        valid_fraction: Part of the training beats that becomes `valid.jsonl`, by whole patients.
        seed: Chooses those patients.
        chunk: Beats in an example.
        progress: Called with the number of examples done since the last call.

    Returns:
        Examples by split; `labels` has the AAMI class of each beat, the subject is the record. Records 201 and 202,
        which the official split puts on both sides, are one man and have one subject.
    """
    if chunk < 1:
        raise ValueError(f"`chunk` must be at least 1. Received: {chunk}.")
    root = need_folder(folder, "Download it with `wget -r -N -c -np https://physionet.org/files/mitdb/1.0.0/`.")
    # By their annotations too: a record without a header is one that was lost, and is named.
    parts = (path for kind in (".atr", ".hea") for at in ("*/*", "*") for path in root.glob(at + kind))
    there = {path.stem: path.with_suffix(".hea") for path in sorted(parts)}
    records = {"train": [r for r in DS1 if r in there], "test": [r for r in DS2 if r in there]}
    records = {split: names for split, names in records.items() if names}
    if not records:
        raise ValueError(f"{root}: has no record of MIT-BIH. Give the folder that holds 100.hea, 101.hea and so on.")
    for split in records:
        refuse_existing(Path(out, f"{split}.jsonl"), overwrite=overwrite)
    found = Faults() if faults is None else faults
    splits = {
        split: [d for name in names for d in _drafts(there[name], Path(out, "beats"), chunk, overwrite, found)]
        for split, names in records.items()
    }
    if faults is None:
        found.raise_first()
    return build(
        splits, out, overwrite=overwrite, faults=faults, valid_fraction=valid_fraction, seed=seed, progress=progress
    )


def _drafts(header: Path, folder: Path, chunk: int, overwrite: bool, faults: Faults) -> Iterator[Draft]:
    name = header.stem
    try:
        positions, labels = _beats(header, faults)
        beats, seconds = beat_features(*_leads(header), positions)
    except (ValueError, OSError) as error:
        faults.add_error(name, error)
        return
    path = folder / f"{name}.npz"
    signals.write(path, beats, 1.0, overwrite=overwrite, seconds=seconds)
    for start in range(0, len(labels), chunk):
        part = labels[start : start + chunk]
        yield Draft(
            path, labels=tuple(part), subject=_SAME_MAN.get(name, name), id=f"{name}-{start:04d}", offset=float(start),
            duration=float(len(part)),
        )  # fmt: skip


def _beats(header: Path, faults: Faults) -> tuple[np.ndarray, list[str]]:
    """Positions of the beats in samples, and their classes."""
    marks = signals.annotations(header)
    samples = signals.probe(header).samples
    kept = [i for i, symbol in enumerate(marks.symbols) if symbol in AAMI]
    inside = [i for i in kept if 0 <= marks.samples[i] < samples]
    if len(inside) < len(kept):
        faults.add(
            header.stem,
            "annotated past their end",
            f"{header}: {len(kept) - len(inside)} of {len(kept)} beats lie past its end, and are left out.",
        )
    if len(inside) < 3:
        raise ValueError(f"{header}: needs three beats for their intervals. Received: {len(inside)}.")
    return marks.samples[inside], [AAMI[marks.symbols[i]] for i in inside]


def _leads(header: Path) -> tuple[np.ndarray, float]:
    """Two leads, the limb lead first: a record or two have them the other way round."""
    names = signals.probe(header).channels
    order = sorted(range(len(names)), key=lambda i: names[i] != "MLII")[:2]
    if len(order) < 2:
        raise ValueError(f"{header}: needs two leads. Received: {', '.join(names)}.")
    return signals.read(header, channels=order)


# Heartbeats


def beat_features(signal: np.ndarray, rate: float, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One row a beat.

    Args:
        signal: float32 `(samples, LEADS)`, in any unit.
        rate: Samples per second.
        positions: `(beats,)`, at least three, in samples, rising.

    Returns:
        float32 `(beats, NUM_FEATURES)`, and the beats' times float64 `(beats,)` in seconds.
    """
    seconds = np.asarray(positions, np.float64) / rate
    level = signals.resample(signal, rate, RATE)
    level = level - baseline(level, RATE)
    first = np.rint(seconds * RATE).astype(np.int64) - BEFORE
    index = (first[:, None] + np.arange(WINDOW)).clip(0, len(level) - 1)
    beats = level[index]  # (beats, WINDOW, LEADS)
    usual = np.median(beats, axis=0)
    height = np.maximum(np.ptp(usual, axis=0), 1e-6)
    channels = np.stack([beats / height, (beats - usual) / height], axis=3)
    return _rows(channels, intervals(seconds)), seconds


def _rows(channels: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Rows from `(beats, WINDOW, LEADS, 2)` and `intervals`."""
    channels = channels.clip(-_LIMIT, _LIMIT)
    parts = [channels.reshape(len(channels), WINDOW * CHANNELS), gaps, differences(channels[..., 1])]
    return np.concatenate(parts, axis=1).astype(np.float32)


def differences(shapes: np.ndarray) -> np.ndarray:
    """`DIFFERENCES`, float `(beats, len(DIFFERENCES))`, of the differences `(beats, WINDOW, LEADS)` of a record."""
    sizes = np.stack([np.sqrt(np.mean(shapes[:, part] ** 2, axis=(1, 2))) for part in DIFFERENCES.values()], axis=1)
    sizes = np.maximum(sizes, 1e-4)
    return np.log(sizes / np.median(sizes, axis=0)).clip(-_SCALE, _SCALE)


def baseline(signal: np.ndarray, rate: float) -> np.ndarray:
    """Wander of the baseline: a median over 0.2 s takes the beats out, one over 0.6 s the T waves (de Chazal 2004).

    A mean over 0.6 s then smooths the steps that medians leave on a slope. All are taken of every fourth sample, which
    a wander of less than 1 Hz does not notice.
    """
    from scipy.ndimage import median_filter, uniform_filter1d

    coarse = signal[::4]
    for width in (0.2, 0.6):
        coarse = median_filter(coarse, size=(2 * round(width * rate / 8) + 1, 1), mode="nearest")
    coarse = uniform_filter1d(coarse, 2 * round(0.6 * rate / 8) + 1, axis=0, mode="nearest")
    places = np.arange(len(signal))
    return np.stack([np.interp(places, places[::4], column) for column in coarse.T], axis=1).astype(signal.dtype)


def intervals(seconds: np.ndarray) -> np.ndarray:
    """`INTERVALS` of beats at these times, float64 `(beats, len(INTERVALS))`."""
    gaps = np.maximum(np.diff(seconds), 0.05)  # two marks on one beat
    before, after = np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]])
    usual = np.median(gaps)
    local = _median_around(before, _LOCAL)
    early = np.log(before / local)
    spread = np.maximum(_median_around(np.abs(early), _AROUND), _STEADY)
    ratios = [before / usual, after / usual, before / local, after / local, after / before, local / usual]
    columns = [before - 0.8, after - 0.8, *np.log(ratios), early / spread / (2 * _SCALE)]
    return (_SCALE * np.stack(columns, axis=1)).clip(-_SCALE, _SCALE)


def _median_around(values: np.ndarray, width: int) -> np.ndarray:
    """Of half the `width` on each side."""
    reach = min(width // 2, len(values) - 1)
    padded = np.pad(values, reach, mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=1)


def vary_rhythm(
    rows: np.ndarray, seconds: np.ndarray, labels: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """The same beats at other times, to learn rhythms from that few patients have.

    The rate drifts by a tenth to a fifth over minutes, as that of any heart, which changes no class. Half of the
    stretches of 100 to 400 beats without an S become irregular as in atrial fibrillation, which changes none either. In
    the others one of 30 beats among N comes early, and so is S; a quarter of these begin a run of up to 120 beats, at
    once a third faster or more, if only N are in its way.

    Args:
        rows: `(beats, NUM_FEATURES)`.
        seconds: `(beats,)`, as `beat_features` gives them.
        labels: AAMI class of each.
        rng: Random numbers.

    Returns:
        Rows whose `INTERVALS` are those of the new times, and the classes.
    """
    gaps, classes, start = np.diff(seconds), np.array(labels, "U1"), 0
    knots = np.arange(0, len(gaps) + _DRIFT, _DRIFT)
    gaps *= np.exp(np.interp(np.arange(len(gaps)), knots, 0.12 * rng.standard_normal(len(knots))))
    while start < len(gaps):
        stop = min(start + int(rng.integers(100, 400)), len(gaps))
        if rng.random() < 0.5 and "S" not in classes[start : stop + 1]:
            spread = rng.uniform(0.15, 0.4) * rng.standard_normal(stop - start)
            gaps[start:stop] *= rng.uniform(0.6, 1.1) * np.exp(spread)
        else:
            _hasten(gaps, classes, start + 3, stop - 3, rng)
        start = stop
    times = seconds[0] + np.concatenate([[0.0], np.cumsum(np.maximum(gaps, 0.25))])
    changed = rows.copy()
    changed[:, RHYTHM] = intervals(times)
    return changed, classes.tolist()


def vary_leads(rows: np.ndarray, rng: np.random.Generator, *, angle: float = 0.8, stretch: float = 0.15) -> np.ndarray:
    """The same heart seen from other places: each lead takes some of the other, and all beats are wider or narrower.

    A lead is a projection of the heart's dipole, so that another place on the chest sees a weighted sum. What is new is
    again as high as its usual beat, whose differences are mixed alike; nothing is known about classes.

    Args:
        rows: `(beats, NUM_FEATURES)` of one record.
        rng: Random numbers: one draw of each lead's angle and of the width, for all beats.
        angle: Largest angle between a lead and what replaces it, in radians; 0 keeps the leads.
        stretch: Largest relative change of the time around the mark; 0 keeps it.

    Returns:
        float32 `(beats, NUM_FEATURES)`, with the `INTERVALS` of `rows`.
    """
    pieces = rows[:, : WINDOW * CHANNELS].reshape(len(rows), WINDOW, LEADS, 2)
    turns = rng.uniform(-angle, angle, LEADS)
    mixture = np.diag(np.cos(turns)) + np.diag(np.sin(turns))[:, ::-1]
    pieces = np.einsum("btlk,ml->btmk", pieces, mixture.astype(np.float32))
    places = BEFORE + (np.arange(WINDOW) - BEFORE) * (1 + rng.uniform(-stretch, stretch))
    places = places.clip(0, WINDOW - 1)
    left = np.minimum(places.astype(np.int64), WINDOW - 2)
    share = (places - left).astype(np.float32)[:, None, None]
    pieces = pieces[:, left] * (1 - share) + pieces[:, left + 1] * share
    usual = np.median(pieces[..., 0] - pieces[..., 1], axis=0)
    pieces = pieces / np.maximum(np.ptp(usual, axis=0), _FLAT)[:, None]
    return _rows(pieces, rows[:, RHYTHM])


def _hasten(gaps: np.ndarray, classes: np.ndarray, first: int, last: int, rng: np.random.Generator) -> None:
    """Let some of the beats from `first` to `last` come early, in place."""
    for beat in (first + np.flatnonzero(rng.random(max(0, last - first)) < 1 / 30)).tolist():
        length = round(float(np.exp(rng.uniform(0.7, 4.8)))) if rng.random() < 0.25 else 1
        end = min(beat + length, last)
        if end <= beat or (classes[beat - 2 : end + 2] != "N").any():
            continue
        slow = float(np.median(gaps[max(0, beat - 8) : beat]))
        early = rng.uniform(0.15, 0.5) * gaps[beat - 1]
        gaps[beat - 1] -= early
        if length == 1:
            gaps[beat] += rng.uniform(-0.2, 1) * early
        else:
            pace = slow * rng.uniform(0.5, 0.72)
            gaps[beat : end - 1] = pace * np.exp(0.03 * rng.standard_normal(end - 1 - beat))
        classes[beat:end] = "S"
