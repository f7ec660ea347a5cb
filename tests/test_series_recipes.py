"""Recipes for rhythms and for the archives' series, cut short: every step of them runs, on real recordings."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest
import scipy.stats

from pipelines import ecg_rhythm, forecast_ett, nab, ucr_uea
from speechrnn import training
from speechrnn.models.loading import load_bundle
from speechrnn.models.loading import load_bundle as load

TINY = {"units": 4, "convolutions": 1, "filters": 4, "kernel": 3, "heads": 1}


@pytest.fixture
def series_dir(data_dir):
    """Folder of the signal corpora; skips without them."""
    if not (data_dir / "signals").is_dir():
        pytest.skip("needs the folder `signals` of the data")
    return data_dir / "signals"


@pytest.mark.slow
def test_ecg_rhythm_answers_every_record_once_and_leaves_a_model(series_dir, tmp_path, monkeypatch):
    prepare = ecg_rhythm.cinc2017.prepare
    monkeypatch.setattr(ecg_rhythm.cinc2017, "prepare", lambda *a, **o: {"train": prepare(*a, **o)["train"][::60]})
    options = dataclasses.replace(ecg_rhythm.OPTIONS, epochs=1)
    report = ecg_rhythm.main(str(series_dir / "cinc2017"), str(tmp_path), folds=2, options=options, **TINY)
    assert len({record.id for record in report.records}) == len(report.records) == 29
    model = load(tmp_path / "ecg_rhythm.keras")
    assert (model.sample_rate, model.channels, model.classes) == (100, 1, ("N", "A", "O", "~"))
    assert model.card["scheme"] == "cinc2017"
    assert model.card["cross_validation"]["records"] == 29 and "cinc2017_f1" in report.figures


@pytest.mark.slow
def test_ucr_uea_scores_the_official_test_set(series_dir, tmp_path, capsys):
    options, name = dataclasses.replace(ucr_uea.OPTIONS, epochs=1, members=1), "RacketSports"
    report = ucr_uea.main(str(series_dir / "uea"), [name], str(tmp_path), options=options, **TINY)[name]
    assert len(report.records) == 152
    assert all("_TEST-" in record.id for record in report.records)
    assert report.accuracy > 0.8  # by the kernels: the networks have learned little yet
    assert re.search(r"152 records; alone: recurrent 0\.\d+, kernels 0\.[89]", capsys.readouterr().out)
    model = load(tmp_path / f"{name}.keras")
    assert model.channels == 6 and model.card["data"] == f"{name}, official training set"


@pytest.mark.slow
def test_ucr_uea_validates_on_training_records_alone(series_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(ucr_uea, "FOLDS", 2)
    options, name = dataclasses.replace(ucr_uea.OPTIONS, epochs=1, members=1), "TwoLeadECG"
    given = {"way": "recurrent", "options": options, **TINY}
    report = ucr_uea.main(str(series_dir / "ucr"), [name], str(tmp_path), True, **given)[name]
    assert len(report.records) == 23 and all("_TRAIN-" in record.id for record in report.records)


@pytest.fixture
def small_archive(tmp_path, rng):
    """A data set in the layout of the archives: sines of two frequencies, in noise."""
    folder = tmp_path / "archive" / "Waves"
    folder.mkdir(parents=True)
    for split, count in (("TRAIN", 10), ("TEST", 6)):
        lines = []
        for i in range(count):
            wave = np.sin((0.3 + 0.5 * (i % 2)) * np.arange(40)) + 0.3 * rng.normal(size=40)
            lines.append("\t".join([str(i % 2), *(f"{value:.4f}" for value in wave)]))
        (folder / f"Waves_{split}.tsv").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "archive")


class KilledError(Exception):
    pass


class Epochs(keras.callbacks.Callback):
    """Notes every epoch that begins, and stops the program at one of them."""

    def __init__(self, seen, last=None):
        super().__init__()
        self.seen, self.last = seen, last

    def on_epoch_begin(self, epoch, logs=None):
        if len(self.seen) == self.last:
            raise KilledError
        self.seen.append(epoch)


@pytest.mark.slow
def test_ucr_uea_goes_on_where_it_was_killed(small_archive, tmp_path, monkeypatch):
    monkeypatch.setattr(ucr_uea, "RECORDS", 10)
    options, seen, train = dataclasses.replace(ucr_uea.OPTIONS, epochs=3, batch_size=10, members=1), [], training.train

    def run(last=None, resume=False):
        seen.clear()
        more = {"callbacks": [Epochs(seen, last)], "verbose": False}
        monkeypatch.setattr(training, "train", lambda *a, **o: train(*a, **{**o, **more}))
        given = {"way": "recurrent", "options": options, "resume": resume, **TINY}
        return ucr_uea.main(small_archive, ["Waves"], str(tmp_path / "out"), **given)["Waves"].records

    with pytest.raises(KilledError):
        run(last=2)
    resumed = run(resume=True)
    assert seen == [2] and len(resumed) == 6
    again = run(resume=True)
    assert seen == []  # it had ended
    for one, other in zip(resumed, again, strict=True):
        np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-6)


@pytest.mark.slow
def test_forecast_ett_scores_every_horizon_on_the_test_months(series_dir, tmp_path, monkeypatch):
    given = {"context": 96, "units": 4, "segment": 24}
    given["options"] = dataclasses.replace(forecast_ett.OPTIONS, epochs=1, members=1)
    reports = forecast_ett.main(str(series_dir / "ett"), str(tmp_path), horizons=(24, 30), **given)
    assert {horizon: report.windows for horizon, report in reports.items()} == {24: 2857, 30: 2851}
    model = load_bundle(tmp_path / "ETTh1_30.keras", kind="forecaster")
    assert (model.context, model.horizon, model.card["channels"][-1]) == (96, 30, "OT")


@pytest.mark.slow
def test_forecast_ett_validates_from_two_origins_before_the_test_months(series_dir, tmp_path, monkeypatch, capsys):
    scored, evaluate = [], forecast_ett.evaluate_forecaster

    def noted(model, examples, **options):
        scored.extend(examples)
        return evaluate(model, examples, **options)

    monkeypatch.setattr(forecast_ett, "evaluate_forecaster", noted)
    given = {"context": 96, "units": 4, "segment": 24, "horizons": (24,), "validate": True}
    given["options"] = dataclasses.replace(forecast_ett.OPTIONS, epochs=1, members=1)
    reports = forecast_ett.main(str(series_dir / "ett"), str(tmp_path), **given)
    assert set(reports) == {(24, 8), (24, 12)} and {report.windows for report in reports.values()} == {2857}
    month = 30 * 24 * 3600.0
    assert [(example.offset / month, example.duration / month) for example in scored] == [(8, 4), (12, 4)]
    assert capsys.readouterr().out.count("VALIDATION") == 2
    assert load_bundle(tmp_path / "ETTh1_24_after_8.keras", kind="forecaster").context == 96


@pytest.mark.slow
def test_nab_scores_each_detector(tmp_path, monkeypatch):
    monkeypatch.setattr(nab, "CONTEXT", 24)
    monkeypatch.setattr(nab, "HORIZON", 2)
    times = [f"2014-04-{1 + i // 288:02d} {i // 12 % 24:02d}:{5 * (i % 12):02d}:00" for i in range(800)]
    values = np.sin(2 * np.pi * np.arange(800) / 12)
    values[500:505] = 8.0
    (tmp_path / "in" / "data" / "real").mkdir(parents=True)
    lines = ["timestamp,value", *(f"{time},{value:.4f}" for time, value in zip(times, values, strict=True))]
    (tmp_path / "in" / "data" / "real" / "a.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "in" / "windows.json").write_text(json.dumps({"real/a.csv": [[times[490], times[520]]]}))
    options = dataclasses.replace(nab.OPTIONS, epochs=1, batch_size=8)
    found = nab.main(str(tmp_path / "in"), str(tmp_path / "out"), options=options, units=4)
    detectors = {f"one score, {forecast} forecast" for forecast in ("linear", "the model's")}
    detectors |= {"surprise of the model", "value", "windowed Gaussian"}
    assert set(found) == {(group, name) for group in ("others", "all") for name in detectors}
    assert (tmp_path / "out" / "real-a.png").stat().st_size > 1000
    for scores in found.values():
        assert scores["standard"].windows == 1 and scores["standard"].found == 1
        assert scores["standard"].score > 50


def test_the_windowed_gaussian_is_that_of_its_loop(rng):
    values, window, step = rng.normal(size=60), 20, 5
    found, held, waiting = nab.windowed_gaussian(values, window, step), [], []
    for value, score in zip(values, found, strict=True):
        if held:
            past = np.array(held)
            assert score == pytest.approx(scipy.stats.norm.cdf(abs(value - past.mean()) / (past.std() or 1e-6)))
        else:
            assert score == 0
        if len(held) < window:
            held.append(value)
        else:
            waiting.append(value)
            if len(waiting) == step:
                held, waiting = [*held[step:], *waiting], []
