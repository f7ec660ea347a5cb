"""Data augmentation for recipes with few patients: simulates patients from the heartbeats of a real one.

Records are the beats that `speechrnn.data.corpora.heartbeats.beat_features` returns, with their times and AAMI classes.
A copy has beats of its record at other times, in another order, or with leads at other positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.data.corpora.heartbeats import (
    BEFORE,
    LEADS,
    NUM_FEATURES,
    PARTS,
    RATE,
    RELATIVE,
    WINDOW,
    describe,
    relative,
)
from speechrnn.faults import suggestion

LEAST_ECTOPIC = 30
"""Ectopic beats that a record must have for `shorten_normal`."""
_FLAT = 0.1  # two leads that cancel each other out leave noise
_DRIFT = 150  # beats from one rate to the next
_CONDUCTED = 0.8  # correlation with normal QRS; aberrant S look like V
_KINDS = ("rhythm", "majority", "short")


def copied(
    name: str, beats: np.ndarray, seconds: np.ndarray, labels: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Create a copy of a record by the copy's name, with leads at other positions.

    Args:
        name: "rhythm" is `vary_rhythm`, "majority" `vary_majority` (or `vary_rhythm` where too few beats are normal,
            since most are ectopic already), "short" `shorten_normal`; a hyphen and any suffix may follow.
        beats: float `(beats, WINDOW, LEADS)`, in heights of the record's reference.
        seconds: Their times `(beats,)`.
        labels: AAMI class of each.
        rng: Random numbers.

    Returns:
        Rows, float32 `(beats, NUM_FEATURES)`, times and classes; empty if "short" finds too few ectopic beats.

    Raises:
        ValueError: The kind of copy is unknown.
    """
    kind = name.partition("-")[0]
    if kind not in _KINDS:
        raise ValueError(f"There is no copy {name!r}.{suggestion(kind, _KINDS, 'Known')}")
    if kind == "short":
        changed, times, classes = shorten_normal(beats, seconds, labels)
        if not classes:
            return np.zeros((0, NUM_FEATURES), np.float32), times, classes
    else:
        vary = vary_majority if kind == "majority" and enough_normal(labels) else vary_rhythm
        changed, times, classes = vary(beats, seconds, labels, rng)
    return describe(vary_leads(changed, rng), times, least_height=_FLAT), times, classes


