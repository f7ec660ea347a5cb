"""Cross-validation: nobody is scored by a model that has learned of them, and a stopped run goes on."""

import dataclasses
import io
import json
from collections import Counter
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from rich.console import Console

from speechrnn import ClassifierTraining, RawSignal, SequenceClassifier, training
from speechrnn.data.manifest import Example, stratified_group_folds
from speechrnn.faults import Fault
from speechrnn.layers import LengthMask, MaskedPooling
from speechrnn.models.loading import load_bundle
from speechrnn.tasks.classification import (
    Classified,
    Setting,
    building,
    classification_report,
    cross_validate,
    print_report,
)
from speechrnn.tasks.classification import folds as folds_module
from speechrnn.tasks.classification.folds import _read_report, _write_report

OPTIONS = ClassifierTraining(epochs=1, batch_size=6, learning_rate=1e-2)
QUIET = {"options": OPTIONS, "verbose": False}


def build():
    """Nothing recurrent, which takes longer to trace than to train."""
    values, frames = keras.Input((None, 1)), keras.Input((), dtype="int32")
    logits = keras.layers.Dense(2)(MaskedPooling("mean")(values, LengthMask()(frames, values)))
    features = RawSignal(50, window=1, hop=1, channels=1, normalize=None)
    return SequenceClassifier(features, keras.Model([values, frames], logits), ["low", "high"])


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    folder, rng, found = tmp_path_factory.mktemp("levels"), np.random.default_rng(0), []
    for subject in "abcdef":
        for label, level in (("low", -1), ("high", 1)):
            path = folder / f"{subject}_{label}.npz"
            np.savez(path, signal=(level + rng.normal(size=(20, 1))).astype("float32"), rate=50)
            found.append(Example(str(path), 0.4, label=label, subject=subject))
    return found


@pytest.fixture
def learned(monkeypatch):
    """What each training run was given: ids to learn from and to validate on, by the name of the model."""
    given, train = {}, training.train

    def watched(model, examples, *, valid, out, **options):
        given[out.stem] = {e.id for e in examples}, {e.id for e in valid}
        return train(model, examples, valid=valid, out=out, **options)

    monkeypatch.setattr(training, "train", watched)
    return given


@pytest.mark.slow
def test_every_example_is_scored_once_by_a_model_that_never_saw_its_subject(examples, learned, tmp_path):
    folds = stratified_group_folds(examples, 3)
    report = cross_validate(build, examples, folds, out=tmp_path / "m.keras", valid_fraction=0.25, **QUIET)
    assert sorted(record.id for record in report.records) == sorted(example.id for example in examples)
    for number, (_, held) in enumerate(folds, start=1):
        left, valid = learned[f"fold_{number}"]
        seen = {name[0] for name in left | valid}
        assert not seen & {example.subject for example in held} and len(seen) == 4
        assert valid and not {name[0] for name in left} & {name[0] for name in valid}
        fold = load_bundle(tmp_path / "m.folds" / f"fold_{number}.keras", kind="classifier")
        with np.load(held[0].path) as stored:
            alone = fold.probabilities([stored["signal"]])[0]
        scored = next(record for record in report.records if record.id == held[0].id)
        np.testing.assert_allclose(scored.probabilities, alone, rtol=0, atol=1e-6)
    assert set().union(*learned["m"]) == {example.id for example in examples}
    kept = load_bundle(tmp_path / "m.keras", kind="classifier").card["cross_validation"]
    assert kept["folds"] == 3 and kept["accuracy"][0] == pytest.approx(report.accuracy, abs=1e-4)
    assert np.mean([fold["accuracy"] for fold in report.folds]) == pytest.approx(report.accuracy)
    assert kept["role"] == "validation" and str(report).startswith("VALIDATION (no figure for strangers if ")


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_ends_the_same(examples, learned, tmp_path):
    held = [[e for e in examples if e.subject in part] for part in ("abc", "def")]
    whole = cross_validate(build, examples, held, out=tmp_path / "whole.keras", final=False, **QUIET)
    assert not (tmp_path / "whole.keras").exists() and len(learned) == 2
    calls = []

    def stops():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return build()

    with pytest.raises(KeyboardInterrupt):
        cross_validate(stops, examples, held, out=tmp_path / "stopped.keras", final=False, **QUIET)
    learned.clear()
    options = {**QUIET, "out": tmp_path / "stopped.keras", "final": False}
    again = cross_validate(build, examples, held, resume=True, **options)
    assert list(learned) == ["fold_2"]
    for one, other in zip(whole.records, again.records, strict=True):
        assert one.id == other.id and one.truth == other.truth and one.seconds == other.seconds
        np.testing.assert_allclose(other.probabilities, one.probabilities, rtol=0, atol=1e-6)
    with pytest.raises(FileExistsError):
        cross_validate(build, examples, held, **options)
    with pytest.raises(ValueError, match="other options or examples"):
        cross_validate(build, examples, held, resume=True, **{**options, "options": ClassifierTraining(epochs=2)})
    with pytest.raises(ValueError, match="other options or examples"):
        cross_validate(build, examples, held[::-1], resume=True, **options)


