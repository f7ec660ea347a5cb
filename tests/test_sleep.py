"""Nights with a hypnogram: annotations as written, epochs where they belong, and the recipe on made nights."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from recordings import write_edf, write_hypnogram

from pipelines import sleep
from speechrnn import signals
from speechrnn.data.corpora import sleep_edf
from speechrnn.data.examples import read_example
from speechrnn.faults import Faults
from speechrnn.models.loading import load_bundle

RATE = 50
HYPNOGRAM = ((0, 3600, "W"), (3600, 60, "1"), (3660, 90, "2"), (3750, 30, "?"), (3780, 60, "4"), (3840, 60, "R"))


def night(folder, name, stages=HYPNOGRAM, awake=3000, seed=0):
    """A night whose stages are waves of their own frequencies; `awake` seconds follow them."""
    end = stages[-1][0] + stages[-1][1]
    stages = (*stages, (end, awake, "W")) if awake else stages
    rng, parts = np.random.default_rng(seed), []
    for _, seconds, stage in stages:
        time = np.arange(seconds * RATE) / RATE
        wave = np.sin(2 * np.pi * {"W": 10, "1": 6, "2": 13, "4": 1}.get(stage, 4) * time)
        parts.append(np.stack([400 * wave, 100 * wave], 1) + 40 * rng.standard_normal((len(time), 2)))
    values = np.rint(np.concatenate(parts)).astype(int)
    path = write_edf(folder / f"{name}0-PSG.edf", values.T, [RATE, RATE], list(sleep_edf.CHANNELS), seconds=30)
    write_hypnogram(folder / f"{name}C-Hypnogram.edf", [(a, b, f"Sleep stage {c}") for a, b, c in stages])
    return path


def test_events_are_what_another_program_wrote(tmp_path):
    pyedflib = pytest.importorskip("pyedflib")
    writer = pyedflib.EdfWriter(str(tmp_path / "a.edf"), 1)
    writer.setSignalHeader(0, {**pyedflib.highlevel.make_signal_header("EEG", sample_frequency=10)})
    writer.writeSamples([np.zeros(100)])
    wanted = [(0.0, 2.5, "Sleep stage W"), (2.5, 0.0, "Lights off"), (7.0, 1.0, "Sleep stage R")]
    for start, seconds, text in wanted:
        writer.writeAnnotation(start, seconds or -1, text)
    writer.close()
    assert [(e.start, e.seconds, e.text) for e in signals.events(tmp_path / "a.edf")] == wanted
    plain = write_edf(tmp_path / "b.edf", [np.arange(30)], [10], ["EEG"])
    with pytest.raises(ValueError, match="has no channel of annotations"):
        signals.events(plain)


def test_epochs_are_where_the_hypnogram_says(tmp_path):
    (tmp_path / "in").mkdir()
    night(tmp_path / "in", "SC4001E")
    night(tmp_path / "in", "SC4002E", seed=1)
    splits = sleep_edf.prepare(tmp_path / "in", tmp_path / "out", chunk=1500)
    of_first = [e for e in splits["train"] if e.id.startswith("SC4001E0")]
    assert {e.subject for e in splits["train"]} == {"SC400"}  # two nights of one person
    # Half an hour awake is kept on each side of 10 epochs, of which one has no stage.
    labels = [(e.offset + start, name) for e in of_first for start, _, name in e.labels]
    assert [start for start, _ in labels] == [30.0 * n for n in range(60, 190) if n != 125]
    names = [name for _, name in labels]
    assert names == ["W"] * 60 + ["N1"] * 2 + ["N2"] * 3 + ["N3"] * 2 + ["R"] * 2 + ["W"] * 60
    signal, rate = read_example(of_first[1])
    assert signal.shape == (1500 * RATE, 2) and rate == RATE
    assert [e.duration for e in of_first] == [1500, 1500, 900]


def test_a_night_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    night(tmp_path / "in", "SC4001E")
    night(tmp_path / "in", "SC4011E", ((0, 600, "W"),), awake=0)
    night(tmp_path / "in", "SC4021E")
    (tmp_path / "in" / "SC4021EC-Hypnogram.edf").unlink()
    with pytest.raises(ValueError, match=r"SC4011E0-PSG.edf: has no epoch of sleep in its hypnogram. \(and 1 more\)"):
        sleep_edf.prepare(tmp_path / "in", tmp_path / "out")
    faults = Faults()
    splits = sleep_edf.prepare(tmp_path / "in", tmp_path / "out", faults=faults)
    assert {e.subject for e in splits["train"]} == {"SC400"}
    assert faults.counts() == {"without labels": 1, "missing": 1}
    with pytest.raises(ValueError, match="has no recording. Give the folder that holds SC4001E0-PSG.edf"):
        sleep_edf.prepare(tmp_path / "out", tmp_path / "other")


@pytest.mark.slow
def test_the_recipe_scores_people_by_kappa(tmp_path):
    (tmp_path / "in").mkdir()
    for person in range(4):
        stages = tuple((600 * i, 600, stage) for i, stage in enumerate("WR4W"))
        night(tmp_path / "in", f"SC40{person}1E", stages, awake=0, seed=person)
    options = dataclasses.replace(sleep.OPTIONS, epochs=3, batch_size=2, learning_rate=1e-2, average=0)
    report = sleep.main(
        str(tmp_path / "in"), str(tmp_path / "out"), folds=2, options=options, units=4, filters=4, frame_convolutions=3
    )
    assert len(report.subjects) == 4 and report.decisions == 4 * 80
    truth = np.concatenate([record.truth for record in report.records])
    answers = np.concatenate([record.probabilities.argmax(-1) for record in report.records])
    assert report.figures["kappa"] == pytest.approx(sklearn.metrics.cohen_kappa_score(truth, answers))
    assert "Kappa 0." in str(report)
    # Few steps are no time to decide well, but what a person who was left out sleeps is ranked right.
    assert np.mean([score.auroc for score in report.scores if score.support]) > 0.7
    model = load_bundle(tmp_path / "out" / "sleep.keras", kind="classifier")
    assert model.classes == sleep_edf.CLASSES and model.per_frame and model.card["scheme"] == "kappa"
