"""Anomalies: surprise, its likelihood, NAB's score against its program's loop, the corpus and the verb."""

import json
import math

import numpy as np
import pytest
from test_forecasting import RATE, write

from speechrnn import cli
from speechrnn.cli import terminal
from speechrnn.data.corpora import nab
from speechrnn.data.examples import read_example
from speechrnn.faults import Fault, Faults
from speechrnn.report.plots import plot_anomalies
from speechrnn.tasks.forecasting.anomalies import (
    NAB_PROFILES,
    anomaly_likelihood,
    nab_score,
    stretches,
    surprise,
)
from speechrnn.tasks.forecasting.detection import anomaly_score, evidence, tail_likelihood
from speechrnn.tasks.forecasting.finding import find_anomalies


class Repeater:
    """A forecaster that says the last value, and an interval of one unit to either side, two in the second channel."""

    columns, known, calendar = 2, (), ()
    sample_rate, channels, context, horizon, quantiles, median = RATE, 2, 8, 3, (0.1, 0.5, 0.9), 1
    scale = np.ones(2, np.float32)

    def __init__(self):
        self.given = []

    def predict_quantiles(self, given):
        self.given += [len(signal) for signal in given]
        last = np.stack([signal[-1] for signal in given]).astype("float32")
        spread = np.array([1.0, 2.0], "float32")
        each = np.stack([last - spread, last, last + spread], axis=-1)
        return np.repeat(each[:, None], self.horizon, axis=1)


def test_surprise_is_the_error_of_one_step_in_spreads(rng):
    values, model = rng.normal(size=(50, 2)).astype("float32"), Repeater()
    found = surprise(model, values, batch_size=7)
    expected = (np.abs(np.diff(values, axis=0)) / [1.0, 2.0]).mean(1)
    assert math.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected, rtol=1e-5)
    assert model.given == [min(n, 8) for n in range(1, 50)]


def test_a_forecast_is_not_surer_than_a_hundredth_of_the_spread():
    model = Repeater()
    model.scale = np.array([1000.0, 1000.0], np.float32)
    found = surprise(model, np.array([[0.0, 0.0], [5.0, 5.0]]))
    assert found[1] == pytest.approx(0.5)


def test_quantiles_that_meet_by_chance_are_no_certainty():
    class Unsteady(Repeater):
        def predict_quantiles(self, given):
            found = super().predict_quantiles(given)
            found[[len(signal) == 5 for signal in given]] *= 0  # all quantiles are 0
            return found

    values = np.ones((8, 2))
    found = surprise(Unsteady(), values)
    assert found[5] == pytest.approx(np.mean([1 / (0.5 * 4 / 5), 1 / (0.5 * 8 / 5)]))
    assert not found[[1, 2, 3, 4, 6, 7]].any()


def test_surprise_needs_an_interval():
    model = Repeater()
    model.quantiles = (0.5,)
    with pytest.raises(ValueError, match="needs a forecaster of two quantiles or more"):
        surprise(model, np.zeros((5, 2)))


@pytest.mark.parametrize(("short", "long"), [(1, 60), (5, 60), (10, 8000)])
def test_the_likelihood_is_that_of_a_plain_loop(short, long, rng):
    errors = rng.exponential(size=200)
    errors[0] = errors[33] = np.nan
    errors[150:155] += 6
    found = anomaly_likelihood(errors, short=short, long=long, fewest=40)
    for t in range(200):
        past, now = errors[max(0, t + 1 - short - long) : max(0, t + 1 - short)], errors[max(0, t + 1 - short) : t + 1]
        past, now = past[~np.isnan(past)], now[~np.isnan(now)]
        if len(past) < 40 or np.isnan(errors[t]):
            assert found[t] == 0
            continue
        tail = 0.5 * math.erfc((now.mean() - past.mean()) / max(past.std(), 0.05) / math.sqrt(2))
        assert found[t] == pytest.approx(min(1.0, max(0.0, math.log(tail + 1e-10) / math.log(1e-10))), abs=1e-9)
    assert found[150:155].max() > found[:150].max()


def test_the_likelihood_looks_back_only(rng):
    errors = rng.exponential(size=300)
    np.testing.assert_allclose(anomaly_likelihood(errors[:200]), anomaly_likelihood(errors)[:200], atol=1e-12)
    with pytest.raises(ValueError, match="`short` must be at least 1, and less than `long`"):
        anomaly_likelihood(errors, short=0)


