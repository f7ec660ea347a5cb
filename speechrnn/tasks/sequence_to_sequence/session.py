"""Run an exported encoder-decoder without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from speechrnn.runtime.session import Session
from speechrnn.tasks.sequence_to_sequence.methods import SequenceMethods
from speechrnn.tasks.sequence_to_sequence.pairs import padded
from speechrnn.tasks.sequence_to_sequence.search import initial_states
from speechrnn.text import Vocabulary


class SequenceSession(SequenceMethods, Session):
    """An exported encoder-decoder, run by ONNX Runtime.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "sequence to sequence"
    noun = "encoder-decoder"
    takes_signals = False
    source: Vocabulary
    target: Vocabulary
    vocabularies = ("source", "target")

    def _prepare(self) -> None:
        self.max_length = int(self.metadata["max_length"])
        self._states = tuple(self.metadata["states"])

    def begin(self, sources: Sequence[Sequence[int]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The inputs of the first step; see `SequenceToSequence.begin`."""
        ids, lengths = padded(sources)
        memory, keys, first = self._rows(
            ["encoded", "encoded_keys", "first_output"], {"source": ids, "source_length": lengths}
        )
        return {"values": memory, "keys": keys, "length": lengths}, initial_states(self._states, first, ids.shape[1])

    def step(
        self, previous: np.ndarray, memory: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One step of the decoder; see `speechrnn.tasks.sequence_to_sequence.search.Step`."""
        names = ["logits", "attention", *(f"next_{name}" for name in self._states)]
        logits, attention, *after = self._rows(names, {"previous": np.asarray(previous, np.int32), **memory, **states})
        return logits, attention, dict(zip(self._states, after, strict=True))

    def _rows(self, names: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs for rows; in 8 bits each row by itself, so that none depends on its neighbors."""
        if not self._rows_at_once:
            return self._session.run(list(names), dict(feed), self._run_options)
        count = len(next(iter(feed.values())))
        rows = [
            self._session.run(list(names), {name: value[i : i + 1] for name, value in feed.items()}, self._run_options)
            for i in range(count)
        ]
        return [np.concatenate(values) for values in zip(*rows, strict=True)]
