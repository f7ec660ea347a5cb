"""Classification of signals, sounds and texts: one class, several at once, or one class per frame."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="classifier",
    noun="classifier",
    method="classify",
    primitive="probabilities",
    model="speechrnn.tasks.classification.model:SequenceClassifier",
    sessions={"classifier": "speechrnn.tasks.classification.session:ClassifierSession"},
    run="speechrnn.tasks.classification.classify:outcomes",
    training="speechrnn.tasks.classification.training:ClassifierTask",
    evaluate="speechrnn.tasks.classification.evaluation:evaluate_classifier",
    export="speechrnn.tasks.classification.export:ClassifierExporter",
    command="speechrnn.tasks.classification.command:ClassifierCommand",
    build="speechrnn.tasks.classification.building:for_manifest",
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "classify": ["Classification"],
        "evaluation": ["evaluate_classifier"],
        "folds": ["cross_validate"],
        "kernels": ["kernel_classifier"],
        "model": ["SequenceClassifier"],
        "network": ["recurrent_classifier"],
        "printing": ["print_report"],
        "report": ["ClassificationReport", "Classified", "classification_report"],
        "options": ["ClassifierTraining"],
        "session": ["ClassifierSession"],
        "setting": ["Setting"],
        "spotting": ["Spotter", "spot"],
    },
)
__all__ += ["KIND"]
