"""Figures of merit: those of scikit-learn, tables worked by hand, and figures that were published."""

import math

import numpy as np
import pytest
import sklearn.metrics

from speechrnn import metrics

# Heartbeats of the test half of MIT-BIH in de Chazal et al. (2004): rows N S V F, columns N S V F Q.
DE_CHAZAL = np.array(
    [[38444, 1904, 303, 3509, 99], [173, 1395, 252, 16, 1], [117, 321, 2504, 176, 103], [33, 1, 7, 347, 0]]
)
FIVE = np.vstack([DE_CHAZAL, np.zeros((1, 5), int)])
BEATS = ("N", "S", "V", "F", "Q")


@pytest.fixture
def drawn(rng):
    """Truths and predictions that agree more often than chance; class 3 is rare."""
    truth = rng.choice(4, 500, p=[0.5, 0.3, 0.18, 0.02])
    return truth, np.where(rng.random(500) < 0.6, truth, rng.integers(4, size=500))


def test_counts_and_figures_are_those_of_scikit_learn(drawn):
    truth, predicted = drawn
    matrix = metrics.confusion_matrix(truth, predicted, 4)
    np.testing.assert_array_equal(matrix, sklearn.metrics.confusion_matrix(truth, predicted))
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(truth, predicted)
    np.testing.assert_allclose(metrics.sensitivity(matrix), recall)
    np.testing.assert_allclose(metrics.predictive_value(matrix), precision)
    np.testing.assert_allclose(metrics.f1(matrix), f1)
    assert metrics.accuracy(matrix) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert metrics.balanced_accuracy(matrix) == pytest.approx(sklearn.metrics.balanced_accuracy_score(truth, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(sklearn.metrics.f1_score(truth, predicted, average="macro"))
    assert metrics.cohen_kappa(matrix) == pytest.approx(sklearn.metrics.cohen_kappa_score(truth, predicted))
    scores = metrics.class_scores(matrix, "abcd")
    assert [s.support for s in scores] == support.tolist()
    assert [s.predicted for s in scores] == np.bincount(predicted).tolist()


def test_a_class_that_is_not_there_is_in_no_mean():
    truth, predicted = [0, 0, 1, 1], [0, 2, 1, 1]
    matrix = metrics.confusion_matrix(truth, predicted, 4)  # class 2 only predicted, class 3 nowhere
    assert metrics.macro_f1(matrix) == pytest.approx(
        sklearn.metrics.f1_score(truth, predicted, average="macro", zero_division=0)
    )
    assert metrics.balanced_accuracy(matrix) == 0.75
    assert math.isnan(metrics.sensitivity(matrix)[2])
    assert math.isnan(metrics.f1(matrix)[3])


def test_figures_of_many_matrices_are_those_of_each(rng):
    matrices = rng.integers(0, 30, (5, 4, 4))

    def cinc2017(matrix):
        return metrics.scheme_scores("cinc2017", matrix, "NAO~")["cinc2017_f1"]

    for function in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1, metrics.cohen_kappa,
                     metrics.j_kappa, cinc2017):  # fmt: skip
        np.testing.assert_allclose(function(matrices), [function(m) for m in matrices])


def test_areas_are_those_of_scikit_learn_with_ties(rng):
    positive = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + positive, 1)  # many ties
    assert metrics.auroc(scores, positive) == pytest.approx(sklearn.metrics.roc_auc_score(positive, scores))
    assert math.isnan(metrics.auroc([0.1, 0.2], [True, True]))


def test_published_heartbeats_give_the_published_figures():
    found, right = metrics.aami_table(FIVE, BEATS)
    np.testing.assert_allclose(100 * found, [86.9, 75.9, 77.7, 89.4], atol=0.05)
    np.testing.assert_allclose(100 * right, [99.2, 38.5, 81.9, 8.6], atol=0.06)
    assert metrics.j_kappa(DE_CHAZAL[:, :4]) == pytest.approx(0.612, abs=0.0005)


