"""Reports of classifiers: accuracy, F1 and other figures with confidence intervals, by class and by subject."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from speechrnn import metrics
from speechrnn.faults import Fault
from speechrnn.metrics import ClassScore, Interval
from speechrnn.metrics.intervals import finite

_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "exact_match": "all labels right",
    "j_kappa": "j-kappa",
    "kappa": "kappa",
    "cinc2017_f1": "F1 of N, A and O",
}
"""Names of the figures in a report's summary line."""

ROLES = {
    "validation": "VALIDATION (no figure for strangers if settings were compared by it): ",
    "nested": "NESTED (settings chosen inside each fold): ",
}
"""Start of a report's summary line, by its role."""


@dataclass(frozen=True, eq=False)
class Classified:
    """A record with its true and its predicted classes."""

    id: str
    truth: np.ndarray
    """int32 `()`; `(frames,)` with -1 for frames without a class; or `(classes,)` of 0 and 1 if several can be true."""
    probabilities: np.ndarray
    """float32 `(classes,)`, or `(frames, classes)`."""
    subject: str | None = None
    """The subject, if known."""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """Scores of a classifier on a corpus; all figures follow from counts summed over the records."""

    records: tuple[Classified, ...]
    """The scored records, in order."""
    classes: tuple[str, ...]
    task: str
    """"single", "multi" or "frames"."""
    scheme: str | None
    """Additional scores, see `speechrnn.metrics.scheme_scores`."""
    matrix: np.ndarray
    """int64 `(classes, classes)`, a row for each true class; if several can be true `(classes, 2, 2)`."""
    scores: tuple[ClassScore, ...]
    """Scores of each class."""
    figures: dict[str, float]
    """Accuracy, macro-F1 and others, and those of the scheme, by name."""
    intervals: dict[str, Interval]
    """95 % bootstrap interval of each figure, by resampling records."""
    subject_intervals: dict[str, Interval] | None = None
    """Like `intervals`, by resampling subjects; None unless all subjects are known and there are two or more."""
    subjects: dict[str, float] = field(default_factory=dict)
    """Accuracy of each known subject."""
    faults: tuple[Fault, ...] = ()
    """Examples that could not be scored; the figures exclude them."""
    elapsed: float = 0.0
    """Wall time that classification took, in seconds."""
    folds: tuple[dict[str, float], ...] = ()
    """Figures of each fold, if this is a report of `cross_validate`."""
    role: str = ""
    """"validation" if settings may have been chosen by the same records, "nested" if they were chosen inside each fold;
    empty if not known."""
    chosen: tuple[str, ...] = ()
    """The setting of each fold, if they were chosen inside."""
    also: Mapping[str, ClassificationReport] = field(default_factory=dict)
    """Reports of the same models on the examples of `cross_validate(also_on=...)`, by name."""

    @property
    def accuracy(self) -> float:
        """Share of correct decisions (0.9 is 90 %), see `decisions`; NaN without any."""
        return self.figures["accuracy"]

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes."""
        return self.figures["macro_f1"]

    @property
    def decisions(self) -> int:
        """Number of decisions: records, frames with a class, or records times classes."""
        return int(self.matrix.sum())

    @property
    def seconds(self) -> float:
        """Total duration of the scored records."""
        return sum(record.seconds for record in self.records)

    def interval(self, name: str) -> Interval:
        """Interval of a figure: by subject if subjects are known, otherwise by record."""
        return (self.subject_intervals or self.intervals).get(name, (math.nan, math.nan))

    def reliability(self, bins: int = 10) -> list[metrics.Bin]:
        """Accuracy of decisions by confidence."""
        return metrics.reliability(*self._confidences, bins=bins)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over ten bins; NaN without records."""
        return metrics.calibration_error(*self._confidences)

    @cached_property
    def _confidences(self) -> tuple[np.ndarray, np.ndarray]:
        """The probability of each decision, and whether it is correct; for task "multi", whether the class is true."""
        truth, probabilities = _stacked(self.records, len(self.classes), self.task)
        if self.task == "multi":
            return probabilities.ravel().clip(0, 1), truth.ravel() > 0
        return probabilities.max(1, initial=0).clip(0, 1), probabilities.argmax(1) == truth

    def confusions(self, most: int = 10) -> list[tuple[str, str, int]]:
        """The most frequent `(true, predicted, times)` of different classes; empty if several can be true."""
        if self.task == "multi":
            return []
        pairs = [
            (self.classes[i], self.classes[j], int(n)) for (i, j), n in np.ndenumerate(self.matrix) if n and i != j
        ]
        return sorted(pairs, key=lambda pair: (-pair[2], pair))[:most]

    def stored(self) -> dict[str, Any]:
        """The report's data as JSON values, from which `restored` makes the report again."""
        rows = [[r.id, r.truth.tolist(), r.probabilities.tolist(), r.subject, r.seconds] for r in self.records]
        return {"classes": self.classes, "task": self.task, "scheme": self.scheme, "rows": rows}

    def to_dict(self, *, records: bool = False) -> dict[str, Any]:
        """The report as JSON values; a figure that is not finite is None.

        Args:
            records: Include every record with its true and its predicted classes.
        """
        by_subject = self.subject_intervals
        report: dict[str, Any] = {
            **{name: finite(value) for name, value in self.figures.items()},
            "intervals": {name: list(map(finite, pair)) for name, pair in self.intervals.items()},
            "intervals_by_subject": by_subject and {name: list(map(finite, pair)) for name, pair in by_subject.items()},
            "calibration_error": finite(self.calibration_error),
            "reliability": [{k: finite(v) for k, v in b._asdict().items()} for b in self.reliability()],
            "task": self.task,
            "scheme": self.scheme,
            "classes": [{k: finite(v) for k, v in score._asdict().items()} for score in self.scores],
            "confusion": self.matrix.tolist(),
            "records": len(self.records),
            "decisions": self.decisions,
            "failed": len(self.faults),
            "hours": self.seconds / 3600,
            "subjects": {name: finite(value) for name, value in self.subjects.items()},
            "also": {name: other.to_dict(records=records) for name, other in self.also.items()},
            "role": self.role,
            "chosen": list(self.chosen),
            "folds": [{name: finite(value) for name, value in fold.items()} for fold in self.folds],
            "faults": [asdict(fault) for fault in self.faults],
        }
        if records:
            report["details"] = [self._detail(record) for record in self.records]
        return report

    def _detail(self, record: Classified) -> dict[str, Any]:
        matrix = _tally(record, len(self.classes), self.task)
        detail = {"id": record.id, "subject": record.subject, "accuracy": finite(_accuracy(matrix))}
        if self.task == "frames":
            return detail
        scores = {name: round(float(p), 6) for name, p in zip(self.classes, record.probabilities, strict=True)}
        if self.task == "multi":
            return detail | {"labels": [self.classes[i] for i in np.flatnonzero(record.truth)], "probabilities": scores}
        best = int(record.probabilities.argmax())
        return detail | {
            "label": self.classes[int(record.truth)],
            "predicted": self.classes[best],
            "probabilities": scores,
        }

    def __str__(self) -> str:
        if not self.records:
            return f"No record was scored; {len(self.faults)} failed."
        figures = [_with_interval(self, name) for name in reversed(_NAMES) if name in self.figures]
        unit = {"single": "", "multi": " and classes", "frames": f" ({self.decisions:,} frames)"}[self.task]
        by = f"by {len(self.subjects)} subjects" if self.subject_intervals else "by record"
        line = f"{'; '.join(figures)}: {len(self.records):,} records{unit}, 95 % intervals {by}"
        line = ROLES.get(self.role, "") + line[0].upper() + line[1:]
        return line + (f"; {len(self.faults)} more FAILED and are in none of these figures." if self.faults else ".")


