"""Features of heartbeats, one row of numbers per beat, for the corpus `mitdb`.

A row describes a beat in its record: the intervals around it, how its waves differ from those of a beat that is not
premature, and its own shape. No feature needs a label, so the record of an unseen patient is treated the same. Nor does
any assume that most beats are normal: in some patients most beats are premature, and features relative to the most
frequent beat alone would have the opposite meaning.

A row has the `INTERVALS`, `DIFFERENCES`, `SHAPE` and `RELATIVE` features, in this order. It does not have the samples
of the beat, with which a network overfits to its few patients.
"""

import numpy as np

from speechrnn import signals

RATE = 180.0
"""Samples per second of a window."""
WINDOW = 128
"""Samples of a window."""
BEFORE = 50
"""Samples of a window before the beat's mark."""
LEADS = 2
INTERVALS = (
    "before", "after", "before / usual", "after / usual", "before / local", "after / local", "after / before",
    "local / usual", "before / local in spreads", "before / slow", "after / slow", "before / stable", "spread",
    "irregular", "before / paced", "after / paced",
)  # fmt: skip
"""RR intervals: the first two in seconds minus 0.8, the ratios as logarithms, all times 4 so that they vary about as
much as the leads. "Usual" is the record's median, "local" that of the ten beats around. "In spreads" is how early a
beat is for its rhythm: the logarithm of before / local over twice its median magnitude in the 30 beats around, which is
ten times larger in atrial fibrillation than in a regular rhythm. "Spread" is a third of the logarithm of that
magnitude. "Irregular" is the same for the median change of the interval to the first, second, third or fourth next
beat, whichever is smallest: bigeminy repeats itself, and fibrillation does not. "Slow" is the 85th percentile of the 60
beats around, and "stable" the median of the longest stretch in which no interval differs by a tenth from the one
before: neither assumes a majority. "Paced" is "slow" for those of the 60 whose QRS is like that of the beat before: the
pause after a ventricular beat is not the sinus rate."""
PARTS = {"P": slice(0, 38), "QRS": slice(38, 62), "T": slice(62, WINDOW)}
"""Parts of the window."""
DIFFERENCES = tuple(f"{part} from the {base}" for base in ("reference", "median") for part in PARTS)
"""Difference of a beat from the record's `reference` and from its median beat in each part, both leads together, as the
logarithm of its ratio to the record's 30th percentile."""
SHAPE = (
    "width", "P / QRS", "T / QRS", "alike", "those alike early", "P kept", "P of those around", "same",
    "those same early", "those same wide",
)  # fmt: skip
"""The shape of a beat, without a reference: the logarithm of the width of its QRS (standard deviation of its slope in
time) over 25 ms, and of the amplitudes of P and T over that of QRS; then the fraction of the record's beats whose QRS
is like this one (correlation above 0.8), the beat's cluster, and how early its beats are on average, as logarithms of
"before / slow". Next, whether the 30 beats around have P waves in phase, as the fraction of their power that is in
their mean, which is near zero in atrial fibrillation; and the correlation of this beat's P wave with that mean. Last,
the cluster of beats alike in QRS and T (above 0.9): half the logarithm of its fraction, how early and how wide it
is."""
RELATIVE = (
    "width / reference", "P alike", "QRS alike", "T alike", "P off in lead 1", "P off in lead 2", "QRS off in lead 1",
    "QRS off in lead 2", "T off in lead 1", "T off in lead 2", "height in lead 1", "height in lead 2",
    "direction in lead 1", "direction in lead 2",
)  # fmt: skip
"""A beat compared with the record's `reference`, in units of the reference's height: the logarithm of the ratio of
their widths; for each wave twice the correlation, both leads together; the logarithm of the root mean square
difference over 0.1, in each lead; the logarithm of the height of QRS, and the sum of its highest and lowest sample."""
RHYTHM = slice(0, len(INTERVALS))
"""Columns of the `INTERVALS`."""
NUM_FEATURES = len(INTERVALS) + len(DIFFERENCES) + len(SHAPE) + len(RELATIVE)
_LIMIT = 8.0  # times the height of the reference; beyond it is an artifact
_LOCAL, _AROUND, _SLOW = 10, 30, 60  # beats
_LATE = (0.8, 0.97)  # quantiles of the intervals before beats that do not come early
_STEADY = 0.03  # no rhythm is steadier than that
_SCALE = 4.0
_ALIKE, _SAME, _COMPARED = 0.8, 0.9, 600
_PATTERN = 4  # beats: bigeminy, trigeminy, quadrigeminy
_USUAL_WIDTH = 0.025  # seconds
_WAVES = {"P": slice(10, 38), "QRS": slice(34, 70), "T": slice(66, WINDOW)}
_NEAR_QRS = slice(PARTS["QRS"].start - 8, PARTS["QRS"].stop + 12)
_QRST = slice(_NEAR_QRS.start, WINDOW)


