"""How often a classifier is wrong: `evaluate_classifier`, and the `ClassificationReport` it gives."""

from speechrnn.classification.evaluation import evaluate_classifier
from speechrnn.classification.printing import print_report
from speechrnn.classification.report import ClassificationReport, Classified, classification_report

__all__ = ["ClassificationReport", "Classified", "classification_report", "evaluate_classifier", "print_report"]
