"""A classifier run by ONNX Runtime: a signal goes in, probabilities come out, and no TensorFlow is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.runtime.batches import check_signals
from speechrnn.runtime.session import Session
from speechrnn.tasks.classification.methods import ClassifierMethods
from speechrnn.text.tokens import Tokens


class ClassifierSession(ClassifierMethods, Session):
    """A classifier that `speechrnn export` wrote, ready to run.

    It stands wherever a `speechrnn.models.protocols.Classifier` is asked for. Loading it starts neither TensorFlow
    nor Keras.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "classifier"
    noun = "classifier"

    def _prepare(self) -> None:
        def names(found: Any) -> bool:
            return isinstance(found, list) and all(isinstance(name, str) for name in found) and len({*found}) > 1

        distinct = self.require(
            "classes", lambda found: names(found) and len({*found}) == len(found), "be two names or more"
        )
        self.classes: tuple[str, ...] = tuple(distinct)
        """Names of the classes, in the order of the probabilities."""
        self.task: str = self.require(
            "task", lambda task: task in ("single", "multi", "frames"), "be single, multi or frames"
        )
        """Kind of answer: "single" (one class per signal), "multi" (any number) or "frames" (one class per frame)."""
        frames = self.task == "frames"
        self.per_frame: bool = self.require("per_frame", lambda found: found is frames, f"fit the task {self.task!r}")
        """Whether there is an answer for each frame, and not one for the whole signal."""
        self.channels: int | None = self.require(
            "channels", lambda n: n is None or (isinstance(n, int) and n > 0), "be positive or null"
        )
        """Channels of a signal `(samples, channels)`; None for a mono signal `(samples,)`."""
        tokens = self.metadata.get("tokens")
        self.tokens = None if tokens is None else Tokens(**tokens)
        """What texts are made of; None where signals are classified."""

    def probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Probabilities of the classes for a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each, or `(samples, channels)` where the model has channels.

        Returns:
            For each signal float32 `(classes,)`; per frame `(ceil(frame_count / stride), classes)`.

        Raises:
            ValueError: A signal has another number of channels, or it is too short for an answer.
        """
        check_signals(signals, self.channels, None if self.per_frame else self.metadata["window"])
        if not self.feature_frames(max(map(len, signals), default=0)):
            return [np.zeros((0, len(self.classes)), "float32") for _ in signals]
        found, frames = self._run(["probabilities", "frames"], signals)
        return [row[:count] if self.per_frame else row for row, count in zip(found, frames, strict=True)]
