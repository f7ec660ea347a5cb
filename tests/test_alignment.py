"""Forced alignment against brute force and known answers; confidences against their definition; TextGrid files."""

import itertools

import numpy as np
import pytest

from speechrnn.decoding import align, textgrid
from speechrnn.metrics.calibration import Calibration, calibration_error, reliability
from speechrnn.tasks.recognition.transcript import spell
from speechrnn.text import Vocabulary


def best_of_all_paths(logits, ids):
    """Log probability of the likeliest path that spells `ids`, and how many paths have it."""
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if [s for s, _ in itertools.groupby(path) if s] == list(ids):
            found[path] = sum(logs[t, s] for t, s in enumerate(path))
    best = max(found, key=found.get)
    return best, found[best]


def test_the_confidence_of_an_impossible_word_is_above_zero():
    path = align(np.float32([[0, 500, 0], [0, 500, 0]]), [2])
    assert path.confidences.tolist() == [0.0]
    (word,) = spell(path, Vocabulary("ab"), frame_period=1.0)
    assert word.word == "b" and 0 < word.confidence < 1e-30


@pytest.mark.parametrize("ids", [[], [1], [1, 1], [1, 2], [2, 1, 2], [1, 1, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_the_path_is_the_likeliest_of_all(ids, seed):
    logits = np.random.default_rng(seed).normal(size=(6, 3), scale=2)
    wanted, _ = best_of_all_paths(logits, ids)
    found = align(logits, ids)
    frames = np.zeros(6, int)
    for symbol, start, end in zip(found.ids, found.start_frames, found.end_frames, strict=True):
        frames[start:end] = symbol
    assert frames.tolist() == list(wanted)


def test_a_known_layout_is_found_exactly(rng):
    ids, starts, lengths = [3, 1, 1, 2], [4, 9, 15, 18], [3, 4, 3, 5]
    frames = np.zeros(30, int)
    for symbol, start, length in zip(ids, starts, lengths, strict=True):
        frames[start : start + length] = symbol
    path = align(8 * np.eye(4)[frames] + rng.normal(size=(30, 4)), ids)
    assert path.start_frames.tolist() == starts
    assert (path.end_frames - path.start_frames).tolist() == lengths


def test_a_text_of_hundreds_of_symbols_is_found_exactly(rng):
    ids = rng.integers(1, 4, 400)
    frames = np.zeros(2000, int)
    frames[2::5] = frames[3::5] = ids
    path = align(8 * np.eye(4)[frames], ids)
    assert path.start_frames.tolist() == list(range(2, 2000, 5))
    assert path.end_frames.tolist() == list(range(4, 2000, 5))


def test_confidence_is_the_geometric_mean_over_the_frames(rng):
    logits = rng.normal(size=(9, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    path = align(logits, [1, 3])
    for symbol, start, end, sure in zip(path.ids, path.start_frames, path.end_frames, path.confidences, strict=True):
        assert sure == pytest.approx(np.prod(probabilities[start:end, symbol]) ** (1 / (end - start)), rel=1e-6)


@pytest.mark.parametrize(("ids", "frames"), [([1, 2, 1], 2), ([1, 1], 2), ([1], 0)])
def test_a_text_longer_than_the_audio_is_refused(ids, frames):
    with pytest.raises(ValueError, match=f"Received: {frames} frames"):
        align(np.zeros((frames, 3)), ids)
    needed = len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
    assert len(align(np.zeros((needed, 3)), ids)) == len(ids)


@pytest.mark.parametrize("ids", [[2], [1, 2], [2, 1]])
def test_a_text_that_the_logits_rule_out_is_refused(ids):
    with pytest.raises(ValueError, match="The text must be possible"):
        align(np.tile([0, 0, -np.inf], (5, 1)), ids)
    assert len(align(np.tile([0, 0, -np.inf], (5, 1)), [1, 1])) == 2


def test_an_empty_reference_is_all_blank(rng):
    assert len(align(rng.normal(size=(5, 3)), [])) == 0
    assert len(align(np.zeros((0, 3)), [])) == 0


@pytest.mark.parametrize("ids", [[0], [3], [-1], [[1]]])
def test_what_is_no_symbol_is_refused(ids):
    with pytest.raises(ValueError, match=r"indices in \[1, 3\)"):
        align(np.zeros((5, 3)), ids)


# Confidence


def naive_error(p, right, bins):
    total = 0.0
    for k in range(bins):
        inside = [i for i, x in enumerate(p) if (k / bins <= x < (k + 1) / bins) or (k == bins - 1 and x == 1)]
        if inside:
            total += abs(sum(right[i] for i in inside) - sum(p[i] for i in inside))
    return total / len(p)


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_calibration_error_is_the_naive_sum(bins, rng):
    p = np.concatenate([rng.random(300), [0.0, 0.25, 0.5, 1.0]])
    right = rng.random(len(p)) < p**2
    assert calibration_error(p, right, bins) == pytest.approx(naive_error(p.tolist(), right.tolist(), bins), abs=1e-12)


def test_the_bins_hold_every_word_once():
    found = reliability([0.0, 0.1, 0.15, 1.0], [False, True, False, True], bins=10)
    assert [b.words for b in found] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (found[1].confidence, found[1].accuracy) == (pytest.approx(0.125), 0.5)
    assert np.isnan(found[2].accuracy)


def test_a_distortion_of_the_odds_is_found_and_undone(rng):
    truth = rng.random(20_000)
    right = rng.random(20_000) < truth
    odds = np.log(truth / (1 - truth))
    told = 1 / (1 + np.exp(-(2.0 * odds + 1.0)))  # too sure
    found = Calibration.fit(told, right)
    assert (found.slope, found.offset) == (pytest.approx(0.5, abs=0.03), pytest.approx(-0.5, abs=0.05))
    assert calibration_error(found(told), right) < 0.02 < calibration_error(told, right)


def test_the_fit_is_the_minimum_that_scipy_finds(rng):
    from scipy.optimize import minimize

    p = rng.uniform(0.05, 0.95, 200)
    right = rng.random(200) < p
    good = right.sum()
    targets = np.where(right, (good + 1) / (good + 2), 1 / (200 - good + 2))
    odds = np.log(p / (1 - p))
    loss = lambda w: (np.logaddexp(0, w[0] * odds + w[1]) - targets * (w[0] * odds + w[1])).sum()  # noqa: E731
    wanted = minimize(loss, [1.0, 0.0], tol=1e-12).x
    found = Calibration.fit(p, right)
    np.testing.assert_allclose([found.slope, found.offset], wanted, atol=1e-4)


@pytest.mark.parametrize("right", [[True] * 20, [False] * 20, [True, False] * 10])
def test_there_is_a_finite_answer_that_keeps_the_order(right):
    p = np.linspace(0, 1, 20)
    found = Calibration.fit(p, right)
    assert np.isfinite([found.slope, found.offset]).all()
    assert (np.diff(found(p)) >= 0).all()
    assert ((found(p) > 0) & (found(p) < 1)).all()


def test_confidences_that_fall_as_words_get_better_are_levelled_out():
    found = Calibration.fit([0.1, 0.2, 0.8, 0.9], [True, True, False, False])
    assert found(np.array([0.1, 0.9])).tolist() == pytest.approx([0.5, 0.5])


def test_a_calibration_is_kept_as_json(tmp_path):
    Calibration(0.7, -0.2).write(tmp_path / "c.json", words=12)
    assert Calibration.read(tmp_path / "c.json") == Calibration(0.7, -0.2)
    (tmp_path / "c.json").write_text('{"slope": 1}')
    with pytest.raises(ValueError, match=r"c.json: must be JSON with `slope` and `offset`"):
        Calibration.read(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("p", "right", "said"), [([], [], "no|none"), ([0.5], [], "one confidence"), ([1.5], [True], r"lie in \[0, 1\]")]
)
def test_what_cannot_be_calibrated_is_refused(p, right, said):
    with pytest.raises(ValueError, match=said):
        Calibration.fit(p, right)


# TextGrid


def test_a_textgrid_is_read_as_written(tmp_path):
    words = [(0.25, 0.5, 'say "hi"'), (0.5, 0.75, "two"), (1.0, 1.5, "three")]
    (tmp_path / "a.TextGrid").write_text(textgrid.write({"words": words, 'the "other" tier': []}, 1.75))
    assert textgrid.read(tmp_path / "a.TextGrid") == {"words": words, 'the "other" tier': []}


def test_a_textgrid_of_hours_has_milliseconds(tmp_path):
    words = [(36000.04, 36000.08, "a"), (36000.08, 36000.123, "b")]
    (tmp_path / "a.TextGrid").write_text(textgrid.write({"words": words}, 36001.5))
    assert textgrid.read(tmp_path / "a.TextGrid") == {"words": words}


def test_the_intervals_of_a_tier_leave_no_gap():
    text = textgrid.write({"words": [(0.5, 1.0, "yes")]}, 2.0)
    assert "intervals: size = 3" in text
    assert text.count('text = ""') == 2


def test_short_textgrids_and_utf_16_are_read(tmp_path):
    head = 'File type = "ooTextFile short"\n"TextGrid"\n\n0\n1\n<exists>\n1\n"IntervalTier"\n"words"\n0\n1\n2\n'
    (tmp_path / "a.TextGrid").write_text(head + '0\n0.5\n""\n0.5\n1\n"né"\n', encoding="utf-16")
    assert textgrid.read(tmp_path / "a.TextGrid") == {"words": [(0.5, 1.0, "né")]}


def test_what_is_no_textgrid_is_refused(tmp_path):
    (tmp_path / "a.TextGrid").write_text("0 1 yes")
    with pytest.raises(ValueError, match="is no TextGrid"):
        textgrid.read(tmp_path / "a.TextGrid")


def test_a_penalty_of_the_blank_spreads_symbols_over_frames_where_they_are_likely():
    logits = np.full((10, 3), -20.0)
    logits[:, 0] = 0.0
    logits[2:6, 1], logits[4, 1] = -5.0, 3.0  # a peak, and frames about it
    logits[6:9, 2], logits[7, 2] = -5.0, 3.0
    plain, spread = align(logits, [1, 2]), align(logits, [1, 2], blank_penalty=8.0)
    assert plain.start_frames.tolist() == [4, 7] and plain.end_frames.tolist() == [5, 8]
    assert spread.start_frames.tolist() == [2, 6] and spread.end_frames.tolist() == [6, 9]
    np.testing.assert_array_equal(spread.confidences, plain.confidences)
    assert spread.ids.tolist() == [1, 2]