@pytest.mark.slow
def test_members_of_a_fold_answer_as_one(examples, tmp_path):
    held = [[e for e in examples if e.subject in part] for part in ("abc", "def")]
    options = {**QUIET, "out": tmp_path / "m.keras", "final": False}
    two = dataclasses.replace(OPTIONS, members=2)
    report = cross_validate(Setting(build, two), examples, held, **options)
    first, second, whole = (
        load_bundle(tmp_path / "m.folds" / f"fold_1{member}.keras") for member in (".member_1", ".member_2", "")
    )
    with np.load(held[0][0].path) as stored:
        batch = {"signal": stored["signal"][None], "length": np.array([20], "int32")}
    one, other = (np.asarray(model(batch)) for model in (first, second))
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(np.asarray(whole(batch)), (one + other) / 2, rtol=0, atol=1e-6)
    scored = next(record for record in report.records if record.id == held[0][0].id)
    np.testing.assert_allclose(scored.probabilities, whole.probabilities([batch["signal"][0]])[0], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="other options or examples"):
        cross_validate(Setting(build, dataclasses.replace(two, members=3)), examples, held, resume=True, **options)


def test_folds_that_would_leak_are_errors(examples, tmp_path):
    def run(folds, **options):
        cross_validate(build, examples, folds, out=tmp_path / "m.keras", **QUIET, **options)

    with pytest.raises(ValueError, match="share 6 subjects"):
        run([examples[::2], examples[1::2]])
    with pytest.raises(ValueError, match="held out or learned elsewhere"):
        run([examples[:4], examples[:4]])
    with pytest.raises(ValueError, match="held out or learned elsewhere"):
        run([(examples, examples[:4]), (examples[:4], examples[4:])])
    with pytest.raises(ValueError, match="an empty part"):
        run([examples, []])
    with pytest.raises(ValueError, match="two folds or more"):
        run([examples[:4]])
    with pytest.raises(ValueError, match="must end in .keras"):
        cross_validate(build, examples, 3, out=tmp_path / "m", **QUIET)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def without_networks(monkeypatch):
    """Models that only know their setting and what they saw; `right` says on which subjects a setting is right."""
    right = {"one": "ab", "other": "cdef"}
    trained, scored = [], []

    def train(model, examples, *, out, **how):
        model.seen = {example.id for example in examples}
        trained.append((model.name, out.stem, frozenset(e.subject for e in examples)))
        run = SimpleNamespace(model=model)
        run.completed = lambda: run
        return run

    def evaluate(model, examples, **how):
        assert not model.seen & {example.id for example in examples}
        scored.append((model.name, frozenset(e.subject for e in examples)))
        records = []
        for example in examples:
            truth = int(example.label == "high")
            hit = example.subject in right[model.name]
            answer = np.eye(2, dtype="float32")[truth if hit else 1 - truth]
            records.append(Classified(example.id, np.int32(truth), answer, example.subject))
        return classification_report(records, ("low", "high"), resamples=20)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(folds_module, "evaluate_classifier", evaluate)
    monkeypatch.setattr(building, "adapt", lambda features, examples: None)
    settings = {
        name: Setting(lambda name=name: SimpleNamespace(name=name, card={}, features=None), vary=lambda e: [*e, *e])
        for name in right
    }
    return settings, trained, scored


def test_a_nested_choice_never_sees_the_fold_it_is_for(examples, without_networks, tmp_path):
    settings, trained, scored = without_networks
    held = [[e for e in examples if e.subject in part] for part in ("ab", "cd", "ef")]
    report = cross_validate(settings, examples, held, out=tmp_path / "m.keras", choose_by="accuracy", **QUIET)
    # "one" is better on the first fold, but the others know nothing of that.
    assert report.chosen[0] == "other" and report.folds[0]["accuracy"] == 0
    assert report.role == "nested" and str(report).startswith("NESTED (settings chosen inside each fold): ")
    inner = [(name, seen) for name, path, seen in trained if path.startswith("without_")]
    assert len(inner) == 6 and {len(seen) for _, seen in inner} == {2}
    assert {path for _, path, _ in trained} >= {"fold_1_other", "m"}
    # Each of the models that chose was scored on both folds it had not seen.
    assert Counter(scored[:12]) == {(name, frozenset(part)): 2 for name in settings for part in ("ab", "cd", "ef")}
    trained.clear()
    again = cross_validate(
        settings, examples, held, out=tmp_path / "m.keras", choose_by="accuracy", final=False, resume=True, **QUIET
    )
    assert not trained and again.figures == report.figures and again.chosen == report.chosen
    with pytest.raises(ValueError, match="must be one of accuracy, .* Did you mean `accuracy`"):
        cross_validate(settings, examples, held, out=tmp_path / "m.keras", choose_by="acuracy", resume=True, **QUIET)


