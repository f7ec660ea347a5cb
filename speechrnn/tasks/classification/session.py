"""Run an exported classifier without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.runtime.batches import check_signals
from speechrnn.runtime.session import Session
from speechrnn.tasks.classification.methods import ClassifierMethods
from speechrnn.text.tokens import Tokens


class ClassifierSession(ClassifierMethods, Session):
    """An exported classifier, run by ONNX Runtime; it implements `speechrnn.models.protocols.Classifier`.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "classifier"
    noun = "classifier"

    def _prepare(self) -> None:
        def are_names(value: Any) -> bool:
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                return False
            return len({*value}) == len(value) > 1

        self.classes: tuple[str, ...] = tuple(self.require("classes", are_names, "be two names or more"))
        """Names of the classes, in the order of the probabilities."""
        self.task: str = self.require(
            "task", lambda task: task in ("single", "multi", "frames"), "be single, multi or frames"
        )
        """Kind of answer: "single" (one class per signal), "multi" (any number) or "frames" (one class per frame)."""
        frames = self.task == "frames"
        self.per_frame: bool = self.require("per_frame", lambda value: value is frames, f"fit the task {self.task!r}")
        """Whether the model gives one answer per frame instead of one per signal."""
        self.channels: int | None = self.require(
            "channels", lambda n: n is None or (isinstance(n, int) and n > 0), "be positive or null"
        )
        """Channels of a signal `(samples, channels)`; None for a mono signal `(samples,)`."""
        tokens = self.metadata.get("tokens")
        self.tokens = None if tokens is None else Tokens(**tokens)
        """Tokens of a classifier of texts; None if it classifies signals."""

    def probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Probabilities of the classes for a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each, or `(samples, channels)` if the model has channels.

        Returns:
            For each signal float32 `(classes,)`; per frame `(ceil(frame_count / stride), classes)`.

        Raises:
            ValueError: A signal has another number of channels, or is too short.
        """
        check_signals(signals, self.channels, None if self.per_frame else self.metadata["window"])
        if not self.feature_frames(max(map(len, signals), default=0)):
            return [np.zeros((0, len(self.classes)), "float32") for _ in signals]
        probabilities, frames = self._run(["probabilities", "frames"], signals)
        return [row[:count] if self.per_frame else row for row, count in zip(probabilities, frames, strict=True)]
