"""Models without TensorFlow: export to ONNX, and sessions that run what was exported."""

import lazy_loader as _lazy

# Lazy, so that a session starts without what only exporting needs.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "classifier_session",
        "export",
        "frontend",
        "graph",
        "litert",
        "litert_session",
        "loading",
        "network",
        "onnxfile",
        "pooling",
        "session",
        "steps",
        "streaming",
        "writers",
    ],
    submod_attrs={
        "classifier_session": ["ClassifierSession"],
        "loading": ["load", "load_classifier"],
        "session": ["Session"],
        "streaming": ["StreamingSession"],
    },
)
