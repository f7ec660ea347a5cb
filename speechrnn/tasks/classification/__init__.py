"""Classification: one class for a signal, several at once, or one for each frame."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "evaluation": ["evaluate_classifier"],
        "folds": ["cross_validate"],
        "printing": ["print_report"],
        "report": ["ClassificationReport", "Classified", "classification_report"],
    },
)
