"""speechrnn: recurrent networks for speech and signals, from recordings to one model file.

Public names are loaded on first use, so `import speechrnn` imports neither TensorFlow nor Keras.
"""

import os

import lazy_loader

from speechrnn.models.registration import register_with_keras

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
        "serving",
        "signals",
        "tasks",
        "text",
        "training",
    ],
    submod_attrs={
        "data.corpora": ["prepare"],
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
        "models.averaging": ["averaged"],
        "models.loading": ["load"],
        "tasks.classification": ["Classification", "ClassifierTraining", "SequenceClassifier", "recurrent_classifier"],
        "tasks.forecasting": ["Forecast", "Forecaster", "ForecasterTraining", "recurrent_forecaster"],
        "tasks.language": ["LanguageModel", "LanguageTraining", "recurrent_lm"],
        "tasks.recognition": ["RecognizerTraining", "SpeechRecognizer", "Transcript", "recurrent_ctc", "transcribe"],
        "text": ["Subwords", "Vocabulary"],
        "training": ["TrainingOptions", "train"],
    },
)
__all__ += ["__version__"]

register_with_keras()
