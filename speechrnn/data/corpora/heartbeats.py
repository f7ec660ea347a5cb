"""Heartbeats as rows of numbers, and patients who never were: what `mitdb` writes and its recipe varies.

A row describes a beat in its record: what each lead shows around it, how that differs from a beat of the record that
does not come early, the intervals around it, and what the beat is like by itself. Nothing in it needs a label, so an
unseen patient's record is treated the same. And no reference takes for granted that most beats are normal: in some
patients the premature beat is the usual one, and whatever is measured from the usual beat alone points the wrong way.

A row has `WINDOW * CHANNELS` columns, `row[: WINDOW * CHANNELS].reshape(WINDOW, CHANNELS)`, whose channels are, for
each lead, the beat and the beat minus the record's `reference`, both divided by the height of that reference; then the
`INTERVALS`, the `DIFFERENCES` and the `SHAPE`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn import signals

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
    "local / usual", "before / local in spreads", "before / slow", "after / slow", "before / stable",
)  # fmt: skip
"""RR intervals: the first two in seconds less 0.8, the ratios as logarithms, all times 4 to vary about as much as the
leads. Usual is the record's median, local that of the ten beats around. "In spreads" is how early a beat comes for the
rhythm it is in: that logarithm over its usual size in the 30 beats around, which is ten times larger in atrial
fibrillation than in a regular rhythm, and halved. Slow is the 85th percentile of the 60 beats around, stable the median
of the longest stretch in which no interval differs by a tenth from the one before: neither needs a majority."""
PARTS = {"P": slice(0, 38), "QRS": slice(38, 62), "T": slice(62, WINDOW)}
"""Parts of the window."""
DIFFERENCES = tuple(f"{part} from the {base}" for base in ("reference", "median") for part in PARTS)
"""How much a beat differs in each part from the record's `reference`, and from its median beat, both leads together,
as the logarithm of that over the record's 30th percentile."""
SHAPE = ("width", "P / QRS", "T / QRS", "alike", "those alike early")
"""What a beat is like by itself, without any reference: the logarithm of the width of its QRS over 25 ms (in which its
slope is spread around its middle), and of the strength of P and T over that of QRS; then the share of the record's
beats whose QRS is like this one (correlation above 0.8), and how early those come as a whole, in logarithms of
"before / slow": the cluster of a beat, of whatever size."""
RHYTHM = slice(WINDOW * CHANNELS, WINDOW * CHANNELS + len(INTERVALS))
"""Columns of the `INTERVALS`."""
NUM_FEATURES = RHYTHM.stop + len(DIFFERENCES) + len(SHAPE)
_LIMIT = 8.0  # times the height of the reference; beyond it is an artifact
_LOCAL, _AROUND, _SLOW = 10, 30, 60  # beats
_LATE = (0.8, 0.97)  # quantiles of the intervals before beats that do not come early
_STEADY = 0.03  # no rhythm is steadier than that
_FLAT = 0.1  # two leads that cancel each other out leave noise
_SCALE = 4.0
_DRIFT = 150  # beats from one rate to the next
_ALIKE, _COMPARED = 0.8, 600
_USUAL_WIDTH = 0.025  # seconds


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
    return describe(level[index], seconds), seconds


