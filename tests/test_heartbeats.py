"""Heartbeats as rows: what is premature looks so whether few beats are or most, and copies are other patients."""

import math

import numpy as np
import pytest
from test_signal_corpora import RATE, heart

from speechrnn import signals
from speechrnn.data.corpora import heartbeats, patients


def test_a_row_says_how_a_beat_differs(tmp_path):
    symbols = "NNNNNNNNVNNNNNNN"
    positions = heart(tmp_path / "101", symbols, wander=300.0)
    rows, beats, seconds = heartbeats.beat_features(*signals.read(tmp_path / "101.hea"), positions)
    np.testing.assert_allclose(seconds, positions / RATE)
    assert rows.shape == (16, heartbeats.NUM_FEATURES) and beats.shape == (16, heartbeats.WINDOW, heartbeats.LEADS)
    mark = heartbeats.BEFORE
    usual = [i for i in range(2, 14) if symbols[i] == "N" and symbols[i + 1] == "N"]
    # Height 1 for the usual beat in both leads though one is half the other, and no wander.
    np.testing.assert_allclose(beats[usual, mark], 1, atol=0.05)
    np.testing.assert_allclose(beats[8, mark], [2, 2], atol=0.1)
    times = np.linspace(-mark, heartbeats.WINDOW - mark - 1, heartbeats.WINDOW) / heartbeats.RATE
    np.testing.assert_allclose(beats[5, :, 0], np.exp(-((times * RATE / 8) ** 2)), atol=0.08)
    found = columns(rows)
    premature = {name: column[8] for name, column in found.items()}
    assert premature["before"] == pytest.approx(4 * (200 / RATE - 0.8), abs=1e-5)
    assert premature["before / usual"] == pytest.approx(4 * math.log(200 / 300), abs=1e-5)
    assert premature["after / before"] == pytest.approx(4 * math.log(300 / 200), abs=1e-5)
    assert premature["local / usual"] == pytest.approx(0, abs=1e-5)
    assert premature["before / local in spreads"] == -4  # nothing else is early in this rhythm
    assert premature["before / slow"] == premature["before / stable"] == premature["before / usual"]  # steady, one V
    for base in ("reference", "median"):
        assert premature[f"QRS from the {base}"] > 3 > premature[f"P from the {base}"]
    for lead in (1, 2):
        assert premature[f"height in lead {lead}"] == pytest.approx(math.log(2), abs=0.1)
        assert premature[f"direction in lead {lead}"] == pytest.approx(2, abs=0.2)
        assert premature[f"QRS off in lead {lead}"] > found[f"QRS off in lead {lead}"][usual].max() + 1
    np.testing.assert_allclose(found["QRS alike"][usual], 2, atol=0.05)
    np.testing.assert_allclose(found["width / reference"][usual], 0, atol=0.1)


def bumps(widths, heights=1.0):
    """Beats `(beats, WINDOW, LEADS)`: a bump of some width in samples at the mark, half as high in the second lead."""
    times = np.arange(heartbeats.WINDOW) - heartbeats.BEFORE
    one = heights * np.exp(-((times / np.asarray(widths, float)[:, None]) ** 2))
    return one[:, :, None] * [1.0, 0.5]


def columns(rows):
    """A row's numbers by name."""
    names = (*heartbeats.INTERVALS, *heartbeats.DIFFERENCES, *heartbeats.SHAPE, *heartbeats.RELATIVE)
    return dict(zip(names, rows.T, strict=True))


def test_a_premature_beat_looks_premature_where_three_in_four_are():
    ectopic = np.tile([False, True, True, True], 50)
    gaps = np.where(ectopic, 0.6, 1.1)
    beats = bumps(np.where(ectopic, 12.0, 4.0))
    found = columns(rows := heartbeats.describe(beats, np.cumsum(gaps)))
    np.testing.assert_allclose(heartbeats.reference(beats, np.cumsum(gaps)), beats[0])
    assert np.abs(found["before / usual"][ectopic][1:]).max() < 1e-6  # what is usual says nothing
    slow = found["before / slow"][10:-10]
    np.testing.assert_allclose(slow[ectopic[10:-10]], 4 * math.log(0.6 / 1.1), atol=1e-5)
    np.testing.assert_allclose(slow[~ectopic[10:-10]], 0, atol=1e-6)
    assert found["QRS from the reference"][ectopic].min() > found["QRS from the reference"][~ectopic].max()
    assert found["QRS from the median"][ectopic].max() < found["QRS from the median"][~ectopic].min()  # the wrong way
    # Alone, a wide beat is wide, and those like it come early, however many they are.
    np.testing.assert_allclose(np.exp(found["width"][ectopic]) / np.exp(found["width"][~ectopic][0]), 3, rtol=0.15)
    np.testing.assert_allclose(found["alike"], np.where(ectopic, 0.75, 0.25), atol=1e-6)
    assert found["those alike early"][ectopic].max() < -2 < found["those alike early"][~ectopic].min()
    few = np.tile([False, False, False, True], 50)
    other = columns(heartbeats.describe(bumps(np.where(few, 12.0, 4.0)), np.cumsum(np.where(few, 0.6, 1.1))))
    assert other["width"][few][0] == pytest.approx(found["width"][1]) and np.isfinite(rows).all()


