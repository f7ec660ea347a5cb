"""A voice run by ONNX Runtime: texts are read aloud, and no TensorFlow is started."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.synthesis.methods import SynthesizerMethods
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.text import Phones


class SynthesizerSession(SynthesizerMethods, Session):
    """A voice that `speechrnn export` wrote, ready to run.

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
        """Samples per second of what it says."""
        return self.sound.sample_rate

    def foretold(self, phones: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `SynthesizerMethods`."""
        given = {"phones": np.array([phones], np.int32), "phone_count": np.array([len(phones)], np.int32)}
        read, variances = self._session.run(["encoded", "foretold"], given, self._run_options)
        return read[0], variances[0]

    def frames(self, read: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """See `SynthesizerMethods`."""
        (spectrum,) = self._session.run(["spectrum"], self._decoder_inputs(read, variances, counts), self._run_options)
        return spectrum[0, : int(np.sum(counts))]
