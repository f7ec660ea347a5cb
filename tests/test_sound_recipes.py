"""Recipes of sounds and EEG on real recordings, cut short: every step of them runs."""

import dataclasses

import numpy as np
import pytest

from pipelines import eeg_seizure, keywords, sounds
from speechrnn.data import manifest
from speechrnn.models.loading import load_bundle

TINY = {"units": 4, "bidirectional": False, "convolutions": 1, "filters": 2}


def short(recipe):
    return dataclasses.replace(recipe.OPTIONS, epochs=1)


def thin(monkeypatch, corpus, keep):
    """Leave few examples of a corpus."""
    prepare = corpus.prepare

    def few(*arguments, **options):
        found = prepare(*arguments, **options)
        return {name: [example for example in examples if keep(example)] for name, examples in found.items()}

    monkeypatch.setattr(corpus, "prepare", few)


@pytest.mark.slow
def test_keywords_is_tested_on_speakers_it_never_heard(data_dir, tmp_path, monkeypatch, capsys):
    thin(monkeypatch, keywords.fsdd, lambda example: int(example.id.split("_")[2]) % 10 == 4)
    learned, train = [], keywords.train

    def watched(model, examples, **options):
        learned.extend([*examples, *options["valid"]])
        return train(model, examples, **options)

    monkeypatch.setattr(keywords, "train", watched)
    run, report = keywords.main(str(data_dir / "fsdd"), str(tmp_path), options=short(keywords), **TINY)
    assert {example.subject for example in learned} == {"george", "jackson", "lucas", "nicolas"}
    assert set(report.subjects) == {"theo", "yweweler"} and len(report.records) == 100
    assert run.best_epoch == 1 and run.model.classes == tuple("0123456789")
    assert "yweweler" in capsys.readouterr().out


@pytest.mark.slow
def test_sounds_scores_every_held_out_recording_and_leaves_a_model(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(sounds, "FOLDS", (1, 2))
    thin(monkeypatch, sounds.esc10, lambda example: example.extra["fold"] < 3)
    report = sounds.main(str(data_dir / "esc10"), str(tmp_path), options=short(sounds), **TINY)
    assert len(report.records) == 160 and report.matrix.sum(1).tolist() == [16] * 10
    assert len(report.folds) == 2
    model = load_bundle(tmp_path / "sounds.keras", kind="classifier")
    assert model.card["cross_validation"]["records"] == 160
    # Each model has the statistics of what it has learned from, and of nothing else.
    means = [
        load_bundle(tmp_path / "sounds.folds" / f"fold_{k}.keras", kind="classifier").features.mean for k in (1, 2)
    ]
    assert np.abs(np.asarray(means[0]) - np.asarray(means[1])).max() > 1e-3
    np.testing.assert_allclose(model.features.mean, (np.asarray(means[0]) + np.asarray(means[1])) / 2, rtol=1e-4)


@pytest.mark.slow
def test_eeg_keeps_neighbors_together(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(eeg_seizure, "FOLDS", 2)
    thin(monkeypatch, eeg_seizure.bonn, lambda example: int(example.id[1:]) <= 8)
    cut, cross_validate = [], eeg_seizure.cross_validate

    def watched(build, examples, folds, **options):
        cut.extend(folds)
        return cross_validate(build, examples, folds, **options)

    monkeypatch.setattr(eeg_seizure, "cross_validate", watched)
    folder = data_dir / "signals" / "bonn"
    report = eeg_seizure.main(str(folder), str(tmp_path), classes="set", options=short(eeg_seizure), **TINY)
    assert [sorted({int(example.id[1:]) for example in fold}) for fold in cut] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert report.matrix.sum(1).tolist() == [8] * 5 and report.classes == tuple("FNOSZ")
    # The files say what they are of: the manifest and the model go together on the command line too.
    example = manifest.read(tmp_path / "manifests" / "train.jsonl")[0]
    assert example.extra["rate"] == load_bundle(tmp_path / "eeg_set.keras", kind="classifier").sample_rate == 173.61
