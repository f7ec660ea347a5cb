"""Recipes for signals on real recordings, cut short: every step of them runs."""

import dataclasses

import pytest

from pipelines import activity, ecg_beats
from speechrnn.data.corpora import heartbeats
from speechrnn.models.loading import load_bundle as load

TINY = {"units": 4, "filters": 4, "folds": 2}


def thinned(prepare, step):
    """A corpus of which only every so many examples are kept."""

    def few(*arguments, **options):
        return {name: found[::step] for name, found in prepare(*arguments, **options).items()}

    return few


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
    options = dataclasses.replace(ecg_beats.OPTIONS, epochs=1)
    monkeypatch.setattr(ecg_beats, "COPIES", {"majority": ("rhythm-0", "majority-0")})  # the choice has its own tests
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
    found = ecg_beats.varied(some, tmp_path / "varied", {"rhythm-0", "majority-0"})
    copies = found["rhythm-0"] + found["majority-0"]
    ectopic = [label for copy in found["majority-0"] for label in copy.labels if label != "N"]
    assert len(ectopic) > 0.4 * sum(len(copy.labels) for copy in found["majority-0"])
    assert len(copies) == 2 * len(some) and len({example.id for example in copies}) == len(copies)
    of = {example.id: example for example in some}
    for copy in copies:
        example = of["-".join(copy.id.split("-")[:2])]
        assert (copy.subject, copy.offset, copy.duration) == (example.subject, example.offset, example.duration)
        assert len(copy.labels) == len(example.labels) and copy.path != example.path
