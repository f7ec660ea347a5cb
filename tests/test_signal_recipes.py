"""Recipes for signals on real recordings, cut short: every step of them runs."""

import dataclasses

import pytest

from pipelines import activity, ecg_beats
from speechrnn.data.corpora import heartbeats
from speechrnn.data.examples import read_example
from speechrnn.models.loading import load_bundle as load
from tests.recordings import thinned

TINY = {"units": 4, "filters": 4, "folds": 2}


@pytest.mark.slow
def test_activity(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(activity.hapt, "prepare", thinned(activity.hapt.prepare, 24))
    options = dataclasses.replace(activity.OPTIONS, epochs=1)
    report = activity.main(str(data_dir / "signals" / "hapt"), str(tmp_path), options=options, **TINY)
    assert len(report.folds) == 2 and not report.faults
    assert len({record.id for record in report.records}) == len(report.records) > 20
    model = load(tmp_path / "activity.keras")
    assert model.per_frame and model.classes == activity.hapt.ACTIVITIES and model.channels == 6
    assert model.card["cross_validation"]["accuracy"][0] == pytest.approx(report.accuracy, abs=1e-4)


@pytest.mark.slow
def test_ecg_beats(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(ecg_beats.mitdb, "prepare", thinned(ecg_beats.mitdb.prepare, 16))
    options = dataclasses.replace(ecg_beats.OPTIONS, epochs=1, members=1)
    # The choice has its own tests.
    monkeypatch.setattr(ecg_beats, "COPIES", {"majority": ("rhythm-0", "majority-0")})
    monkeypatch.setattr(ecg_beats, "SETTINGS", {"small": ("majority", 4)})
    report = ecg_beats.main(str(data_dir / "signals" / "mitdb"), str(tmp_path), options=options, **TINY)
    # Copies with another rhythm are learned from, and never scored.
    assert len({record.id for record in report.records}) == len(report.records)
    assert all(record.id.count("-") == 1 for record in report.records)
    assert len(report.subjects) == 22 and "j_kappa" in report.figures
    model = load(tmp_path / "beats.keras")
    assert model.card["scheme"] == "aami" and model.channels == heartbeats.NUM_FEATURES


@pytest.mark.slow
def test_copies_of_records_keep_their_beats_and_patients(data_dir, tmp_path):
    examples = ecg_beats.mitdb.prepare(data_dir / "signals" / "mitdb", tmp_path / "m")["train"]
    some = [example for example in examples if example.subject in ("106", "209")]
    found = ecg_beats.varied(some, tmp_path / "varied", ["rhythm-0", "majority-0", "short-0"])
    copies = [copy for several in found.values() for copy in several]
    assert len({copy.id for copy in copies}) == len(copies) and not {e.path for e in some} & {c.path for c in copies}
    beats = {patient: sum(len(e.labels) for e in some if e.subject == patient) for patient in ("106", "209")}
    for name, several in found.items():
        for patient, count in beats.items():
            labels = [label for copy in several if copy.subject == patient for label in copy.labels]
            assert 30 < len(labels) < 0.6 * count if name == "short-0" else len(labels) == count
            ectopic = sum(label != "N" for label in labels) / len(labels)
            assert ectopic >= {"rhythm-0": 0.1, "majority-0": 0.3, "short-0": 0.5}[name]
    copy = found["short-0"][1]
    assert read_example(copy)[0].shape == (len(copy.labels), heartbeats.NUM_FEATURES) and copy.offset == 64.0
