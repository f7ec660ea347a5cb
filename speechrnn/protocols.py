"""What the parts of the package ask of each other, whatever library stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from speechrnn.text import Vocabulary


class Recognizer(Protocol):
    """What transcription needs of a model, whatever runs it."""

    vocabulary: Vocabulary

    @property
    def sample_rate(self) -> int:
        """Samples per second that signals must have."""

    @property
    def frame_period(self) -> float:
        """Seconds between two frames of logits."""

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each float32 `(samples,)` signal, float32 `(frames, vocabulary)`."""
