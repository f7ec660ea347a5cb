"""A recognizer that needs no TensorFlow: it spells what the samples say."""

import numpy as np

from speechrnn import audio
from speechrnn.cli import terminal
from speechrnn.faults import Fault
from speechrnn.tasks.recognition import transcription
from speechrnn.text import Vocabulary

RATE, HOP, WINDOW = 16000, 160, 400
LEVEL = 0.05
"""A constant stretch at `LEVEL * index` is the symbol with that index; a frame that changes is blank."""


def answered(outcomes, faults=None):
    """Those outcomes that are answers; a fault is collected, or raised where nothing collects it."""
    for outcome in outcomes:
        if not isinstance(outcome, Fault):
            yield outcome
        elif faults is None:
            raise outcome.exception()
        else:
            faults.add(outcome.where, outcome.kind, outcome.message)


def transcribed(model, sources, *, faults=None, **options):
    return answered(transcription.outcomes(model, sources, **options), faults)


class Speller:
    """Stands for a `Recognizer`: each frame's level is its symbol."""

    sample_rate = RATE
    frame_period = HOP / RATE
    vocabulary = Vocabulary(" abcdefghij")

    def __init__(self):
        self.batches = []

    def logits(self, signals):
        self.batches.append([len(signal) for signal in signals])
        return [self._one(signal) for signal in signals]

    def _one(self, signal):
        frames = max(0, 1 + (len(signal) - WINDOW) // HOP)
        windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP] if frames else np.zeros((0, WINDOW))
        ids = np.rint(windows.mean(axis=1) / LEVEL).astype(int).clip(0, len(self.vocabulary) - 1)
        ids[windows.std(axis=1) > LEVEL / 10] = 0
        return 8.0 * np.eye(len(self.vocabulary), dtype=np.float32)[ids]


class Unsure(Speller):
    """Hears `b` almost as well as `a` where `a` is said, and a little better."""

    def _one(self, signal):
        logits = super()._one(signal)
        a, b = self.vocabulary.encode("ab")
        said = logits[:, a] > 1
        logits[said, b] = logits[said, a] + 0.1
        return logits


def spoken(text, *, symbol=0.06, gap=0.06):
    """float32 `(samples,)` that `Speller` reads as `text`."""
    parts = [np.zeros(round(gap * RATE), np.float32)]
    for index in Speller.vocabulary.encode(text):
        parts += [np.full(round(symbol * RATE), LEVEL * index, np.float32), np.zeros(round(gap * RATE), np.float32)]
    return np.concatenate(parts)


def record(path, text, **options):
    """Write what `Speller` reads as `text`; gives the path as a string."""
    audio.write(path, spoken(text, **options), RATE)
    return str(path)


class Leveller:
    """Stands for a `Classifier`: the mean level of a signal, or of a frame of it, is its class."""

    sample_rate = 50
    frame_period = 0.1
    shortest = 5
    tokens = None

    def __init__(self, classes=("a", "b", "c"), *, channels=2, per_frame=False):
        self.classes, self.channels, self.per_frame = classes, channels, per_frame
        self.card, self.batches = {}, []

    def probabilities(self, signals):
        self.batches.append([len(signal) for signal in signals])
        if any(len(signal) < self.shortest for signal in signals):
            raise ValueError(f"A signal must have {self.shortest} samples or more.")
        return [self._one(signal) for signal in signals]

    def _one(self, signal):
        levels = signal.reshape(len(signal), -1).mean(1)
        if self.per_frame:
            levels = levels[: len(levels) // 5 * 5].reshape(-1, 5).mean(1)
        best = np.rint(levels if self.per_frame else levels.mean()).astype(int)
        return (0.8 * np.eye(len(self.classes)) + 0.2 / len(self.classes))[best].astype("float32")


def stand_in(monkeypatch, model):
    """Makes the verbs take a model whatever file they are given."""
    monkeypatch.setattr(terminal, "load_any", lambda *given: model)
