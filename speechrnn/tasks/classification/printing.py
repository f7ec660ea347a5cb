"""Print a classifier's report as tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from speechrnn import metrics
from speechrnn.models import reports
from speechrnn.tasks.classification.report import ClassificationReport

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MAX_COLUMNS = 12
"""Largest number of classes for which a confusion matrix is printed."""


def print_report(report: ClassificationReport, console: Console | None = None, *, per_subject: bool = False) -> None:
    """Print a report as tables, by default on standard output."""
    console = reports.print_summary(report, console)
    if not report.records:
        return
    console.print(f"Calibration error {100 * report.calibration_error:.1f} %.", markup=False)
    if report.folds:
        accuracies = " ".join(_percent(fold["accuracy"]) for fold in report.folds)
        console.print(f"Accuracy of each fold, in %: {accuracies}", markup=False, soft_wrap=True)
    console.print(_class_table(report))
    if report.scheme == "aami":
        sensitivities, predictive_values = metrics.aami_table(report.matrix, report.classes)
        rows = zip(metrics.AAMI, sensitivities, predictive_values, strict=True)
        console.print(
            "AAMI: " + ", ".join(f"{name} Se {_percent(se)} +P {_percent(p)}" for name, se, p in rows),
            markup=False,
            soft_wrap=True,
        )
    if report.task != "multi" and len(report.classes) <= _MAX_COLUMNS:
        console.print(_confusion_table(report))
    elif confusions := report.confusions():
        listed = ", ".join(f"{truth} > {predicted} ({count})" for truth, predicted, count in confusions)
        console.print(f"Confusions: {listed}", markup=False, soft_wrap=True)
    if per_subject and report.subjects:
        console.print(_subject_table(report))
    for name, other in report.also.items():
        console.print(f"\nThe same models on {name}:", markup=False)
        print_report(other, console, per_subject=per_subject)


def _class_table(report: ClassificationReport) -> Table:
    headings = ("Class", "True", "Predicted", "Sensitivity %", "+P %", "F1 %", "AUROC %")
    rows = []
    for score in report.scores:
        values = (score.sensitivity, score.predictive_value, score.f1, score.auroc)
        rows.append((score.name, f"{score.support:,}", f"{score.predicted:,}", *map(_percent, values)))
    return reports.table(headings, rows)


def _confusion_table(report: ClassificationReport) -> Table:
    rows = [(name, *(f"{count:,}" for count in row)) for name, row in zip(report.classes, report.matrix, strict=True)]
    return reports.table(("True \\ predicted", *report.classes), rows)


def _subject_table(report: ClassificationReport) -> Table:
    rows = sorted(report.subjects.items(), key=lambda item: item[1])
    return reports.table(("Subject", "Accuracy %"), [(name, _percent(value)) for name, value in rows])


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "-"