def test_the_stable_rhythm_is_that_of_the_longest_stretch():
    assert heartbeats.stable_interval(np.array([0.5, 0.9, 0.5, 1.0, 1.02, 1.04, 0.7, 0.7])) == 1.02
    assert heartbeats.stable_interval(np.array([0.8])) == 0.8


def test_another_rhythm_moves_beats_and_changes_no_other_class(rng):
    seconds = np.cumsum(np.full(4000, 0.8)) + 0.01 * rng.standard_normal(4000)
    labels = rng.choice(["N"] * 960 + ["V"] * 39 + ["S"], 4000)
    before = bumps(rng.uniform(4, 5, 4000))
    beats, times, classes = patients.vary_rhythm(before, seconds, labels, np.random.default_rng(1))
    np.testing.assert_array_equal(beats[:, 38:], before[:, 38:])  # but for the P wave of those that fibrillate
    fibrillating = np.abs(beats - before).max((1, 2)) > 0.02
    assert 0.05 < fibrillating.mean() < 0.6
    whole, _, _ = patients.vary_rhythm(before, seconds, labels, np.random.default_rng(2))
    assert 0.6 < (np.abs(whole - before).max((1, 2)) > 0.02).mean() < 0.97  # not V, not near an S
    moved = labels != np.array(classes)
    assert moved.sum() > 50 and set(labels[moved]) == {"N"} and set(np.array(classes)[moved]) == {"S"}
    first = moved & ~np.roll(moved, 1)
    gaps = dict(zip(heartbeats.INTERVALS, heartbeats.intervals(times).T, strict=True))
    assert np.quantile(gaps["before / usual"][first] / 4, 0.95) < np.log(0.9)  # what became S is early
    again, _, _ = patients.vary_rhythm(before, seconds, labels, np.random.default_rng(1))
    np.testing.assert_array_equal(beats, again)
    _, times, kept = patients.vary_rhythm(before, seconds, ["S"] * 4000, np.random.default_rng(1))
    assert kept == ["S"] * 4000  # no stretch without an S becomes irregular, and no N is there to come early
    moves = heartbeats.intervals(times) - heartbeats.intervals(seconds)
    for name, column in zip(heartbeats.INTERVALS, moves.T / 4, strict=True):
        drifts = name in ("before", "after", "before / usual", "after / usual", "local / usual", "before / stable")
        assert (0.06 if drifts else 0) <= column.std() < (0.2 if drifts else 0.03), name


def test_patients_are_made_in_whom_most_beats_are_premature(rng):
    seconds = np.cumsum(0.8 + 0.01 * rng.standard_normal(1200))
    labels = np.where(np.arange(1200) % 30 == 9, "V", "N")
    labels[5] = "Q"
    beats = bumps(np.where(labels == "V", 12.0, np.where(labels == "Q", 30.0, 4.0)))
    usual = np.median(columns(heartbeats.describe(beats, seconds))["width"])
    kinds, shares, pauses = set(), [], []
    for seed in range(12):
        made, times, classes = patients.vary_majority(beats, seconds, labels, np.random.default_rng(seed))
        assert made.shape == beats.shape and np.diff(times).min() >= 0.25 - 1e-9
        classes, found = np.array(classes), columns(heartbeats.describe(made, times))
        (kind,) = set(classes) - {"N"}
        kinds.add(kind)
        ectopic = classes != "N"
        shares.append(ectopic.mean())
        wide = found["width"] > np.log(2) + usual
        np.testing.assert_array_equal(wide, ectopic if kind == "V" else np.zeros(1200, bool))  # Q is nobody's beat
        assert np.median(found["before / slow"][ectopic]) < np.median(found["before / slow"][~ectopic]) - 0.5
        pauses.append(np.diff(times)[np.flatnonzero(ectopic[:-1] & ~ectopic[1:])].max() / np.median(np.diff(times)))
    assert kinds == {"S", "V"} and np.mean(shares) > 0.5 < max(shares)
    assert min(pauses) < 3 < max(pauses)  # in some it lasts for seconds
    with pytest.raises(ValueError, match=r"One beat in ten must be N. Received: 0 of 1200."):
        patients.vary_majority(beats, seconds, ["V"] * 1200, rng)