def classification_report(
    records: Iterable[Classified],
    classes: Sequence[str],
    *,
    task: str = "single",
    scheme: str | None = None,
    faults: Sequence[Fault] = (),
    elapsed: float = 0.0,
    resamples: int = 2000,
    seed: int = 0,
) -> ClassificationReport:
    """Make a report from scored records; needs no model.

    Args:
        records: The scored records.
        classes: Names of the classes.
        task: "single" (one class per record), "multi" (any number of them at once) or "frames" (one class per frame).
        scheme: "aami" adds j-kappa and the AAMI's table, "cinc2017" the mean F1 of that challenge, "kappa" Cohen's.
        faults: Examples that could not be scored.
        elapsed: Wall time that classification took, in seconds.
        resamples: Bootstrap replications.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: The scheme does not fit the classes or the task.

    Example:
    >>> records = [Classified(str(i), np.int32(i % 2), np.array([0.8, 0.2], "float32")) for i in range(4)]
    >>> report = classification_report(records, ("a", "b"))
    >>> report.accuracy, report.confusions()
    (0.5, [('b', 'a', 2)])
    """
    records, classes = tuple(records), tuple(classes)
    if scheme is not None and task == "multi":
        raise ValueError(f"The scheme {scheme!r} needs one class per record or frame. Received: several at once.")

    def figures(sums: np.ndarray) -> dict[str, Any]:
        return _figures(sums, classes, task, scheme)

    shape = (len(classes), 2, 2) if task == "multi" else (len(classes),) * 2
    tallies = np.array([_tally(record, len(classes), task) for record in records]).reshape(-1, *shape)
    values = {name: float(value) for name, value in figures(tallies.sum(0)).items()}
    if task == "multi":
        values["exact_match"] = float(np.mean([_exactly_right(r) for r in records])) if records else math.nan
    subjects: dict[str, np.ndarray] = {}
    for record, tally in zip(records, tallies, strict=True):
        if record.subject is not None:
            subjects[record.subject] = subjects.get(record.subject, 0) + tally
    by_subject = all(record.subject is not None for record in records) and len(subjects) > 1
    return ClassificationReport(
        records,
        classes,
        task,
        scheme,
        tallies.sum(0),
        _class_scores(records, tallies.sum(0), classes, task),
        values,
        metrics.bootstrap(tallies, figures, resamples=resamples, seed=seed),
        metrics.bootstrap(np.array([*subjects.values()]), figures, resamples=resamples, seed=seed)
        if by_subject
        else None,
        {name: _accuracy(tally) for name, tally in sorted(subjects.items())},
        tuple(faults),
        elapsed,
    )