def test_fusion_beats_taken_for_ventricular_are_forgiven_and_unknown_truths_left_out():
    matrix = np.zeros((5, 5), int)
    matrix[[0, 1, 2, 3], [0, 1, 2, 2]] = 10, 10, 10, 90
    table = metrics.aami_table(matrix, BEATS)
    assert table[1][2] == 1.0
    matrix[4] = 1000  # true Q: whatever they are taken for
    np.testing.assert_array_equal(metrics.aami_table(matrix, BEATS), table)
    kept = metrics.j_kappa(matrix, BEATS)
    matrix[0, 4] = 50  # true N taken for Q: misses
    assert metrics.aami_table(matrix, BEATS)[0][0] == 10 / 60
    assert metrics.j_kappa(matrix, BEATS) < kept


def test_j_kappa_worked_by_hand():
    matrix = np.array([[80, 10, 0, 0], [5, 5, 0, 0], [0, 0, 10, 0], [0, 0, 0, 0]])
    # kappa: agreement 95/110, chance (85 * 90 + 15 * 10 + 10 * 10) / 110**2; j: 5/10 + 5/15 + 1 + 1
    chance = (85 * 90 + 15 * 10 + 10 * 10) / 110**2
    kappa = (95 / 110 - chance) / (1 - chance)
    assert metrics.j_kappa(matrix) == pytest.approx(kappa / 2 + (0.5 + 1 / 3 + 2) / 8)


def test_the_order_of_the_classes_does_not_matter(rng):
    matrix = rng.integers(1, 50, (5, 5))
    turned = [4, 2, 0, 3, 1]
    names = [BEATS[i] for i in turned]
    assert metrics.j_kappa(matrix[np.ix_(turned, turned)], names) == pytest.approx(metrics.j_kappa(matrix, BEATS))
    assert metrics.j_kappa(matrix, BEATS) != pytest.approx(metrics.j_kappa(matrix, names))


def test_the_challenge_of_2017_averages_three_of_four_classes():
    matrix = np.array([[90, 5, 5, 0], [2, 17, 1, 0], [20, 5, 24, 1], [1, 1, 1, 7]])
    expected = (2 * 90 / (100 + 113) + 2 * 17 / (20 + 28) + 2 * 24 / (50 + 31)) / 3
    assert metrics.scheme_scores("cinc2017", matrix, "NAO~")["cinc2017_f1"] == pytest.approx(expected)


def test_intervals_are_those_of_every_possible_draw(rng):
    import itertools

    matrices = rng.integers(0, 10, (4, 2, 2)) + np.eye(2, dtype=int) * 5
    every = [metrics.macro_f1(sum(drawn)) for drawn in itertools.product(matrices, repeat=4)]
    found = metrics.bootstrap(matrices, lambda m: {"f1": metrics.macro_f1(m)}, resamples=100_000)
    assert found["f1"] == pytest.approx(np.quantile(every, [0.025, 0.975]), abs=0.01)


def test_intervals_repeat_with_their_seed_and_are_nothing_of_nothing(rng):
    matrices = rng.integers(0, 9, (30, 3, 3))

    def of(m):
        return {"accuracy": metrics.accuracy(m)}

    assert metrics.bootstrap(matrices, of, seed=1) == metrics.bootstrap(matrices, of, seed=1)
    assert metrics.bootstrap(matrices, of, seed=1) != metrics.bootstrap(matrices, of, seed=2)
    assert all(map(math.isnan, metrics.bootstrap(matrices[:0], of)["accuracy"]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.confusion_matrix([0, 1], [0], 2), "one prediction for each truth. Received: 1 for 2"),
        (lambda: metrics.confusion_matrix([0, 2], [0, 1], 2), "0 to 1. Received: truth to 2"),
        (lambda: metrics.confusion_matrix([0, 1], [0, -1], 2), "predictions from -1"),
        (lambda: metrics.auroc([0.1], [True, False]), "one score for each example"),
        (lambda: metrics.j_kappa(np.eye(3), "NSV"), "without F"),
        (lambda: metrics.scheme_scores("ami", np.eye(3), "NSV"), "must be one of aami, cinc2017, kappa, None"),
    ],
)
def test_what_cannot_be_scored_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