def test_a_patient_without_the_normal_stretches_keeps_classes_shapes_and_intervals(rng):
    seconds = np.cumsum(0.8 + 0.01 * rng.standard_normal(1200))
    labels = np.where(np.arange(1200) % 30 == 9, "V", "N")
    labels[600:620] = "S"
    labels[700] = "F"
    seconds[600:620] -= 0.3 * np.linspace(0, 1, 20)
    beats = bumps(np.where(labels == "V", 12.0, 4.0) + rng.uniform(0, 0.1, 1200))
    made, times, classes = patients.shorten_normal(beats, seconds, labels)
    ectopic = np.isin(labels, ["S", "V"])
    left = [i for i in range(1200) if ectopic[i] or (i and ectopic[i - 1])]
    assert classes == labels[left].tolist() and np.isin(classes, ["S", "V"]).mean() > 0.5
    np.testing.assert_allclose(np.diff(times), np.diff(seconds)[np.array(left[1:]) - 1])
    np.testing.assert_array_equal(made, beats[left])
    few = np.where(np.arange(1200) % 60 == 9, "V", "N")  # 20 of them
    made, times, classes = patients.shorten_normal(beats, seconds, few)
    assert len(made) == len(times) == len(classes) == 0


def test_the_same_early_beat_is_remarkable_in_a_steady_rhythm_only(rng):
    def earliness(spread):
        gaps = 0.8 * np.exp(spread * rng.standard_normal(200))
        gaps[99] = 0.8 * 0.75
        return dict(zip(heartbeats.INTERVALS, heartbeats.intervals(np.cumsum(gaps)).T, strict=True))

    steady, fibrillating = earliness(0.01), earliness(0.2)
    assert steady["before / local"][99] == pytest.approx(4 * math.log(0.75), abs=0.1)
    assert steady["before / local in spreads"][99] < -3
    others = np.delete(steady["before / local in spreads"], 99)
    assert np.abs(others).max() < 1
    assert -2 < fibrillating["before / local in spreads"][99] < 0


def test_the_pause_behind_a_ventricular_beat_is_not_the_pace_of_the_sinus(rng):
    # Ten normal beats, then trigeminy, again and again: every normal beat of the tens comes in time.
    ectopic = np.tile([False] * 10 + [False, False, True] * 10, 12)
    gaps = np.where(ectopic, 0.5, np.where(np.roll(ectopic, 1), 1.2, 0.8)) + 0.005 * rng.standard_normal(len(ectopic))
    found = columns(heartbeats.describe(bumps(np.where(ectopic, 12.0, 4.0)), np.cumsum(gaps)))
    middle = np.arange(40, len(gaps) - 40)
    in_time = ~ectopic & ~np.roll(ectopic, 1)
    in_time, ectopic = middle[in_time[middle]], middle[ectopic[middle]]
    assert np.abs(found["before / paced"][in_time]).max() < 0.15  # 4 log(0.8 / 1.2) is -1.6
    np.testing.assert_allclose(found["before / paced"][ectopic], 4 * math.log(0.5 / 0.8), atol=0.15)
    assert np.median(found["before / slow"][in_time]) < -1  # a fifth of the intervals are pauses