def describe(beats: np.ndarray, seconds: np.ndarray, *, least_height: float = 1e-6) -> np.ndarray:
    """The rows of a record, one per beat.

    Args:
        beats: float `(beats, WINDOW, LEADS)`, in any unit.
        seconds: Their times, float64 `(beats,)`.
        least_height: A reference that is lower than that, in the unit of the beats, has this height.

    Returns:
        float32 `(beats, NUM_FEATURES)`.
    """
    gaps = intervals(seconds)
    base = reference(beats, seconds)
    height = np.maximum(np.ptp(base, axis=0), least_height)
    beats, base = (beats / height).clip(-_LIMIT, _LIMIT), base / height
    channels = np.stack([beats, (beats - base).clip(-_LIMIT, _LIMIT)], axis=3)
    early = gaps[:, INTERVALS.index("before / slow")] / _SCALE
    parts = [
        channels.reshape(len(channels), WINDOW * CHANNELS),
        gaps,
        differences(beats - base),
        differences(beats - np.median(beats, axis=0)),
        shape(beats, early),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def beats_of(rows: np.ndarray) -> np.ndarray:
    """The beats `(beats, WINDOW, LEADS)` that rows were made of, in heights of the record's reference."""
    return rows[:, : WINDOW * CHANNELS].reshape(len(rows), WINDOW, LEADS, 2)[..., 0]


def reference(beats: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The median `(WINDOW, LEADS)` of the beats that come late, which are not premature even if most are.

    Late are those whose interval lies from the record's 80th to its 97th percentile: a fifth of the beats need not be
    ectopic for it to be a normal beat.
    """
    gaps = np.diff(seconds, prepend=seconds[0] - np.median(np.diff(seconds)))
    low, high = np.quantile(gaps, _LATE)
    return np.median(beats[(gaps >= low) & (gaps <= high)], axis=0)


def differences(shapes: np.ndarray) -> np.ndarray:
    """Size of `(beats, WINDOW, LEADS)` in each of the `PARTS`, float `(beats, len(PARTS))`, as `DIFFERENCES` says."""
    sizes = np.maximum(_strengths(shapes), 1e-4)
    return np.log(sizes / np.quantile(sizes, 0.3, axis=0)).clip(-_SCALE, _SCALE)


def _strengths(shapes: np.ndarray) -> np.ndarray:
    """Root mean square in each part, `(beats, len(PARTS))`."""
    return np.stack([np.sqrt(np.mean(shapes[:, part] ** 2, axis=(1, 2))) for part in PARTS.values()], axis=1)


def shape(beats: np.ndarray, early: np.ndarray) -> np.ndarray:
    """`SHAPE` of `(beats, WINDOW, LEADS)`, which come as `early` as `(beats,)` says: `(beats, len(SHAPE))`."""
    p, qrs, t = np.maximum(_strengths(beats), 1e-4).T
    near = beats[:, PARTS["QRS"].start - 8 : PARTS["QRS"].stop + 12]
    slope = np.square(np.diff(near, axis=1)).sum(2) + 1e-12
    slope /= slope.sum(1, keepdims=True)
    place = np.arange(slope.shape[1]) / RATE
    middle = slope @ place
    width = np.sqrt(np.maximum(slope @ place**2 - middle**2, (0.5 / RATE) ** 2))
    near = near.reshape(len(near), -1) - near.reshape(len(near), -1).mean(1, keepdims=True)
    near = (near / np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    some = np.unique(np.linspace(0, len(near) - 1, min(_COMPARED, len(near))).round().astype(int))
    alike = near @ near[some].T > _ALIKE
    count = alike.sum(1)
    together = (alike @ early[some] + early) / (count + 1)
    columns = [np.log(width / _USUAL_WIDTH), np.log(p / qrs), np.log(t / qrs), count / len(some), _SCALE * together]
    return np.stack(columns, axis=1).clip(-_SCALE, _SCALE)


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
    local, slow = _quantile_around(before, _LOCAL, 0.5), _quantile_around(before, _SLOW, 0.85)
    early = np.log(before / local)
    spread = np.maximum(_quantile_around(np.abs(early), _AROUND, 0.5), _STEADY)
    ratios = [
        before / usual, after / usual, before / local, after / local, after / before, local / usual, before / slow,
        after / slow, before / stable_interval(gaps),
    ]  # fmt: skip
    logs = np.log(ratios)
    columns = [before - 0.8, after - 0.8, *logs[:6], early / spread / (2 * _SCALE), *logs[6:]]
    return (_SCALE * np.stack(columns, axis=1)).clip(-_SCALE, _SCALE)


def stable_interval(gaps: np.ndarray) -> float:
    """The median of the longest stretch of `(gaps,)` none of which differs by a tenth or more from the one before."""
    breaks = np.flatnonzero(np.abs(np.diff(np.log(gaps))) > 0.1) + 1
    return float(np.median(max(np.split(gaps, breaks), key=len)))


def _quantile_around(values: np.ndarray, width: int, q: float) -> np.ndarray:
    """Of half the `width` on each side."""
    reach = min(width // 2, len(values) - 1)
    padded = np.pad(values, reach, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    place = round(q * 2 * reach)
    return np.partition(around, place, axis=1)[:, place]


# Patients who never were
def vary_rhythm(
    rows: np.ndarray, seconds: np.ndarray, labels: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
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
        Rows as of the new times, the times, and the classes.
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
    return describe(beats_of(rows), times, least_height=_FLAT), times, classes.tolist()


@dataclass(frozen=True)
class _Rhythm:
    """What a stretch of a patient's rhythm is like: lengths of its runs of normal beats and of ectopic ones."""

    normal: float
    ectopic: float


_RHYTHMS = (_Rhythm(1.0, 1.0), _Rhythm(1.0, 2.0), _Rhythm(1.3, 5.0), _Rhythm(2.0, 12.0), _Rhythm(20.0, 1.0))


def enough_normal(labels: Sequence[str]) -> bool:
    """Whether `vary_majority` can make a patient of one with these classes: one beat in ten, at least, is N."""
    return int((np.asarray(labels) == "N").sum()) >= max(1, len(labels) / 10)


def vary_majority(
    rows: np.ndarray, seconds: np.ndarray, labels: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Another patient, made of the beats of one: most of hers are premature, in several rhythms.

    Stretches of 60 to 250 beats are bigeminy, couplets, short and long runs, or normal beats with few ectopic ones; a
    stretch in five is irregular besides. Ectopic are the patient's own V beats, if she has five, her own S beats, if
    she has ten, or normal beats with another P wave, which are S. A run begins early and is followed by a pause.

    Args:
        rows: `(beats, NUM_FEATURES)`.
        seconds: `(beats,)`, as `beat_features` gives them.
        labels: AAMI class of each; at least one in ten must be N.
        rng: Random numbers.

    Returns:
        Rows, times, and classes, as many as were given.

    Raises:
        ValueError: Too few beats are N.
    """
    classes, beats, count = np.array(labels, "U1"), beats_of(rows), len(rows)
    pools = {name: np.flatnonzero(classes == name) for name in "NSV"}
    if not enough_normal(labels):
        raise ValueError(f"One beat in ten must be N. Received: {len(pools['N'])} of {count}.")
    kinds = ["P"] + ["S"] * (len(pools["S"]) >= 10) + ["V"] * (len(pools["V"]) >= 5)
    kind = str(rng.choice(kinds))
    ectopic, gaps = _ectopic_rhythm(count, seconds, rng)
    normal, strange = pools["N"], pools["N" if kind == "P" else kind]
    # In the order of the record, so that what changes slowly still does.
    order = np.arange(count) / count
    source = np.where(ectopic, strange[(order * len(strange)).astype(int)], normal[(order * len(normal)).astype(int)])
    made = beats[source].copy()
    if kind == "P":
        made[ectopic] = _other_p_wave(made[ectopic], rng)
    times = seconds[0] + np.concatenate([[0.0], np.cumsum(gaps[1:])])
    found = np.where(ectopic, "V" if kind == "V" else "S", "N").tolist()
    return describe(made, times, least_height=_FLAT), times, found


def _ectopic_rhythm(count: int, seconds: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which of `count` beats are ectopic, and the interval before each, in seconds."""
    knots = np.arange(0, count + _DRIFT, _DRIFT)
    rate = np.exp(np.interp(np.arange(count), knots, 0.1 * rng.standard_normal(len(knots))))
    gaps = rng.uniform(0.8, 1.5) * float(np.median(np.diff(seconds))) * rate
    gaps *= np.exp(rng.uniform(0.01, 0.05) * rng.standard_normal(count))
    ectopic, start = np.zeros(count, bool), int(rng.integers(1, 20))
    early, pause = rng.uniform(0.5, 0.85), rng.uniform(1.0, 1.8)
    while start < count:
        stop = min(start + int(rng.integers(60, 250)), count)
        rhythm = _RHYTHMS[int(rng.choice(len(_RHYTHMS), p=(0.2, 0.15, 0.3, 0.2, 0.15)))]
        if rng.random() < 0.2:
            gaps[start:stop] *= np.exp(0.2 * rng.standard_normal(stop - start))
        while start < stop:
            start += int(rng.geometric(1 / rhythm.normal))
            end = min(start + int(rng.geometric(1 / rhythm.ectopic)), stop)
            ectopic[start:end] = True
            gaps[start:end] *= early * np.exp(0.05 * rng.standard_normal(max(0, end - start)))
            if start < end < count:
                gaps[end] *= pause
            start = max(start, end)
        start = stop
    return ectopic, np.maximum(gaps, 0.25)


def _other_p_wave(beats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Beats `(beats, WINDOW, LEADS)` that begin elsewhere in the atria: the P wave is another one, in all the same."""
    part = PARTS["P"]
    places = np.arange(part.stop)
    fade = np.clip((part.stop - places) / 8.0, 0, 1)[:, None]
    center, width = rng.uniform(12, 34), rng.uniform(3, 7)
    bump = np.exp(-0.5 * ((places - center) / width) ** 2)[:, None] * rng.uniform(-0.15, 0.15, LEADS)
    kept = rng.uniform(0.0, 0.7)
    found = beats.copy()
    usual = np.median(beats[:, part], axis=0)
    found[:, part] += fade * (bump - (1 - kept) * usual)
    return found


def vary_leads(
    rows: np.ndarray, seconds: np.ndarray, rng: np.random.Generator, *, angle: float = 0.8, stretch: float = 0.15
) -> np.ndarray:
    """The same heart seen from other places: each lead takes some of the other, and all beats are wider or narrower.

    A lead is a projection of the heart's dipole, so that another place on the chest sees a weighted sum. What is new is
    again as high as its reference; nothing is known about classes.

    Args:
        rows: `(beats, NUM_FEATURES)` of one record.
        seconds: `(beats,)`, as `beat_features` gives them.
        rng: Random numbers: one draw of each lead's angle and of the width, for all beats.
        angle: Largest angle between a lead and what replaces it, in radians; 0 keeps the leads.
        stretch: Largest relative change of the time around the mark; 0 keeps it.

    Returns:
        float32 `(beats, NUM_FEATURES)`, with the `INTERVALS` of `rows`.
    """
    turns = rng.uniform(-angle, angle, LEADS)
    mixture = np.diag(np.cos(turns)) + np.diag(np.sin(turns))[:, ::-1]
    beats = beats_of(rows) @ mixture.T.astype(np.float32)
    places = BEFORE + (np.arange(WINDOW) - BEFORE) * (1 + rng.uniform(-stretch, stretch))
    places = places.clip(0, WINDOW - 1)
    left = np.minimum(places.astype(np.int64), WINDOW - 2)
    share = (places - left).astype(np.float32)[:, None]
    beats = beats[:, left] * (1 - share) + beats[:, left + 1] * share
    return describe(beats, seconds, least_height=_FLAT)


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
