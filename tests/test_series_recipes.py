"""Recipes for rhythms and for the archives' series, cut short: every step of them runs, on real recordings."""

import dataclasses

import pytest

from pipelines import ecg_rhythm, ucr_uea
from speechrnn.classifier import load

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
def test_ucr_uea_scores_the_official_test_set(series_dir, tmp_path):
    options, name = dataclasses.replace(ucr_uea.OPTIONS, epochs=1), "RacketSports"
    report = ucr_uea.main(str(series_dir / "uea"), [name], str(tmp_path), seeds=(1, 2), options=options, **TINY)[name]
    assert len(report.records) == 2 * 152 and all("_TEST-" in record.id for record in report.records)
    assert len(report.subjects) == 152  # a draw of the bootstrap takes a record with both seeds' answers
    assert load(tmp_path / f"{name}_2.keras").channels == 6


@pytest.mark.slow
def test_ucr_uea_validates_on_training_records_alone(series_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(ucr_uea, "FOLDS", 2)
    options, name = dataclasses.replace(ucr_uea.OPTIONS, epochs=1), "TwoLeadECG"
    report = ucr_uea.main(str(series_dir / "ucr"), [name], str(tmp_path), True, seeds=(1,), options=options, **TINY)[
        name
    ]
    assert len(report.records) == 23 and all("_TRAIN-" in record.id for record in report.records)
