"""Run an exported recognizer of whole signals without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.recognition.methods import RecognizerMethods
from speechrnn.text import Vocabulary


class RecognizerSession(RecognizerMethods, Session):
    """An exported recognizer of whole signals, run by ONNX Runtime.

    Args and errors: see `speechrnn.runtime.session.Session`.

    Example:
    >>> from speechrnn.models.loading import load
    >>> session = load("english_letters_numbers")
    >>> session.sample_rate, len(session.vocabulary)
    (16000, 28)
    >>> session.logits([np.zeros(16000, "float32")])[0].shape
    (25, 28)
    """

    file_kind = "recognizer"
    noun = "recognizer of whole signals"
    vocabulary: Vocabulary
    vocabularies = ("vocabulary",)

    @property
    def _width(self) -> int:
        """Number of columns of the outputs."""
        return len(self.vocabulary)

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits of a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each.

        Returns:
            For each signal float32 `(ceil(frame_count / stride), vocabulary)`, without padding.
        """
        if not self.feature_frames(max(map(len, signals), default=0)):
            return [np.zeros((0, self._width), "float32") for _ in signals]
        logits, frames = self._run(["logits", "frames"], signals)
        if any(row.ndim != 2 or row.shape[1] != self._width for row in logits):
            raise ValueError(
                f"{self.file.name}: its outputs must have {self._width} columns, one for each symbol. "
                f"Received: shape {np.shape(logits[0])}. Export the model again."
            )
        return [row[:count] for row, count in zip(logits, frames, strict=True)]
