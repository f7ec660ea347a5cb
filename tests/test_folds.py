"""Splits that keep people apart, and folds whose classes are balanced."""

from collections import Counter

import pytest

from speechrnn.data import manifest
from speechrnn.data.manifest import Example


def corpus(rng, subjects=30, classes="aaab"):
    """Examples of subjects that have one class each, up to nine a subject."""
    found = []
    for subject in range(subjects):
        for take in range(int(rng.integers(1, 10))):
            label = classes[subject % len(classes)]
            found.append(Example(f"{subject}-{take}.npz", 1.0, label=label, subject=f"s{subject}"))
    return found


def test_folds_share_no_subject_and_hold_everything_out_once(rng):
    examples = corpus(rng)
    folds = manifest.stratified_group_folds(examples, 5)
    assert Counter(e.id for _, held in folds for e in held) == Counter(e.id for e in examples)
    for left, held in folds:
        assert not {e.subject for e in left} & {e.subject for e in held}
        assert [e for e in examples if e in left] == left
        assert len(left) + len(held) == len(examples)


def test_classes_are_about_as_frequent_in_every_fold(rng):
    examples = corpus(rng, subjects=100)
    share = sum(e.label == "b" for e in examples) / len(examples)
    for _, held in manifest.stratified_group_folds(examples, 5):
        assert sum(e.label == "b" for e in held) / len(held) == pytest.approx(share, abs=0.06)


def test_folds_repeat_with_their_seed(rng):
    examples = corpus(rng)
    assert manifest.stratified_group_folds(examples, 4, seed=1) == manifest.stratified_group_folds(examples, 4, seed=1)
    assert manifest.stratified_group_folds(examples, 4, seed=1) != manifest.stratified_group_folds(examples, 4, seed=2)


def test_without_subjects_each_example_is_its_own():
    examples = [Example(f"{i}.npz", 1.0, label=i % 2) for i in range(20)]
    for _, held in manifest.stratified_group_folds(examples, 5):
        assert Counter(e.label for e in held) == {0: 2, 1: 2}


def test_each_subject_can_be_a_fold_however_few_examples_a_class_has():
    examples = [Example(f"{i}.npz", 1.0, label=i % 4, subject=f"s{i // 2}") for i in range(10)]
    folds = manifest.stratified_group_folds(examples, 5)
    assert [{e.subject for e in held} for _, held in folds] == [{f"s{i}"} for i in range(5)]
    with pytest.raises(ValueError, match="`folds` must be at most 3, the examples of the most frequent class"):
        manifest.stratified_group_folds(examples, 4)


def test_segments_and_tags_have_a_class_too():
    rows = ((0, 1, "x"), (1, 9, "y"), (9, 10, "x"))
    examples = [Example(f"{i}.npz", 10.0, labels=rows if i % 2 else ("x", "x", "y")) for i in range(8)]
    for _, held in manifest.stratified_group_folds(examples, 4):
        assert len({e.labels for e in held}) == 2
    tagged = [Example(f"{i}.npz", 1.0, extra={"tags": ["a", "b"] if i % 2 else ["c"]}) for i in range(8)]
    for _, held in manifest.stratified_group_folds(tagged, 4):
        assert len({tuple(e.extra["tags"]) for e in held}) == 2


def test_a_rare_class_is_said(rng, caplog):
    examples = [*corpus(rng), Example("rare.npz", 1.0, label="rare", subject="other")]
    manifest.stratified_group_folds(examples, 5)
    assert "Class rare has 1 subjects for 5 folds" in caplog.text


@pytest.mark.parametrize(
    ("examples", "folds", "message"),
    [
        (
            [Example("a", 1, label=1, subject="x"), Example("b", 1, label=1)],
            2,
            "1 of 2 examples have no subject, b the",
        ),
        ([Example("a", 1, label=1, subject="x"), Example("b", 1, subject="y")], 2, "b: has no class"),
        ([Example("a", 1, label=1, subject="x")] * 3, 2, "from 2 to the 1 subjects. Received: 2"),
    ],
)
def test_what_cannot_be_folded_is_said(examples, folds, message):
    with pytest.raises(ValueError, match=message):
        manifest.stratified_group_folds(examples, folds)


def test_a_subject_in_two_splits_is_an_error():
    def of(*names):
        return [Example(f"{n}.npz", 1.0, subject=n) for n in names]

    manifest.check_disjoint({"train": of("a", "b"), "valid": of("c"), "test": [*of("d"), Example("e.npz", 1.0)]})
    manifest.check_disjoint({"train": [Example("e.npz", 1.0)], "test": [Example("e.npz", 1.0)]})
    with pytest.raises(ValueError, match="'train' and 'test' share 2 subjects: a, c. Split by subject"):
        manifest.check_disjoint({"train": of("a", "b", "c"), "valid": of("d"), "test": of("c", "a")})