def test_settings_are_compared_on_what_the_caller_says(examples, without_networks, tmp_path):
    settings, _, scored = without_networks
    held = [[e for e in examples if e.subject in part] for part in ("ab", "cd", "ef")]
    options = {"out": tmp_path / "m.keras", "choose_by": "accuracy", "final": False, **QUIET}

    def like_the_first(part):  # as if every fold had only patients of the first one's kind
        return [dataclasses.replace(e, subject="a", id=f"copy-{e.id}") for e in part]

    report = cross_validate(settings, examples, held, judge_on=like_the_first, **options)
    assert report.chosen == ("one",) * 3 and {r.id for r in report.records} == {e.id for e in examples}
    assert frozenset("a") in {subjects for _, subjects in scored}


def test_models_are_scored_on_what_they_are_told_besides(examples, without_networks, tmp_path):
    settings, trained, _ = without_networks
    held = [[e for e in examples if e.subject in part] for part in ("ab", "cd", "ef")]
    options = {"out": tmp_path / "m.keras", "final": False, "resume": True, **QUIET}

    def simulated(part):  # none of the last fold
        return [dataclasses.replace(e, id=f"copy-{e.id}") for e in part if e.subject in "abc"]

    plain = cross_validate(settings["other"], examples, held, **options)
    report = cross_validate(settings["other"], examples, held, also_on={"copies": simulated}, **options)
    assert report.figures == plain.figures and report.accuracy == pytest.approx(2 / 3) and not plain.also
    other = report.also["copies"]
    assert {r.id for r in other.records} == {f"copy-{e.id}" for e in examples if e.subject in "abc"}
    assert other.role == "validation" and len(other.folds) == 2 and other.accuracy == pytest.approx(1 / 3)
    assert json.loads(json.dumps(report.to_dict()))["also"]["copies"]["accuracy"] == pytest.approx(1 / 3)
    trained.clear()
    again = cross_validate(settings["other"], examples, held, also_on={"copies": simulated}, **options)
    assert not trained and again.also["copies"].figures == other.figures
    console = Console(file=io.StringIO(), width=120)
    print_report(report, console)
    assert "The same models on copies:\nVALIDATION" in console.file.getvalue()
    with pytest.raises(ValueError, match="`vary` and `also_on` must keep subjects. Received 8 examples of others"):
        cross_validate(settings["other"], examples, held, also_on={"all": lambda part: examples}, **options)


def test_a_nested_choice_needs_whole_folds(examples, without_networks, tmp_path):
    settings, _, _ = without_networks
    options = {"out": tmp_path / "m.keras", "overwrite": True, **QUIET}
    with pytest.raises(ValueError, match="folds must hold out all examples. Received: 8 of them"):
        cross_validate(settings, examples, [examples[:4], examples[4:8]], **options)
    with pytest.raises(ValueError, match="three folds or more. Received: 2"):
        cross_validate(settings, examples, [examples[:6], examples[6:]], **options)
    stranger = {"one": dataclasses.replace(settings["one"], vary=lambda left: examples)}
    with pytest.raises(
        ValueError, match="`vary` and `also_on` must keep subjects. Received 4 examples of others, a_low first"
    ):
        cross_validate(stranger, examples, [examples[:4], examples[4:8], examples[8:]], **options)


@pytest.mark.parametrize("task", ["single", "frames", "multi"])
def test_answers_are_read_back_as_they_were(task, rng, tmp_path):
    shapes = {"single": [(), (), ()], "frames": [(4,), (1,), (7,)], "multi": [(3,)] * 3}[task]
    records = [
        Classified(
            f"r{i}",
            rng.integers(0, 2, shape).astype("float32" if task == "multi" else "int32"),
            rng.random((*shape, 3) if task == "frames" else (3,), "float32"),
            "ab"[i] if i < 2 else None,
            1.5,
        )
        for i, shape in enumerate(shapes)
    ]
    for some in (records, []):
        fault = Fault("x.npz", "missing", "x.npz is missing.")
        report = classification_report(some, "abc", task=task, faults=[fault], elapsed=2.0)
        _write_report(tmp_path / "a.json", report, Setting(build, OPTIONS))
        again = _read_report(tmp_path / "a.json", [Example(f"r{i}.npz", 1) for i in range(3)], Setting(build, OPTIONS))
        assert json.dumps(again.to_dict(records=True)) == json.dumps(report.to_dict(records=True))
        for one, other in zip(report.records, again.records, strict=True):
            assert np.shape(one.truth) == np.shape(other.truth)
            np.testing.assert_array_equal(other.probabilities, one.probabilities)
        assert again.faults == (fault,) and again.elapsed == 2.0


def test_a_setting_without_a_figure_is_never_chosen():
    record = Classified("a", np.int32(0), np.array([0.9, 0.1], "float32"))
    scored, empty = (classification_report(records, ["low", "high"]) for records in ([record], []))
    assert folds_module._best({"none": [empty], "some": [scored]}, "accuracy") == "some"
    with pytest.raises(ValueError, match="`accuracy` has no value for any of none, nothing. Choose another figure"):
        folds_module._best({"none": [empty], "nothing": [empty]}, "accuracy")
