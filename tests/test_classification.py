"""Reports of classifiers: figures from summed counts, intervals by subject, and nothing lost in silence."""

import io
import json
import math

import numpy as np
import pytest
import sklearn.metrics
from fakes import Leveller, answered
from rich.console import Console

from speechrnn import metrics
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, Faults
from speechrnn.tasks.classification import Classified, classification_report, evaluate_classifier, print_report
from speechrnn.tasks.classification.classify import Classification, outcomes

CLASSES = ("a", "b", "c")


def classified(model, sources, *, faults=None, **options):
    return answered(outcomes(model, sources, **options), faults)


def records(rng, count=120, task="single", subjects=8, frames=50):
    """Answers that are right more often than not."""
    found = []
    for index in range(count):
        shape = {"single": (), "multi": (3,), "frames": (frames,)}[task]
        truth = rng.integers(2 if task == "multi" else 3, size=shape)
        wanted = truth if task == "multi" else np.eye(3)[truth]
        scores = np.clip(0.4 * wanted + rng.uniform(0, 0.65, wanted.shape), 0, 1)
        if task != "multi":
            scores /= scores.sum(-1, keepdims=True)
        found.append(Classified(str(index), truth, scores.astype("float32"), f"s{index % subjects}", 2.0))
    return found


def test_figures_are_those_of_scikit_learn(rng):
    scored = records(rng)
    report = classification_report(scored, CLASSES)
    truth, scores = np.array([r.truth for r in scored]), np.array([r.probabilities for r in scored])
    best = scores.argmax(1)
    np.testing.assert_array_equal(report.matrix, sklearn.metrics.confusion_matrix(truth, best))
    assert report.accuracy == pytest.approx(sklearn.metrics.accuracy_score(truth, best))
    assert report.macro_f1 == pytest.approx(sklearn.metrics.f1_score(truth, best, average="macro"))
    for k, score in enumerate(report.scores):
        assert score.auroc == pytest.approx(sklearn.metrics.roc_auc_score(truth == k, scores[:, k]))
    assert report.calibration_error == pytest.approx(metrics.calibration_error(scores.max(1), best == truth))


def test_frames_without_a_class_are_in_no_figure(rng):
    scored = records(rng, 10, "frames")
    report = classification_report(scored, CLASSES, task="frames")
    for record in scored:
        record.truth[::2] = -1
    fewer = classification_report(scored, CLASSES, task="frames")
    truth = np.concatenate([r.truth[1::2] for r in scored])
    best = np.concatenate([r.probabilities[1::2].argmax(1) for r in scored])
    assert (report.decisions, fewer.decisions) == (500, 250)
    np.testing.assert_array_equal(fewer.matrix, sklearn.metrics.confusion_matrix(truth, best))
    assert sum(b.words for b in fewer.reliability()) == 250


def test_several_classes_at_once_are_scored_one_by_one(rng):
    scored = records(rng, task="multi")
    report = classification_report(scored, CLASSES, task="multi")
    truth = np.array([r.truth for r in scored])
    said = np.array([r.probabilities for r in scored]) >= 0.5
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(truth, said)
    assert [s.sensitivity for s in report.scores] == pytest.approx(recall)
    assert [s.predictive_value for s in report.scores] == pytest.approx(precision)
    assert report.macro_f1 == pytest.approx(f1.mean())
    assert report.accuracy == pytest.approx((truth == said).mean())
    assert report.figures["exact_match"] == pytest.approx(sklearn.metrics.accuracy_score(truth, said))
    assert [s.support for s in report.scores] == truth.sum(0).tolist()


def test_subjects_that_differ_widen_the_interval(rng):
    def scored(subject_of):
        made = []
        for i in range(200):
            right = i % 4 > 0  # subject 0 is always wrong, where subjects are i % 4
            made.append(Classified(str(i), np.int32(0), np.array([right, not right], "float32"), subject_of(i)))
        return made

    report = classification_report(scored(lambda i: f"s{i % 4}"), ("x", "y"))
    low, high = report.subject_intervals["accuracy"]
    near, far = report.intervals["accuracy"]
    assert high - low > 3 * (far - near)
    assert report.interval("accuracy") == (low, high)
    assert report.subjects == {"s0": 0.0, "s1": 1.0, "s2": 1.0, "s3": 1.0}
    assert classification_report(scored(lambda i: None), ("x", "y")).subject_intervals is None
    partly = classification_report(scored(lambda i: f"s{i % 4}" if i else None), ("x", "y"))
    assert partly.subject_intervals is None


