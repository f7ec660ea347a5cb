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
        "audio",
        "data",
        "decoding",
        "export",
        "faults",
        "features",
        "layers",
        "losses",
        "metrics",
        "models",
        "pipeline",
        "report",
        "runtime",
        "signals",
        "tasks",
        "text",
        "training",
    ],
    submod_attrs={
        "data.manifest": ["Example"],
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
        "tasks.classification.model": ["SequenceClassifier"],
        "tasks.classification.network": ["recurrent_classifier"],
        "tasks.classification.options": ["ClassifierTraining"],
        "tasks.forecasting.model": ["Forecaster"],
        "tasks.forecasting.network": ["recurrent_forecaster"],
        "tasks.forecasting.options": ["ForecasterTraining"],
        "tasks.language.model": ["LanguageModel"],
        "tasks.language.network": ["recurrent_lm"],
        "tasks.language.options": ["LanguageTraining"],
        "tasks.recognition.model": ["SpeechRecognizer"],
        "tasks.recognition.network": ["recurrent_ctc"],
        "tasks.recognition.options": ["RecognizerTraining"],
        "text": ["Subwords", "Vocabulary"],
        "training": ["TrainingOptions", "train"],
    },
)
__all__ += ["__version__"]