def sigmoid(place):
    return -1.0 if place > 3.0 else 2 / (1 + math.exp(5 * place)) - 1.0


def nab_by_loop(scores, windows, weights, threshold):
    """The benchmark's sweeper, sample by sample, for one threshold: its raw score."""
    hit, false, miss = weights
    total = 0.0
    for series, own in zip(scores, windows, strict=True):
        probation = min(math.floor(0.15 * len(series)), 0.15 * 5000)
        best, previous = {}, None
        for i, value in enumerate(series):
            window = next((w for w in own if w[0] <= i <= w[1]), None)
            if window is not None:
                worth = hit * sigmoid(-(window[1] - i + 1) / (window[1] - window[0] + 1)) / sigmoid(-1.0)
                if i >= probation:
                    best[window] = max(best.get(window, -miss), worth if value >= threshold else -miss)
                if i == window[1]:
                    previous = window
            elif value >= threshold and i >= probation:
                if previous is None:
                    total -= false
                else:
                    total += false * sigmoid((i - previous[1]) / (previous[1] - previous[0]))
        total += sum(best.values())
    return total


@pytest.mark.parametrize("profile", NAB_PROFILES)
def test_nab_scores_as_the_benchmarks_program(profile, rng):
    windows = [[(60, 90), (150, 180)], [], [(10, 40), (170, 199)]]
    scores = [np.round(rng.random(200), 2) ** 4 for _ in windows]
    for own, series in zip(windows, scores, strict=True):
        for first, last in own:
            series[first : last + 1 : 7] += 0.3
    weights, count = NAB_PROFILES[profile], 4
    raw = {t: nab_by_loop(scores, windows, weights, t) for t in {math.inf, *np.concatenate(scores)}}
    best = max(raw, key=raw.get)
    null, perfect = -weights[2] * count, weights[0] * count
    found = nab_score(scores, windows, profile=profile)
    assert found.score == pytest.approx(100 * (raw[best] - null) / (perfect - null), abs=1e-9)
    for threshold in (0.2, 0.5, best):
        fixed = nab_score(scores, windows, profile=profile, threshold=threshold)
        assert fixed.score == pytest.approx(
            100 * (raw_of(raw, threshold, scores, windows, weights) - null) / (perfect - null)
        )
        taken = [[(i, v >= threshold and i >= 30) for i, v in enumerate(series)] for series in scores]
        inside = sum(
            any(hit and a <= i <= b for i, hit in t) for t, own in zip(taken, windows, strict=True) for a, b in own
        )
        assert fixed.found == inside and fixed.windows == 4


def raw_of(raw, threshold, scores, windows, weights):
    return raw[threshold] if threshold in raw else nab_by_loop(scores, windows, weights, threshold)


def test_nab_of_nothing_and_of_everything_right():
    windows = [[(60, 90)]]
    silent, perfect = np.zeros(200), np.zeros(200)
    perfect[60] = 1.0
    assert nab_score([silent], windows, threshold=0.5).score == 0
    assert nab_score([perfect], windows).score == pytest.approx(100)
    assert nab_score([perfect], windows).threshold == 1.0
    late = np.zeros(200)
    late[120] = 1.0
    assert nab_score([late], windows, threshold=0.5).score < 0
    assert nab_score([late], windows).score == 0  # the best threshold says nothing
    assert math.isnan(nab_score([silent], [[]]).score)
    with pytest.raises(ValueError, match="`profile` must be one of standard"):
        nab_score([silent], windows, profile="strict")
    with pytest.raises(ValueError, match="There must be windows for each series. Received: 1 for 2"):
        nab_score([silent, silent], windows)