def test_intervals_hold_the_figure_and_repeat(rng):
    first, second = (classification_report(records(np.random.default_rng(5)), CLASSES, seed=3) for _ in range(2))
    assert first.intervals == second.intervals
    for name, (low, high) in first.intervals.items():
        assert low < first.figures[name] < high


def test_heartbeats_are_scored_as_the_aami_recommends(rng):
    classes = ("N", "S", "V", "F")
    scored = []
    for index in range(40):
        truth = rng.integers(4, size=64)
        taken = np.where(rng.random(64) < 0.7, truth, rng.integers(4, size=64))
        scored.append(Classified(str(index), truth, np.eye(4, dtype="float32")[taken], f"p{index % 5}"))
    report = classification_report(scored, classes, task="frames", scheme="aami")
    assert report.figures["j_kappa"] == pytest.approx(metrics.j_kappa(report.matrix))
    assert report.figures["sensitivity_S"] == pytest.approx(report.scores[1].sensitivity)
    low, high = report.interval("j_kappa")
    assert low < report.figures["j_kappa"] < high
    assert str(report).startswith(f"J-kappa {report.figures['j_kappa']:.3f}")


def test_a_report_of_nothing_claims_nothing():
    report = classification_report([], CLASSES, faults=[Fault("a.npz", "missing", "a.npz: there is no such file.")])
    assert math.isnan(report.accuracy)
    assert str(report) == "No record was scored; 1 failed."
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["accuracy"] is None


@pytest.mark.parametrize("task", ["single", "multi", "frames"])
def test_the_dictionary_holds_the_report(task, rng):
    report = classification_report(records(rng, 30, task), CLASSES, task=task)
    found = json.loads(json.dumps(report.to_dict(records=True), allow_nan=False))
    assert found["accuracy"] == report.accuracy
    assert found["intervals_by_subject"]["macro_f1"] == list(report.subject_intervals["macro_f1"])
    assert [entry["name"] for entry in found["classes"]] == ["a", "b", "c"]
    assert found["confusion"] == report.matrix.tolist()
    assert (found["records"], found["hours"]) == (30, 60 / 3600)
    mean = np.mean([entry["accuracy"] for entry in found["details"]])
    assert mean == pytest.approx(report.accuracy)


@pytest.mark.parametrize("task", ["single", "multi", "frames"])
def test_the_printed_report_says_figures_classes_and_failures(task, rng):
    out = io.StringIO()
    report = classification_report(records(rng, 40, task), CLASSES, task=task, faults=[Fault("a", "missing", "a: no")])
    print_report(report, Console(file=out, width=200), per_subject=True)
    text = out.getvalue()
    assert f"ccuracy {100 * report.accuracy:.2f} %" in text
    assert "1 more FAILED and are in none of these figures" in text
    assert f"{100 * report.scores[1].sensitivity:.1f}" in text
    assert ("True \\ predicted" in text) == (task != "multi")
    assert "s7" in text


def test_a_class_in_square_brackets_is_printed(rng):
    out = io.StringIO()
    names = ("[unknown]", "a[/b]", "c")
    print_report(classification_report(records(rng, 40, "single"), names), Console(file=out, width=200))
    for name in names[:2]:
        assert out.getvalue().count(name) == 3  # its row and, of the confusions, its row and its column


# Classifying, with a model that needs no TensorFlow


def save(path, levels, seconds=0.5, rate=Leveller.sample_rate, channels=2):
    """A record that `Leveller` reads as these classes, one after the other."""
    signal = np.repeat(np.array(levels, "float32"), round(seconds * rate))[:, None] * np.ones(channels, "float32")
    np.savez(path, signal=signal, rate=float(rate))
    return str(path)


def test_records_are_classified_in_order_whatever_their_lengths(tmp_path):
    model = Leveller()
    paths = [save(tmp_path / f"{i}.npz", [i % 3], seconds=1 + i % 4) for i in range(10)]
    done = []
    found = list(classified(model, paths, batch_size=3, progress=done.append))
    assert [c.path for c in found] == paths == done
    assert [c.label for c in found] == [CLASSES[i % 3] for i in range(10)]
    assert [c.duration for c in found] == [1 + i % 4 for i in range(10)]
    assert all(max(batch) - min(batch) <= Leveller.sample_rate for batch in model.batches)  # of about one length


def test_frames_become_segments(tmp_path):
    (found,) = classified(Leveller(per_frame=True), [save(tmp_path / "a.npz", [0, 2, 2, 1])])
    assert [(s.label, s.start, s.end) for s in found.segments()] == [("a", 0, 0.5), ("c", 0.5, 1.5), ("b", 1.5, 2)]
    assert found.label == "c"
    assert found.to_dict()["segments"][1]["label"] == "c"
    assert len(found.to_dict(frames=True)["probabilities"]) == len(found.probabilities)


