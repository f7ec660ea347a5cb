"""How often a classifier is wrong: `evaluate_classifier`, `cross_validate`, and their `ClassificationReport`."""

from speechrnn.classification.evaluation import evaluate_classifier
from speechrnn.classification.folds import cross_validate
from speechrnn.classification.printing import print_report
from speechrnn.classification.report import ClassificationReport, Classified, classification_report

__all__ = [
    "ClassificationReport",
    "Classified",
    "classification_report",
    "cross_validate",
    "evaluate_classifier",
    "print_report",
]