def test_what_repeats_itself_is_not_irregular(rng):
    def irregular(gaps):
        found = dict(zip(heartbeats.INTERVALS, heartbeats.intervals(np.cumsum(gaps)).T, strict=True))
        return found["irregular"], found["spread"]

    noise = np.exp(0.01 * rng.standard_normal(240))
    for pattern in ([0.6, 1.0], [0.8, 0.6, 1.0], [0.8, 0.8, 0.6, 1.0]):
        repeated, spread = irregular(np.tile(pattern, 240 // len(pattern)) * noise)
        assert repeated.max() < 0.1 and (len(pattern) > 2 or spread.min() > 1)
    fibrillating, spread = irregular(0.8 * np.exp(0.2 * rng.standard_normal(240)))
    assert fibrillating.min() > 1 < spread.min()
    short, _ = irregular(np.array([0.8, 0.8, 0.8]))
    np.testing.assert_array_equal(short, 0)


def test_beats_the_same_in_qrs_and_t_are_one_cluster():
    # QRS hardly differs; the T waves of every third point the other way.
    other = np.tile([False, False, True], 60)
    beats = bumps(np.where(other, 4.4, 4.0))
    times = np.arange(heartbeats.WINDOW)
    beats += np.where(other, -0.5, 0.5)[:, None, None] * np.exp(-(((times - 95) / 10) ** 2))[None, :, None]
    found = columns(heartbeats.describe(beats, np.cumsum(np.where(other, 0.6, 0.9))))
    np.testing.assert_allclose(found["alike"], 1, atol=1e-6)  # by QRS all are
    np.testing.assert_allclose(np.exp(2 * found["same"]), np.where(other, 61, 121) / 180, rtol=1e-4)
    assert found["those same early"][other].max() < -1 < -0.1 < found["those same early"][~other].min()
    assert found["those same wide"][other].min() > found["those same wide"][~other].max()


def test_atria_that_fibrillate_share_no_p_wave(rng):
    beats = bumps(np.full(200, 4.0))
    times, phase = np.arange(38), rng.uniform(0, 2 * np.pi, (100, 1))
    beats[:100, :38] += 0.1 * np.exp(-(((times - 24) / 5) ** 2))[:, None]
    beats[40, :38] -= 0.2 * np.exp(-(((times - 24) / 5) ** 2))[:, None]  # it begins elsewhere in the atria
    beats[100:, :38] += 0.1 * np.sin(phase + 0.2 * times)[:, :, None]
    gaps = np.where(np.arange(200) < 100, 0.8, 0.8 * np.exp(0.2 * rng.standard_normal(200)))
    found = columns(heartbeats.describe(beats, np.cumsum(gaps)))
    assert found["P kept"][:80].min() > 1.7 and found["P kept"][120:].max() < 1.4
    assert found["P of those around"][40] < -1.5 and np.delete(found["P of those around"][:80], 40).min() > 1.9
    assert abs(found["P of those around"][120:].mean()) < 0.8
    assert found["spread"][:80].max() == 0 and found["spread"][120:].min() > 1


def test_differences_say_where_a_beat_is_unlike_the_record(rng):
    shapes = 0.02 * rng.standard_normal((50, heartbeats.WINDOW, 2))
    shapes[7, heartbeats.PARTS["P"]] += 0.2
    found = dict(zip(heartbeats.PARTS, heartbeats.differences(shapes).T, strict=True))
    assert found["P"][7] == pytest.approx(math.log(10), abs=0.2)
    for name, column in found.items():
        assert np.abs(np.delete(column, 7)).max() < 0.5 and (name == "P" or abs(column[7]) < 0.5)
    np.testing.assert_allclose(heartbeats.differences(5 * shapes), heartbeats.differences(shapes), atol=1e-6)
    assert not heartbeats.differences(np.zeros((3, heartbeats.WINDOW, 2))).any()


def test_other_places_of_the_leads_see_sums_of_both(rng):
    before = rng.standard_normal((2, heartbeats.WINDOW, 2)).cumsum(axis=1)
    same = patients.vary_leads(before, np.random.default_rng(1), angle=0, stretch=0)
    np.testing.assert_allclose(same, before, atol=1e-6)
    after = patients.vary_leads(before, np.random.default_rng(1), angle=0.8, stretch=0)
    for lead in range(2):
        # One weighted sum of both leads explains all beats, and the lead's own part is the larger one.
        weights, *_ = np.linalg.lstsq(before.reshape(-1, 2), after[:, :, lead].ravel(), rcond=None)
        np.testing.assert_allclose(after[:, :, lead], before @ weights, atol=1e-4)
        assert abs(weights[1 - lead]) > 0.01 and np.arctan2(abs(weights[1 - lead]), weights[lead]) <= 0.8


def test_a_stretched_beat_stays_at_its_mark():
    beats, widths = bumps([12.0] * 3), []
    for seed in range(8):
        bump = patients.vary_leads(beats, np.random.default_rng(seed), angle=0, stretch=0.2)[0, :, 0]
        assert bump.argmax() == heartbeats.BEFORE
        widths.append(bump.sum() / beats[0, :, 0].sum())
    assert 0.8 < min(widths) < 0.95 and 1.05 < max(widths) < 1.25


def test_a_copy_has_rows_times_and_classes_of_its_own(rng):
    seconds, labels = np.cumsum(np.full(100, 0.8)), ["N"] * 100
    beats = bumps(rng.uniform(4, 5, 100))
    for kind in ("rhythm-0", "majority-1"):
        rows, times, classes = patients.copied(kind, beats, seconds, labels, np.random.default_rng(1))
        assert rows.shape == (100, heartbeats.NUM_FEATURES) and len(times) == len(classes) == 100
        np.testing.assert_allclose(rows[:, heartbeats.RHYTHM], heartbeats.intervals(times), rtol=1e-4, atol=1e-4)
    rows, times, classes = patients.copied("short", beats, seconds, labels, rng)
    assert rows.shape == (0, heartbeats.NUM_FEATURES) and len(times) == len(classes) == 0
    with pytest.raises(ValueError, match=r"There is no copy 'ryhthm-0'. Did you mean `rhythm`"):
        patients.copied("ryhthm-0", beats, seconds, labels, rng)
