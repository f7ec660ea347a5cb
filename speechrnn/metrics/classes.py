"""Metrics of a classifier, from counts: confusion matrices, sensitivity, F1, kappa, area under the ROC curve.

A confusion matrix is `(classes, classes)`, with a row for each true class and a column for each predicted one.
Functions of a matrix also take leading dimensions, as in `(draws, classes, classes)`; a ratio whose denominator is 0 is
NaN.

scikit-learn is not used, since it takes the class of every example instead of counts: 10,000 draws of 8,528 records
would take 150 s for one F1 instead of 11 s; its import takes 5 s; and evaluation works without it. The values are
equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from speechrnn.faults import check_choice
from speechrnn.metrics.intervals import ratio

AAMI = ("N", "S", "V", "F")
"""Classes of heartbeats that the AAMI's table scores; beats whose true class is Q are left out."""

CINC2017 = ("N", "A", "O")
"""Rhythms whose F1 the PhysioNet/CinC Challenge 2017 averages; `~` (noisy) has no F1 of its own in the average."""


class ClassScore(NamedTuple):
    """Scores of one class."""

    name: str
    support: int
    """Examples whose true class it is."""
    predicted: int
    """Examples for which it is predicted."""
    sensitivity: float
    """Share of its examples that are recognized (recall); NaN without examples."""
    predictive_value: float
    """Share of its predictions that are right (+P, precision); NaN without predictions."""
    f1: float
    auroc: float = math.nan
    """Area under the ROC curve against all other classes; NaN without positive or negative examples."""


def confusion_matrix(truth: Any, predicted: Any, classes: int) -> np.ndarray:
    """Counts of every pair of true and predicted class, int64 `(classes, classes)`.

    Args:
        truth: Indices of the true classes; negative ones are unknown and left out.
        predicted: Indices of the predicted classes.
        classes: Number of classes.

    Raises:
        ValueError: The shapes differ, or an index is out of range.

    Example:
    >>> confusion_matrix([0, 0, 1, -1], [0, 1, 1, 0], 2).tolist()
    [[1, 1], [0, 1]]
    """
    truth, predicted = np.asarray(truth, np.int64).ravel(), np.asarray(predicted, np.int64).ravel()
    if truth.shape != predicted.shape:
        raise ValueError(f"There must be one prediction for each truth. Received: {predicted.size} for {truth.size}.")
    known = truth >= 0
    truth, predicted = truth[known], predicted[known]
    if len(truth) and not (truth.max() < classes and 0 <= predicted.min() <= predicted.max() < classes):
        raise ValueError(
            f"Classes must lie in 0 to {classes - 1}. "
            f"Received: truth to {truth.max()}, predictions from {predicted.min()} to {predicted.max()}."
        )
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def presence_matrices(truth: Any, predicted: Any) -> np.ndarray:
    """A confusion matrix of absence and presence for each class, for several classes per example.

    Args:
        truth: Bool or 0 and 1, `(rows, classes)`: which classes are present.
        predicted: The same for the predictions.

    Returns:
        int64 `(classes, 2, 2)`.

    Example:
    >>> presence_matrices([[1, 0], [1, 1]], [[1, 0], [0, 1]]).tolist()
    [[[0, 0], [1, 1]], [[1, 0], [0, 1]]]
    """
    truth, predicted = np.asarray(truth, int), np.asarray(predicted, int)
    counts = np.zeros((truth.shape[-1], 2, 2), np.int64)
    np.add.at(counts, (np.arange(truth.shape[-1]), truth, predicted), 1)
    return counts


def accuracy(matrix: np.ndarray) -> Any:
    """Share of correct predictions."""
    return ratio(_diagonal(matrix).sum(-1), np.sum(matrix, (-2, -1)))


def sensitivity(matrix: np.ndarray) -> np.ndarray:
    """Share of each class's examples that are recognized (recall): float64 `(..., classes)`."""
    return ratio(_diagonal(matrix), np.sum(matrix, -1))


def predictive_value(matrix: np.ndarray) -> np.ndarray:
    """Share of each class's predictions that are right (precision): float64 `(..., classes)`."""
    return ratio(_diagonal(matrix), np.sum(matrix, -2))