def vary_rhythm(
    beats: np.ndarray, seconds: np.ndarray, labels: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Change the times of the beats, to simulate rhythms that few patients have.

    The rate drifts by a tenth to a fifth over minutes, as in any heart, which changes no class. Of the stretches of 100
    to 400 beats without an S, a third fibrillate (in a third of the copies all of them): they become irregular and
    lose their P waves, which changes no class either. In the other stretches, one of 30 beats among N is premature, and
    becomes S; a quarter of these begin a run of up to 120 beats, a third faster or more, if it has only N.

    Args:
        beats: float `(beats, WINDOW, LEADS)`, in heights of the record's reference.
        seconds: Their times `(beats,)`.
        labels: AAMI class of each.
        rng: Random numbers.

    Returns:
        The beats, their times and classes.
    """
    gaps, classes, start = np.diff(seconds), np.array(labels, "U1"), 0
    beats, fibrillating = beats.copy(), 1.0 if rng.random() < 1 / 3 else 1 / 3
    knots = np.arange(0, len(gaps) + _DRIFT, _DRIFT)
    gaps *= np.exp(np.interp(np.arange(len(gaps)), knots, 0.12 * rng.standard_normal(len(knots))))
    while start < len(gaps):
        stop = min(start + int(rng.integers(100, 400)), len(gaps))
        if rng.random() < fibrillating and "S" not in classes[start : stop + 1]:
            spread = rng.uniform(0.15, 0.4) * rng.standard_normal(stop - start)
            gaps[start:stop] *= rng.uniform(0.6, 1.1) * np.exp(spread)
            within = start + 1 + np.flatnonzero(classes[start + 1 : stop + 1] == "N")
            beats[within] = _without_p_wave(beats[within], rng)
        else:
            _hasten(gaps, classes, start + 3, stop - 3, rng)
        start = stop
    times = seconds[0] + np.concatenate([[0.0], np.cumsum(np.maximum(gaps, 0.25))])
    return beats, times, classes.tolist()


@dataclass(frozen=True)
class _Rhythm:
    """Rhythm of a stretch: mean lengths of its runs of normal beats and of ectopic beats."""

    normal: float
    ectopic: float
    share: float
    """Fraction of the stretches of all patients."""


_RHYTHMS = (
    _Rhythm(1.0, 1.0, 0.2), _Rhythm(1.0, 2.0, 0.15), _Rhythm(1.3, 5.0, 0.3), _Rhythm(2.0, 12.0, 0.2),
    _Rhythm(20.0, 1.0, 0.15),
)  # fmt: skip


def enough_normal(labels: Sequence[str]) -> bool:
    """Whether `vary_majority` can simulate a patient from these classes: at least a tenth must be N."""
    return int((np.asarray(labels) == "N").sum()) >= max(1, len(labels) / 10)


def vary_majority(
    beats: np.ndarray, seconds: np.ndarray, labels: Sequence[str], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Simulate a patient with mostly premature beats from the beats of a real one.

    Stretches of 60 to 250 beats are bigeminy, couplets, short and long runs, or normal beats with few ectopic ones,
    with probabilities drawn for each simulated patient. The ectopic beats are the patient's own V beats, if there are
    five, own S beats, if there are ten with normal conduction, or normal beats with another P wave, which are S. A run
    begins early and is followed by a pause, short in some patients and of seconds in others, as in sick sinus
    syndrome. A third of the patients with V also fibrillate; those with S do not, since there would be no P waves.

    Args:
        beats: float `(beats, WINDOW, LEADS)`, in heights of the record's reference.
        seconds: Their times `(beats,)`.
        labels: AAMI class of each; at least one in ten must be N.
        rng: Random numbers.

    Returns:
        Beats, times, and classes, as many as before.

    Raises:
        ValueError: Too few beats are N.
    """
    classes, count = np.array(labels, "U1"), len(beats)
    pools = {name: np.flatnonzero(classes == name) for name in "NSV"}
    if not enough_normal(labels):
        raise ValueError(f"One beat in ten must be N. Received: {len(pools['N'])} of {count}.")
    usual = np.median(beats[pools["N"]], axis=0)
    pools["S"] = pools["S"][relative(beats[pools["S"]], usual)[:, RELATIVE.index("QRS alike")] > 2 * _CONDUCTED]
    kinds = ["P"] + ["S"] * (len(pools["S"]) >= 10) + ["V"] * (len(pools["V"]) >= 5)
    kind = str(rng.choice(kinds))
    fibrillates = kind == "V" and rng.random() < 1 / 3
    ectopic, gaps = _ectopic_rhythm(count, seconds, rng)
    normal, early = pools["N"], pools["N" if kind == "P" else kind]
    # In the order of the record, to keep its slow changes.
    order = np.arange(count) / count
    source = np.where(ectopic, early[(order * len(early)).astype(int)], normal[(order * len(normal)).astype(int)])
    simulated = beats[source].copy()
    if kind == "P":
        simulated[ectopic] = _other_p_wave(simulated[ectopic], rng)
    elif fibrillates:
        simulated[~ectopic] = _without_p_wave(simulated[~ectopic], rng)
        gaps = np.maximum(gaps * np.exp(rng.uniform(0.1, 0.3) * rng.standard_normal(count)), 0.25)
    times = seconds[0] + np.concatenate([[0.0], np.cumsum(gaps[1:])])
    simulated_classes = np.where(ectopic, "V" if kind == "V" else "S", "N").tolist()
    return simulated, times, simulated_classes


def shorten_normal(
    beats: np.ndarray, seconds: np.ndarray, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Remove the normal beats between ectopic runs, except the first one after each run.

    Half of the beats or more are then ectopic, and nothing is simulated: each keeps its class, its shape, and the
    interval before it; features relative to other beats have to be computed again.

    Args:
        beats: float `(beats, WINDOW, LEADS)`, in heights of the record's reference.
        seconds: Their times `(beats,)`.
        labels: AAMI class of each.

    Returns:
        The remaining beats, times and classes; empty if fewer than `LEAST_ECTOPIC` are S or V.
    """
    classes = np.array(labels, "U1")
    ectopic = np.isin(classes, ["S", "V"])
    if int(ectopic.sum()) < LEAST_ECTOPIC:
        return beats[:0], seconds[:0], []
    kept = np.flatnonzero(ectopic | np.concatenate([[False], ectopic[:-1]]))
    gaps = np.diff(seconds, prepend=seconds[0] - np.median(np.diff(seconds)))[kept]
    times = seconds[0] + np.cumsum(gaps)
    return beats[kept], times, classes[kept].tolist()


def _ectopic_rhythm(count: int, seconds: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw which of `count` beats are ectopic, and the interval before each in seconds."""
    knots = np.arange(0, count + _DRIFT, _DRIFT)
    rate = np.exp(np.interp(np.arange(count), knots, 0.1 * rng.standard_normal(len(knots))))
    gaps = rng.uniform(0.8, 1.5) * float(np.median(np.diff(seconds))) * rate
    gaps *= np.exp(rng.uniform(0.01, 0.05) * rng.standard_normal(count))
    ectopic, start = np.zeros(count, bool), int(rng.integers(1, 20))
    early, pause, spread = rng.uniform(0.5, 0.85), np.exp(rng.uniform(0.0, 1.3)), rng.uniform(0.03, 0.15)
    shares = rng.dirichlet([3 * rhythm.share for rhythm in _RHYTHMS])
    while start < count:
        stop = min(start + int(rng.integers(60, 250)), count)
        rhythm = _RHYTHMS[int(rng.choice(len(_RHYTHMS), p=shares))]
        while start < stop:
            start += int(rng.geometric(1 / rhythm.normal))
            end = min(start + int(rng.geometric(1 / rhythm.ectopic)), stop)
            ectopic[start:end] = True
            gaps[start:end] *= early * np.exp(spread * rng.standard_normal(max(0, end - start)))
            if start < end < count:
                gaps[end] *= pause * np.exp(spread * rng.standard_normal())
            start = max(start, end)
        start = stop
    return ectopic, np.maximum(gaps, 0.25)


def _other_p_wave(beats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Beats `(beats, WINDOW, LEADS)` with another origin in the atria: all get the same new P wave."""
    positions = np.arange(PARTS["P"].stop)
    center, width = rng.uniform(12, 34), rng.uniform(3, 7)
    bump = np.exp(-0.5 * ((positions - center) / width) ** 2)[:, None] * rng.uniform(-0.15, 0.15, LEADS)
    return _p_wave_changed(beats, bump, kept=rng.uniform(0.0, 0.7))


def _without_p_wave(beats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Beats `(beats, WINDOW, LEADS)` with fibrillation waves of 4 to 9 Hz instead of P waves."""
    seconds = np.arange(PARTS["P"].stop) / RATE
    phase = rng.uniform(0, 2 * np.pi, (len(beats), 1)) + 2 * np.pi * rng.uniform(4, 9) * seconds
    trembling = np.sin(phase)[:, :, None] * rng.uniform(0, 0.08, LEADS)
    return _p_wave_changed(beats, trembling, kept=0.0)


def _p_wave_changed(beats: np.ndarray, added: np.ndarray, *, kept: float) -> np.ndarray:
    """Keep a part of the beats' median P wave, and add a signal that fades towards the QRS complex."""
    changed, part = beats.copy(), PARTS["P"]
    if len(beats):
        fade = np.clip((part.stop - np.arange(part.stop)) / 8.0, 0, 1)[:, None]
        changed[:, part] += fade * (added - (1 - kept) * np.median(beats[:, part], axis=0))
    return changed


def vary_leads(beats: np.ndarray, rng: np.random.Generator, *, angle: float = 0.8, stretch: float = 0.15) -> np.ndarray:
    """Simulate other lead positions: mixes the leads, and stretches or compresses all beats.

    A lead is a projection of the heart's dipole, so another position measures a weighted sum of the leads.

    Args:
        beats: float `(beats, WINDOW, LEADS)` of one record.
        rng: Random numbers: one draw of each lead's angle and of the width, for all beats.
        angle: Largest angle between an old and a new lead, in radians; 0 keeps the leads.
        stretch: Largest relative change of the time around the mark; 0 keeps it.

    Returns:
        float `(beats, WINDOW, LEADS)`.
    """
    turns = rng.uniform(-angle, angle, LEADS)
    mixture = np.diag(np.cos(turns)) + np.diag(np.sin(turns))[:, ::-1]
    beats = beats @ mixture.T.astype(np.float32)
    positions = BEFORE + (np.arange(WINDOW) - BEFORE) * (1 + rng.uniform(-stretch, stretch))
    positions = positions.clip(0, WINDOW - 1)
    lower = np.minimum(positions.astype(np.int64), WINDOW - 2)
    fraction = (positions - lower).astype(np.float32)[:, None]
    return beats[:, lower] * (1 - fraction) + beats[:, lower + 1] * fraction


def _hasten(gaps: np.ndarray, classes: np.ndarray, first: int, last: int, rng: np.random.Generator) -> None:
    """Make some of the beats from `first` to `last` premature, in place."""
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
