"""speechrnn: recurrent networks for speech and signals, from recordings to one model file.

Public names are loaded on first use, so `import speechrnn` imports neither TensorFlow nor Keras.
"""

import os

import lazy_loader

# The layers run TensorFlow's kernels, so Keras must not start with another backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "anomalies",
        "audio",
        "bundle",
        "classification",
        "classifier",
        "classify",
        "corpora",
        "decoding",
        "diagnostics",
        "edits",
        "evaluate",
        "faults",
        "features",
        "forecaster",
        "forecasting",
        "language",
        "layers",
        "losses",
        "manifest",
        "metrics",
        "networks",
        "pipeline",
        "protocols",
        "recognizer",
        "report",
        "runtime",
        "signals",
        "subwords",
        "text",
        "training",
        "transcribe",
    ],
    submod_attrs={
        "classifier": ["SequenceClassifier"],
        "faults": ["Fault", "Faults"],
        "features": [
            "MFCC",
            "Augmentation",
            "BandPass",
            "LogMel",
            "LogSpectrogram",
            "Notch",
            "RawSignal",
            "RobustScale",
        ],
        "forecaster": ["Forecaster"],
        "language": ["LanguageModel"],
        "manifest": ["Example"],
        "networks": ["recurrent_classifier", "recurrent_ctc", "recurrent_forecaster"],
        "recognizer": ["SpeechRecognizer"],
        "subwords": ["Subwords"],
        "text": ["Vocabulary"],
        "training": ["TrainingOptions", "train"],
    },
)
__all__ += ["__version__"]