def f1(matrix: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall: float64 `(..., classes)`; NaN for a class neither true nor predicted."""
    return ratio(2 * _diagonal(matrix), np.sum(matrix, -1) + np.sum(matrix, -2))


def balanced_accuracy(matrix: np.ndarray) -> Any:
    """Mean sensitivity of the classes that have examples."""
    return _mean(sensitivity(matrix))


def macro_f1(matrix: np.ndarray) -> Any:
    """Mean F1 of the classes that are true or predicted for some example."""
    return _mean(f1(matrix))


def summary(counts: np.ndarray, *, several: bool = False) -> dict[str, Any]:
    """Accuracy and macro-F1, by name.

    Args:
        counts: A confusion matrix, or `presence_matrices`, for which the accuracy is over all rows and classes and F1
            is that of presence.
        several: Whether `counts` are `presence_matrices`.
    """
    if several:
        return {"accuracy": accuracy(np.sum(counts, -3)), "macro_f1": _mean(f1(counts)[..., 1])}
    return {"accuracy": accuracy(counts), "macro_f1": macro_f1(counts)}


def cohen_kappa(matrix: np.ndarray) -> Any:
    """Agreement beyond chance (Cohen 1960); 0 if chance would always agree too."""
    matrix = np.asarray(matrix, np.float64)
    total = matrix.sum((-2, -1))
    chance = ratio((matrix.sum(-1) * matrix.sum(-2)).sum(-1), np.square(total))
    gain = accuracy(matrix) - chance
    return np.where(chance == 1, 0.0, ratio(gain, 1 - chance))[()]


def class_scores(
    matrix: np.ndarray, classes: Sequence[str], areas: Sequence[float] | None = None
) -> tuple[ClassScore, ...]:
    """The scores of each class.

    Args:
        matrix: Confusion matrix `(classes, classes)`.
        classes: Names of the classes.
        areas: Area under the ROC curve of each class, from `auroc`.
    """
    areas = [math.nan] * len(classes) if areas is None else areas
    support, predicted = np.sum(matrix, -1), np.sum(matrix, -2)
    columns = zip(
        classes, support, predicted, sensitivity(matrix), predictive_value(matrix), f1(matrix), areas, strict=True
    )
    return tuple(
        ClassScore(name, int(a), int(b), float(c), float(d), float(e), float(g)) for name, a, b, c, d, e, g in columns
    )


def auroc(scores: Any, positive: Any) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties counted half.

    Computed from the sum of ranks (Hanley and McNeil 1982). NaN without positives or negatives.

    Example:
    >>> auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False])
    0.875
    """
    scores, positive = np.asarray(scores, np.float64).ravel(), np.asarray(positive, bool).ravel()
    if scores.shape != positive.shape:
        raise ValueError(f"There must be one score for each example. Received: {scores.size} for {positive.size}.")
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return math.nan
    _, index, count = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks = (last - (count - 1) / 2)[index]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def aami_table(matrix: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and positive predictive value of the classes of `AAMI`, by the AAMI's recommendation EC57.

    Beats whose true class is not one of the four are left out, and fusion beats predicted as ventricular ones are not
    false positives of V (de Chazal et al. 2004). A beat predicted as none of the four is a miss.

    Args:
        matrix: `(..., classes, classes)`.
        classes: Names of the classes; N, S, V and F must be among them.

    Returns:
        Two float64 `(..., 4)`.
    """
    four = _aami(matrix, classes)
    right, predicted = _diagonal(four[..., :4]), four[..., :4].sum(-2)
    fusion = np.zeros_like(predicted)
    fusion[..., 2] = four[..., 3, 2]
    return ratio(right, four.sum(-1)), ratio(right, predicted - fusion)


def j_kappa(matrix: np.ndarray, classes: Sequence[str] = AAMI) -> Any:
    """The index of Mar et al. (2011) for heartbeats: half of Cohen's kappa, plus an eighth of j.

    j is the sum of sensitivity and positive predictive value of S and of V, from `aami_table`; a NaN counts as 0, since
    a class that is never predicted is never right.
    """
    four = _aami(matrix, classes)
    square = np.concatenate([four, np.zeros_like(four[..., :1, :])], -2)  # column 5: predicted as none of the four
    scores = np.stack(aami_table(matrix, classes))[..., 1:3]
    return (0.5 * cohen_kappa(square) + 0.125 * np.nan_to_num(scores).sum((0, -1)))[()]


def scheme_scores(scheme: str | None, matrix: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Further metrics of a field, by name: "aami" for heartbeats, "cinc2017" for rhythms, "kappa" for stages of sleep.

    Raises:
        ValueError: The scheme is unknown, or a class that it scores is missing.
    """
    check_choice("scheme", scheme, ("aami", "cinc2017", "kappa", None))
    if scheme is None:
        return {}
    if scheme == "cinc2017":
        scores = f1(matrix)[..., _indices(classes, CINC2017, scheme)]
        return {"cinc2017_f1": scores.mean(-1)[()], **{f"f1_{n}": scores[..., i][()] for i, n in enumerate(CINC2017)}}
    if scheme == "aami":
        recall, precision = aami_table(matrix, classes)
        by_class = {
            f"{metric}_{name}": values[..., i][()]
            for i, name in ((1, "S"), (2, "V"))
            for metric, values in (("sensitivity", recall), ("predictive_value", precision))
        }
        return {"j_kappa": j_kappa(matrix, classes), **by_class}
    return {"kappa": cohen_kappa(matrix)}


def _aami(matrix: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Rows N, S, V, F; columns N, S, V, F and all others: float64 `(..., 4, 5)`."""
    indices = _indices(classes, AAMI, "aami")
    rows = np.asarray(matrix, np.float64)[..., indices, :]
    others = np.delete(rows, indices, -1).sum(-1, keepdims=True)
    return np.concatenate([rows[..., indices], others], -1)


def _indices(classes: Sequence[str], scored: Sequence[str], scheme: str) -> list[int]:
    missing = [name for name in scored if name not in classes]
    if missing:
        raise ValueError(
            f"The scheme {scheme!r} scores the classes {', '.join(scored)}. Received: {', '.join(map(str, classes))}, "
            f"without {', '.join(missing)}."
        )
    return [list(classes).index(name) for name in scored]


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)


def _mean(values: np.ndarray) -> Any:
    """Mean over the last axis, without NaN."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(-1), known.sum(-1))
