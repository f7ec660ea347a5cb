"""The search of recognizers with attention: what the decoder says of each next symbol, and what CTC says."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from speechrnn.decoding.alignment import align, log_softmax
from speechrnn.decoding.best_path import Path, checked, greedy
from speechrnn.decoding.prefixes import Prefixes
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions
from speechrnn.tasks.sequence_to_sequence.search import Arrays, beam_search
from speechrnn.text import Vocabulary

__all__ = ["Attends", "AttentionSearch"]

CTC_WEIGHT = 0.3
"""Weight of CTC in the search, unless it is given."""


class Attends(Protocol):
    """What the search needs of a model, whatever runs it."""

    vocabulary: Vocabulary

    def alone(self, encoded: np.ndarray) -> np.ndarray:
        """Logits of CTC `(frames, vocabulary)`, from the encoder's outputs `(frames, width)`."""

    def begin(self, encoded: np.ndarray) -> tuple[Arrays, Arrays]:
        """What does not change, and the decoder's states before the first symbol, one row."""

    def step(self, previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""


class AttentionSearch:
    """Symbols of a recognizer with attention; it takes the encoder's outputs where other decoders take logits.

    Texts are ranked by `(1 - ctc) log P(decoder) + ctc log P(CTC)`, of which CTC's is the exact sum over all paths for
    every beginning of a text: it keeps the decoder from reading a word twice, or from ending too soon. CTC's alignment
    of the text that was found says where its symbols stand, and how sure they are.

    Args:
        model: The model.
        beam: Texts that are kept.
        ctc: Weight of CTC, above 0 and at most 1.

    Raises:
        ValueError: A number is out of its range.

    Reference:
        Watanabe, Hori, Kim, Hershey and Hayashi, "Hybrid CTC/attention architecture for end-to-end speech recognition",
        IEEE Journal of Selected Topics in Signal Processing 11, 2017, section III.
    """

    def __init__(self, model: Attends, *, beam: int = SearchOptions.beam, ctc: float = CTC_WEIGHT) -> None:
        if not 0 < ctc <= 1:
            raise ValueError(f"`ctc` must be above 0 and at most 1. Received: ctc={ctc}.")
        self.model, self.ctc = model, ctc
        self.options = SearchOptions(beam=beam, length_penalty=0.0)

    def __call__(self, encoded: np.ndarray) -> Path:
        """The symbols of one utterance.

        Args:
            encoded: float `(frames, width)`, the encoder's outputs. There may be no frames.

        Raises:
            ValueError: They have another shape, or are no numbers.
        """
        encoded = checked(encoded)
        if not len(encoded):
            return greedy(encoded)
        logits = self.model.alone(encoded)
        prefixes, (memory, states) = Prefixes(logits), self.model.begin(encoded)
        of_ctc = prefixes.first()

        def step(previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
            own = {name: value for name, value in states.items() if name not in of_ctc}
            found, attention, after = self.model.step(previous, memory, own)
            expected, read = prefixes(previous, states)
            return (1 - self.ctc) * log_softmax(found) + self.ctc * expected, attention, {**after, **read}

        ((best,),) = beam_search(
            step, memory, {**states, **of_ctc}, np.array([len(encoded)]),
            max_length=len(encoded), options=self.options, logs_of=lambda scores: scores,
        )  # fmt: skip
        return align(logits, best.symbols)