def test_several_classes_are_those_more_likely_than_not():
    found = Classification("a", CLASSES, np.array([0.6, 0.2, 0.5], "float32"), "multi", 1.0, 0.1)
    assert found.labels == ("a", "c")
    assert found.to_dict()["labels"] == ["a", "c"]


def test_a_record_that_cannot_be_read_stops_no_other(tmp_path):
    good = save(tmp_path / "good.npz", [1])
    flawed = save(tmp_path / "one.npz", [1], channels=1)
    short = save(tmp_path / "short.npz", [1], seconds=0.01)
    faults = Faults()
    found = list(classified(Leveller(), [str(tmp_path / "gone.npz"), flawed, short, good], faults=faults))
    assert [c.path for c in found] == [good]
    assert [f.where for f in faults] == [str(tmp_path / "gone.npz"), flawed, short]
    assert next(iter(faults)).kind == "missing"
    with pytest.raises(FileNotFoundError, match="gone"):
        list(classified(Leveller(), [str(tmp_path / "gone.npz")]))


def test_an_answer_that_is_no_number_is_a_fault(tmp_path):
    model = Leveller()
    model.probabilities = lambda signals: [np.full(3, np.nan, "float32") for _ in signals]
    faults = Faults()
    assert not list(classified(model, [save(tmp_path / "a.npz", [1])], faults=faults))
    assert [f.kind for f in faults] == ["without an answer"]


def test_channels_that_the_card_names_are_read(tmp_path):
    signal = np.stack([np.full(100, 2), np.full(100, 0), np.full(100, 1)], 1).astype("float32")
    np.savez(tmp_path / "a.npz", signal=signal, rate=50.0, channels=["x", "y", "z"])
    model = Leveller()
    assert next(classified(model, [tmp_path / "a.npz"])).label == "b"  # x and y: (2 + 0) / 2
    model.card = {"channels": ["z", "x"]}
    assert next(classified(model, [tmp_path / "a.npz"])).label == "c"  # (1 + 2) / 2, to the even
    model.card = {"channels": ["z", "nose"]}
    with pytest.raises(ValueError, match="nose"):
        next(classified(model, [tmp_path / "a.npz"]))


# Evaluating against a manifest


def test_a_classifier_is_scored_against_a_manifest(tmp_path):
    truth = ["a", "b", "c", "c"]
    said = [0, 1, 2, 1]
    examples = [
        Example(save(tmp_path / f"{i}.npz", [k]), 0.5, label=label, subject=f"s{i % 2}")
        for i, (label, k) in enumerate(zip(truth, said, strict=True))
    ]
    strange = Example(examples[0].path, 0.5, label="z", id="strange")
    bare = Example(examples[0].path, 0.5, id="bare")
    gone = Example(str(tmp_path / "gone.npz"), 0.5, label="a")
    faults, done = Faults(), []
    report = evaluate_classifier(
        Leveller(), [examples[0], gone, strange, bare, *examples[1:]], faults=faults, progress=done.append
    )
    assert report.matrix.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert report.accuracy == 0.75
    assert report.confusions() == [("c", "b", 1)]
    assert [record.subject for record in report.records] == ["s0", "s1", "s0", "s1"]
    assert len(report.faults) == 3
    assert len(done) == 7


def test_a_class_for_each_frame_is_scored_in_the_middle_of_the_frame(tmp_path):
    path = save(tmp_path / "a.npz", [0, 1, 2], seconds=1.0)
    shifted = Example(path, 3.0, labels=((0.0, 1.25, "a"), (1.25, 2.0, "b"), (2.0, 2.5, "c")))
    report = evaluate_classifier(Leveller(per_frame=True), [shifted])
    # Frames of 0.1 s with middles at 0.05, 0.15, ...: three of class a stand in b's second, and 2.5 s on have no class.
    assert report.matrix.tolist() == [[10, 2, 0], [0, 8, 0], [0, 0, 5]]
    assert report.decisions == 25


def test_the_scheme_of_the_card_is_scored_and_one_that_does_not_fit_is_said(tmp_path):
    examples = [Example(save(tmp_path / f"{k}.npz", [k]), 0.5, label="NAO"[k]) for k in range(3)]
    model = Leveller(classes=("N", "A", "O"))
    model.card = {"scheme": "cinc2017"}
    assert evaluate_classifier(model, examples).figures["cinc2017_f1"] == 1.0
    with pytest.raises(ValueError, match="'aami' scores the classes N, S, V, F. Received: N, A, O"):
        evaluate_classifier(model, examples, scheme="aami")