def restored(parts: Sequence[Mapping[str, Any]], **about: Any) -> ClassificationReport:
    """Make one report from the stored data of one or several reports.

    Args:
        parts: Results of `ClassificationReport.stored`.
        **about: Arguments of `classification_report`: `faults`, `elapsed` and `seed`.
    """
    records = [
        Classified(id, np.asarray(truth, np.int32), np.asarray(probabilities, np.float32), subject, seconds)
        for part in parts
        for id, truth, probabilities, subject, seconds in part["rows"]
    ]
    first = parts[0]
    return classification_report(records, first["classes"], task=first["task"], scheme=first["scheme"], **about)


def _tally(record: Classified, classes: int, task: str) -> np.ndarray:
    """The record's confusion matrix; if several classes can be true, a 2 x 2 matrix for each class."""
    if task != "multi":
        return metrics.confusion_matrix(record.truth, record.probabilities.argmax(-1), classes)
    return metrics.presence_matrices(record.truth > 0.5, record.probabilities >= 0.5)


def _exactly_right(record: Classified) -> bool:
    return bool(((record.probabilities >= 0.5) == (record.truth > 0.5)).all())


def _figures(sums: np.ndarray, classes: Sequence[str], task: str, scheme: str | None) -> dict[str, Any]:
    """Figures of summed tallies, with any leading dimensions."""
    if task == "multi":
        return metrics.summary(sums, several=True)
    balanced = {"balanced_accuracy": metrics.balanced_accuracy(sums)}
    return metrics.summary(sums) | balanced | metrics.scheme_scores(scheme, sums, classes)


def _accuracy(tally: np.ndarray) -> float:
    return float(metrics.summary(tally, several=tally.ndim == 3)["accuracy"])


def _stacked(records: Sequence[Classified], classes: int, task: str) -> tuple[np.ndarray, np.ndarray]:
    """All decisions with a true class: truths `(decisions[, classes])` and probabilities `(decisions, classes)`."""
    shape = (-1, classes) if task == "multi" else (-1,)
    truth = np.concatenate([np.reshape(r.truth, shape) for r in records] or [np.zeros((0, classes)[: len(shape)])])
    none = np.zeros((0, classes))
    probabilities = np.concatenate([np.reshape(r.probabilities, (-1, classes)) for r in records] or [none])
    return (truth, probabilities) if task == "multi" else (truth[truth >= 0], probabilities[truth >= 0])


def _class_scores(
    records: Sequence[Classified], matrix: np.ndarray, classes: Sequence[str], task: str
) -> tuple[ClassScore, ...]:
    truth, probabilities = _stacked(records, len(classes), task)
    if task != "multi":
        areas = [metrics.auroc(probabilities[:, k], truth == k) for k in range(len(classes))]
        return metrics.class_scores(matrix, classes, areas)
    areas = [metrics.auroc(probabilities[:, k], truth[:, k] > 0) for k in range(len(classes))]
    return tuple(
        metrics.class_scores(binary, ("", name), (math.nan, area))[1]
        for name, binary, area in zip(classes, matrix, areas, strict=True)
    )


def _with_interval(report: ClassificationReport, name: str) -> str:
    low, high = report.interval(name)
    value = report.figures[name]
    if name in ("j_kappa", "kappa"):
        return f"{_NAMES[name]} {value:.3f} ({low:.3f} to {high:.3f})"
    bounds = f" ({100 * low:.2f} to {100 * high:.2f})" if math.isfinite(low) else ""
    return f"{_NAMES[name]} {100 * value:.2f} %{bounds}"
