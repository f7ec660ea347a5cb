"""Metrics: word errors, class scores, calibration, and bootstrap intervals; rates are computed from summed counts."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "calibration": ["Bin", "calibration_error", "reliability"],
        "classes": [
            "AAMI",
            "ClassScore",
            "aami_table",
            "accuracy",
            "auroc",
            "balanced_accuracy",
            "class_scores",
            "cohen_kappa",
            "confusion_matrix",
            "f1",
            "j_kappa",
            "macro_f1",
            "predictive_value",
            "presence_matrices",
            "scheme_scores",
            "sensitivity",
            "summary",
        ],
        "intervals": ["Interval", "bootstrap"],
    },
)