def test_stretches_at_the_ends():
    assert stretches(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert stretches(np.zeros(3, bool)) == []


@pytest.fixture
def record(tmp_path, rng):
    """A quiet series that jumps at sample 300."""
    values = 0.1 * rng.normal(size=(400, 2))
    values[300:] += 30
    np.savez(tmp_path / "a.npz", signal=values.astype("float32"), rate=RATE)
    return str(tmp_path / "a.npz")


def test_what_jumps_is_found_where_it_jumps(record, tmp_path):
    write(tmp_path / "b.npz", 90)
    np.savez(tmp_path / "fast.npz", signal=np.zeros((90, 2), "float32"), rate=2 * RATE)
    model = Repeater()
    jump, fault = find_anomalies(model, [record, tmp_path / "fast.npz"], short=1)
    assert [(one.start, one.end) for one in jump] == [(300 / RATE, 301 / RATE)] and jump[0].likelihood > 0.9
    assert isinstance(fault, Fault) and fault.kind == "of another rate"
    (smooth,) = find_anomalies(model, [record], short=10)
    assert smooth[0].start == 300 / RATE and smooth[-1].end <= 310 / RATE
    with pytest.raises(ValueError, match=r"`threshold` must be in \(0, 1\]"):
        next(find_anomalies(model, [record], threshold=0.0))


def test_a_clean_stretch_lets_all_evidence_count(tmp_path, rng):
    values = 0.1 * rng.normal(size=(900, 2))
    values[600:660, 1] *= 12  # noisier, around the same level: its forecast is the last value, and as wrong as ever
    np.savez(tmp_path / "a.npz", signal=values.astype("float32"), rate=RATE)

    class Unsure(Repeater):
        scale = np.full(2, 1e6, np.float32)  # so wide an interval that nothing is a surprise

    paths = [tmp_path / "a.npz"]
    assert list(find_anomalies(Unsure(), paths, short=1)) == [[]]
    (found,) = find_anomalies(Unsure(), paths, clean=300 / RATE)
    assert all(one.start >= 600 / RATE and one.end <= 1000 / RATE for one in found) and found
    assert found[0].start <= 630 / RATE


def test_the_verb_gives_a_line_for_each_stretch(record, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "load_any", lambda path, kind=None: Repeater())
    assert cli.main(["anomalies", "--model", "m.onnx", record, "gone.npz", "--short", "1"]) == 1
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert line.split("\t")[:3] == [record, "1200", "1204"] and float(line.split("\t")[3]) > 0.9
    assert "gone.npz" in err and "1 of 2 files failed: 1 missing." in err
    assert cli.main(["anomalies", "--model", "m.onnx", record, "--short", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["end"] == 1204


def nab_folder(root, size=40):
    (root / "data" / "real").mkdir(parents=True)
    times = [f"2014-04-01 {i // 12:02d}:{5 * (i % 12):02d}:00" for i in range(size)]
    for name, scale in (("a", 1), ("b", 1000)):
        lines = [f"{time},{scale * (i % 5)}" for i, time in enumerate(times)]
        (root / "data" / "real" / f"{name}.csv").write_text("\n".join(["timestamp,value", *lines]) + "\n")
    window = [f"{times[20]}.000000", f"{times[24]}.000000"]
    (root / "windows.json").write_text(json.dumps({"real/a.csv": [window], "real/b.csv": []}))
    return root


def test_nab_learns_from_the_first_part_and_scores_the_whole(tmp_path):
    splits = nab.prepare(nab_folder(tmp_path / "in"), tmp_path / "out")
    assert [e.id for e in splits["test"]] == ["real-a", "real-b"]
    assert [round(e.duration * nab.RATE) for e in splits["train"]] == [6, 6]
    assert [round(e.duration * nab.RATE) for e in splits["test"]] == [40, 40]
    ((start, end, name),) = splits["test"][0].labels
    assert (round(start * nab.RATE), round(end * nab.RATE), name) == (20, 25, "anomaly")
    first, second = (read_example(e)[0] for e in splits["test"])
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert abs(first[:6].mean()) < 1e-6 and first[:6].std() == pytest.approx(1)


def test_nab_names_what_it_cannot_use(tmp_path):
    root = nab_folder(tmp_path / "in")
    (root / "data" / "real" / "b.csv").write_text("timestamp,value\n2014-04-01 00:00:00,x\n")
    listed = json.loads((root / "windows.json").read_text())
    listed |= {"real/c.csv": [], "real/a.csv": [["2013-01-01 00:00:00", "2013-01-02 00:00:00"]]}
    (root / "windows.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match=r"has no lines of the window 2013-01-01 00:00:00 .* \(and 2 more\)"):
        nab.prepare(root, tmp_path / "out")
    faults = Faults()
    with pytest.raises(ValueError, match=r"No example of the split 'train' can be used\..* First: .*/a\.csv: "):
        nab.prepare(root, tmp_path / "out", faults=faults)
    assert faults.counts() == {"annotated past their end": 1, "undecodable": 1, "missing": 1}
    with pytest.raises(FileNotFoundError, match=r"has neither windows\.json nor"):
        nab.prepare(root / "data", tmp_path / "out")
    assert [nab.learned(n) for n in (100, 4032, 15902)] == [15, 604, 750]


def test_a_tail_is_as_likely_as_it_was_so_far(rng):
    errors = rng.exponential(2.0, 6000)
    found = tail_likelihood(errors, clean=1000)
    assert not found[:1000].any()
    for chance in (1e-2, 1e-3):
        share = np.mean(found[1000:] >= math.log(chance) / math.log(1e-10))
        assert chance / 2 < share < 2 * chance
    # The chance of an exponential variable to exceed x is exp(-x / mean).
    late = tail_likelihood(np.append(errors[:5900], 60.0), clean=1000)[-1]
    assert late == pytest.approx(60 / 2.0 / math.log(1e10), rel=0.15)
    np.testing.assert_array_equal(tail_likelihood(errors[:3000], clean=1000), found[:3000])
    with pytest.raises(ValueError, match="`clean` must be at least 1"):
        tail_likelihood(errors, clean=0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("value", lambda x, rng: x + 8 * (np.arange(len(x)) == 700)),
        ("level", lambda x, rng: x + 2 * (np.arange(len(x)) >= 700)),
        ("spread", lambda x, rng: np.where(np.arange(len(x)) < 700, x, 6 * x)),
        ("spectrum", lambda x, rng: np.where(np.arange(len(x)) < 700, x, 1.4 * np.sin(1.5 * np.arange(len(x))))),
    ],
)
def test_each_kind_of_evidence_sees_its_own(kind, change, rng):
    series = change(rng.standard_normal(1000), rng)[:, None]
    found = evidence(series, clean=300)
    assert set(found) == {"value", "level", "spread", "spectrum", "forecast"}
    own = found[kind]
    assert 700 <= own[350:].argmax() + 350 < 780 and own[700:780].max() > 1.3 * own[350:700].max()
    for name, errors in evidence(series[:600], clean=300).items():
        np.testing.assert_allclose(errors, found[name][:600], atol=1e-9)  # nothing looks ahead
    np.testing.assert_array_equal(evidence(series, clean=300, surprise=own)["forecast"], own)
    np.testing.assert_allclose(evidence(np.repeat(series, 2, 1), clean=300)[kind], own)


def test_a_linear_forecast_knows_the_season(rng):
    day = np.repeat(rng.standard_normal(50), 1)
    series = np.tile(day, 30)[:, None] + 0.01 * rng.standard_normal((1500, 1))
    series[1200] = series[1210]  # a usual value at an unusual time
    off = {season: evidence(series, clean=500, season=season)["forecast"] for season in (None, 50)}
    assert off[50][550:].argmax() + 550 in (1200, 1250) and off[50][600:1200].max() < 0.2 < np.median(
        off[None][600:1200]
    )


def test_an_alarm_is_given_once_on_one_scale_for_any_series(rng):
    series = rng.standard_normal((1500, 1))
    series[900:920] += 15
    score = anomaly_score(series, clean=400)
    assert score.argmax() in range(900, 925) and not score[:400].any()
    again = anomaly_score(series, clean=400, hold=0)
    top = score[900:1000][score[900:1000] > 0]
    assert (np.diff(top) > 0).all() and (again[900:920] > 1).sum() > len(top)  # only what is higher than before
    np.testing.assert_allclose(anomaly_score(1000 * series + 70, clean=400), score, rtol=1e-6, atol=1e-9)
    # What the forecast alone sees counts too.
    off = np.abs(rng.standard_normal(1500))
    off[1200] = 40
    assert anomaly_score(rng.standard_normal((1500, 1)), clean=400, surprise=off).argmax() == 1200
    with pytest.raises(ValueError, match="`clean` must be from 2 to the series' 1500 samples. Received: clean=1"):
        anomaly_score(series, clean=1)


def test_labels_and_score_are_drawn_above_each_other(rng):
    values, score = rng.standard_normal((50, 2)), np.linspace(0, 1, 50)
    figure = plot_anomalies(values, score, [(10, 20)], threshold=0.9, channels=["a", "b"], period=5, unit="minutes")
    *series, below = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", "b", "score"]
    np.testing.assert_array_equal(series[1].lines[0].get_ydata(), values[:, 1])
    np.testing.assert_array_equal(below.lines[1].get_xdata(), 5 * np.flatnonzero(score >= 0.9))
    (span,) = below.patches
    assert span.get_x() == 50 and span.get_width() == 50
    with pytest.raises(ValueError, match=r"`score` \(samples,\). Received: \(50, 2\) and \(49,\)"):
        plot_anomalies(values, score[1:])