def beat_features(signal: np.ndarray, rate: float, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute one row of features per beat.

    Args:
        signal: float32 `(samples, LEADS)`, in any unit.
        rate: Samples per second.
        positions: `(beats,)`, at least three, in samples, rising.

    Returns:
        float32 `(beats, NUM_FEATURES)`; the beats float32 `(beats, WINDOW, LEADS)`, without the baseline's wander, in
        heights of the record's `reference`; and their times float64 `(beats,)` in seconds.
    """
    seconds = np.asarray(positions, np.float64) / rate
    level = signals.resample(signal, rate, RATE)
    level = level - baseline(level, RATE)
    first = np.rint(seconds * RATE).astype(np.int64) - BEFORE
    index = (first[:, None] + np.arange(WINDOW)).clip(0, len(level) - 1)
    beats, _ = scaled(level[index], seconds)
    return describe(beats, seconds), beats.astype(np.float32), seconds


def scaled(beats: np.ndarray, seconds: np.ndarray, *, least_height: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Scale beats `(beats, WINDOW, LEADS)` by the height of their `reference`, clipped to 8; also the reference.

    The height, in the unit of the beats, is at least `least_height`.
    """
    base = reference(beats, seconds)
    height = np.maximum(np.ptp(base, axis=0), least_height)
    return (beats / height).clip(-_LIMIT, _LIMIT), base / height


def describe(beats: np.ndarray, seconds: np.ndarray, *, least_height: float = 1e-6) -> np.ndarray:
    """Compute the features of a record's beats.

    Args:
        beats: float `(beats, WINDOW, LEADS)`, in any unit.
        seconds: Their times, float64 `(beats,)`.
        least_height: See `scaled`.

    Returns:
        float32 `(beats, NUM_FEATURES)`.
    """
    beats, base = scaled(beats, seconds, least_height=least_height)
    gaps = intervals(seconds, _like_the_one_before(beats))
    early = gaps[:, INTERVALS.index("before / slow")] / _SCALE
    parts = [
        gaps,
        differences(beats - base),
        differences(beats - np.median(beats, axis=0)),
        shape(beats, early),
        relative(beats, base),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def reference(beats: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The median `(WINDOW, LEADS)` of the late beats, which are not premature even if most beats are.

    Late beats have intervals from the record's 80th to its 97th percentile: the result is a normal beat if a fifth of
    the beats are.
    """
    gaps = np.diff(seconds, prepend=seconds[0] - np.median(np.diff(seconds)))
    low, high = np.quantile(gaps, _LATE)
    return np.median(beats[(gaps >= low) & (gaps <= high)], axis=0)


def differences(shapes: np.ndarray) -> np.ndarray:
    """Magnitude of `(beats, WINDOW, LEADS)` in each of the `PARTS`, see `DIFFERENCES`: `(beats, len(PARTS))`."""
    sizes = np.maximum(_strengths(shapes), 1e-4)
    return np.log(sizes / np.quantile(sizes, 0.3, axis=0)).clip(-_SCALE, _SCALE)


def _strengths(shapes: np.ndarray) -> np.ndarray:
    """Root mean square in each part, `(beats, len(PARTS))`."""
    return np.stack([np.sqrt(np.mean(shapes[:, part] ** 2, axis=(1, 2))) for part in PARTS.values()], axis=1)


def shape(beats: np.ndarray, early: np.ndarray) -> np.ndarray:
    """`SHAPE` features of `(beats, WINDOW, LEADS)`: `(beats, len(SHAPE))`; `early` is `(beats,)`."""
    p, qrs, t = np.maximum(_strengths(beats), 1e-4).T
    width = np.log(_width(beats) / _USUAL_WIDTH)
    sampled = np.unique(np.linspace(0, len(beats) - 1, min(_COMPARED, len(beats))).round().astype(int))
    alike, same = (_likeness(beats[:, part], sampled) > least for part, least in ((_NEAR_QRS, _ALIKE), (_QRST, _SAME)))

    def together(group: np.ndarray, values: np.ndarray) -> np.ndarray:
        return (group @ values[sampled] + values) / (group.sum(1) + 1)

    columns = [width, np.log(p / qrs), np.log(t / qrs), alike.sum(1) / len(sampled), _SCALE * together(alike, early)]
    columns += [2 * column for column in _p_waves(beats)]
    columns += [np.log((same.sum(1) + 1) / len(sampled)) / 2, _SCALE * together(same, early), together(same, width)]
    return np.stack(columns, axis=1).clip(-_SCALE, _SCALE)


def _likeness(parts: np.ndarray, sampled: np.ndarray) -> np.ndarray:
    """Correlation of each of `(beats, samples, LEADS)` with the `sampled` ones over both leads: `(beats, sampled)`."""
    flat = parts.reshape(len(parts), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat = (flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return flat @ flat[sampled].T


def relative(beats: np.ndarray, base: np.ndarray) -> np.ndarray:
    """`RELATIVE` features of `(beats, WINDOW, LEADS)` for a reference `(WINDOW, LEADS)`: `(beats, len(RELATIVE))`."""
    columns = [np.log(_width(beats) / _width(base[None]))]
    columns += [2 * _correlation(beats[:, wave], base[None, wave]) for wave in _WAVES.values()]
    for wave in _WAVES.values():
        off = np.sqrt(np.mean((beats - base)[:, wave] ** 2, axis=1))
        columns += [*np.log(np.maximum(off, 0.02) / 0.1).T]
    high, low = beats[:, _WAVES["QRS"]].max(1), beats[:, _WAVES["QRS"]].min(1)
    columns += [*np.log(np.maximum(high - low, 0.05)).T, *(high + low).T]
    return np.stack(columns, axis=1).clip(-_SCALE, _SCALE)


def _width(beats: np.ndarray) -> np.ndarray:
    """Width of QRS in seconds `(beats,)`: the standard deviation of its squared slope in time."""
    slope = np.square(np.diff(beats[:, _NEAR_QRS], axis=1)).sum(2) + 1e-12
    slope /= slope.sum(1, keepdims=True)
    position = np.arange(slope.shape[1]) / RATE
    return np.sqrt(np.maximum(slope @ position**2 - (slope @ position) ** 2, (0.5 / RATE) ** 2))


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of two `(beats, samples, LEADS)`, or of one beat with many, without the leads' means: `(beats,)`."""
    first, second = (each - each.mean(1, keepdims=True) for each in (first, second))
    power = np.square(first).sum((1, 2)) * np.square(second).sum((1, 2))
    return (first * second).sum((1, 2)) / np.maximum(np.sqrt(power), 1e-9)


def _p_waves(beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each beat: how much of a common P wave the beats around have, and its correlation with that wave."""
    from scipy.ndimage import uniform_filter1d

    waves = beats[:, _WAVES["P"]].astype(np.float64)
    waves = waves - waves.mean(1, keepdims=True)
    mean = uniform_filter1d(waves, _AROUND + 1, axis=0, mode="reflect")
    power = uniform_filter1d(np.square(waves).sum((1, 2)), _AROUND + 1, mode="reflect")
    return np.sqrt(np.square(mean).sum((1, 2)) / np.maximum(power, 1e-9)), _correlation(waves, mean)


def baseline(signal: np.ndarray, rate: float) -> np.ndarray:
    """Estimate baseline wander: a median over 0.2 s removes the beats, one over 0.6 s the T waves (de Chazal 2004).

    A mean over 0.6 s then smooths the steps of the medians. All are computed on every fourth sample, enough for a
    wander of less than 1 Hz.
    """
    from scipy.ndimage import median_filter, uniform_filter1d

    coarse = signal[::4]
    for width in (0.2, 0.6):
        coarse = median_filter(coarse, size=(2 * round(width * rate / 8) + 1, 1), mode="nearest")
    coarse = uniform_filter1d(coarse, 2 * round(0.6 * rate / 8) + 1, axis=0, mode="nearest")
    positions = np.arange(len(signal))
    return np.stack([np.interp(positions, positions[::4], column) for column in coarse.T], axis=1).astype(signal.dtype)


def intervals(seconds: np.ndarray, alike: np.ndarray | None = None) -> np.ndarray:
    """`INTERVALS` features of beats at these times.

    Args:
        seconds: Float64 `(beats,)`.
        alike: Bool `(beats,)`: whether a beat has the QRS of the one before; by default all have.

    Returns:
        Float64 `(beats, len(INTERVALS))`.
    """
    gaps = np.maximum(np.diff(seconds), 0.05)  # two marks on one beat
    before, after = np.concatenate([gaps[:1], gaps]), np.concatenate([gaps, gaps[-1:]])
    usual = np.median(gaps)
    local, slow = _quantile_around(before, _LOCAL, 0.5), _quantile_around(before, _SLOW, 0.85)
    paced = _quantile_around(before, _SLOW, 0.85, alike)
    early = np.log(before / local)
    spread = np.maximum(_quantile_around(np.abs(early), _AROUND, 0.5), _STEADY)
    ratios = [
        before / usual, after / usual, before / local, after / local, after / before, local / usual, before / slow,
        after / slow, before / stable_interval(gaps),
    ]  # fmt: skip
    logs = np.log(ratios)
    columns = [before - 0.8, after - 0.8, *logs[:6], early / spread / (2 * _SCALE), *logs[6:]]
    columns += [np.log(each / _STEADY) / 3 for each in (spread, _irregularity(before))]
    columns += [np.log(before / paced), np.log(after / paced)]
    return (_SCALE * np.stack(columns, axis=1)).clip(-_SCALE, _SCALE)


def _irregularity(before: np.ndarray) -> np.ndarray:
    """Median change from one of `(beats,)` to the next, second, third or fourth next, whichever is smallest."""
    steps = [np.abs(np.log(before[lag:] / before[:-lag])) for lag in range(1, min(_PATTERN, len(before) - 1) + 1)]
    changes = [np.pad(step, (len(before) - len(step), 0), mode="edge") for step in steps]
    return np.maximum(np.min([_quantile_around(change, _AROUND, 0.5) for change in changes], axis=0), _STEADY)


def stable_interval(gaps: np.ndarray) -> float:
    """Median of the longest stretch of `(gaps,)` in which none differs by a tenth or more from the one before."""
    breaks = np.flatnonzero(np.abs(np.diff(np.log(gaps))) > 0.1) + 1
    return float(np.median(max(np.split(gaps, breaks), key=len)))


def _quantile_around(values: np.ndarray, width: int, q: float, kept: np.ndarray | None = None) -> np.ndarray:
    """Quantile of half the `width` on each side; only of those `kept` if these are a tenth or more."""
    reach = min(width // 2, len(values) - 1)
    kept = np.ones(len(values), bool) if kept is None else kept
    around, among = (
        np.lib.stride_tricks.sliding_window_view(np.pad(each, reach, mode="reflect"), 2 * reach + 1)
        for each in (values, kept)
    )
    among = among | (among.sum(1, keepdims=True) < reach / 5)
    position = np.rint(q * (among.sum(1) - 1)).astype(int)
    return np.sort(np.where(among, around, np.inf), axis=1)[np.arange(len(values)), position]


def _like_the_one_before(beats: np.ndarray) -> np.ndarray:
    """Whether each of `(beats, WINDOW, LEADS)` has the QRS of the beat before: bool `(beats,)`."""
    near = beats[:, _NEAR_QRS]
    return np.concatenate([[True], _correlation(near[1:], near[:-1]) > _SAME])
