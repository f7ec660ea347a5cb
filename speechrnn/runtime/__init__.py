"""Models without TensorFlow: export to ONNX, and sessions that run what was exported."""

import lazy_loader as _lazy

# Lazy, so that a session starts without what only exporting needs.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "classifier_session",
        "export",
        "forecaster_session",
        "frontend",
        "graph",
        "language",
        "language_export",
        "litert",
        "litert_session",
        "loading",
        "network",
        "onnxfile",
        "pooling",
        "rescoring",
        "segments",
        "session",
        "steps",
        "streaming",
        "writers",
    ],
    submod_attrs={
        "classifier_session": ["ClassifierSession"],
        "forecaster_session": ["ForecasterSession"],
        "language": ["LanguageSession"],
        "loading": ["load", "load_any", "load_classifier", "load_forecaster"],
        "session": ["Session"],
        "streaming": ["StreamingSession"],
    },
)
