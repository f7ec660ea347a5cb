"""Recognizers with attention that were exported: encoder, CTC and decoder run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from speechrnn.tasks.recognition.joint_sessions import Parts
from speechrnn.tasks.recognition.session import RecognizerSession
from speechrnn.tasks.sequence_to_sequence.search import begun


class AttentionSession(Parts, RecognizerSession):
    """A recognizer with attention that `speechrnn export` wrote, ready to run.

    Its `logits` are the encoder's outputs, which a `speechrnn.tasks.recognition.attention_search.AttentionSearch`
    takes.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    holds = noun = "recognizer with attention"
    parts = ("ctc", "begin", "step")

    def alone(self, encoded: np.ndarray) -> np.ndarray:
        """See `Attends`."""
        return self._part("ctc", ["logits"], {"encoded": encoded})[0]

    def begin(self, encoded: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Attends`."""
        length = np.array([len(encoded)], np.int32)
        values, keys, first = self._part(
            "begin", ["values", "keys", "first_output"], {"encoded": encoded[None], "length": length}
        )
        return {"values": values, "keys": keys, "length": length}, begun(self.metadata["decoder"], first, len(encoded))

    def step(
        self, previous: np.ndarray, memory: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""
        names = self.metadata["decoder"]
        outputs = ["logits", "attention", *(f"next_{name}" for name in names)]
        logits, attention, *after = self._part("step", outputs, {"previous": previous, **memory, **states})
        return logits, attention, dict(zip(names, after, strict=True))
