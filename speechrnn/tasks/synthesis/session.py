"""Run an exported voice without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.synthesis.methods import SynthesizerMethods
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.text import Phones


class SynthesizerSession(SynthesizerMethods, Session):
    """An exported voice, run by ONNX Runtime.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "synthesizer"
    noun = "voice"
    takes_signals = False
    hint = " Make one with `speechrnn train --task speak`."
    vocabulary: Phones
    vocabularies = ("vocabulary",)

    def _prepare(self) -> None:
        self.sound = Sound.from_metadata(self.metadata["sound"])
        self.levels: dict[str, Sequence[float]] = self.metadata["levels"]
        self.frames_per_step = int(self.metadata["frames_per_step"])

    @property
    def sample_rate(self) -> int:
        """Samples per second of its speech."""
        return self.sound.sample_rate

    def predict_variances(self, phones: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `SynthesizerMethods`."""
        inputs = {"phones": np.array([phones], np.int32), "phone_count": np.array([len(phones)], np.int32)}
        encoded, variances = self._session.run(["encoded", "foretold"], inputs, self._run_options)
        return encoded[0], variances[0]

    def frames(self, encoded: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """See `SynthesizerMethods`."""
        inputs = self._decoder_inputs(encoded, variances, counts)
        return self._session.run(["spectrum"], inputs, self._run_options)[0][0, : int(np.sum(counts))]
