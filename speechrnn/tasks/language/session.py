"""Run an exported language model without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.language.methods import LanguageMethods
from speechrnn.text import Vocabulary


class LanguageSession(LanguageMethods, Session):
    """An exported language model, run by ONNX Runtime.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "language model"
    noun = "language model"
    takes_signals = False
    hint = " Make one with `speechrnn train --task generate`."
    vocabulary: Vocabulary
    vocabularies = ("vocabulary",)

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """See `LanguageMethods`."""
        feed = {"ids": ids, "length": lengths, **self.initial_states(len(ids))}
        return self._session.run(["logits"], feed)[0]

    def stepping(self) -> LanguageSession:
        """The session that generates text step by step: this one."""
        return self

    def initial_states(self, rows: int) -> dict[str, np.ndarray]:
        """States at the start of a sentence."""
        # A file of an earlier version names the units, of a state with an axis of directions before that of rows.
        states = self.metadata["states"].items()
        shapes = {name: (1, rows, each) if isinstance(each, int) else (rows, *each) for name, each in states}
        return {name: np.zeros(shape, "float32") for name, shape in shapes.items()}

    def advance(self, symbols: Sequence[int], states: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """Logits of the next symbol after the given ones, and the states after them."""
        feed = {"ids": np.array([symbols], "int32"), "length": np.array([len(symbols)], "int32"), **states}
        logits, *after = self._session.run(["logits", *(f"next_{name}" for name in states)], feed)
        return logits[0, -1], dict(zip(states, after, strict=True))
