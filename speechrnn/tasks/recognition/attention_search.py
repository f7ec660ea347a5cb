"""Beam search of recognizers with attention: combines the probabilities of the attention decoder and of CTC."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from speechrnn.decoding.alignment import align, log_softmax
from speechrnn.decoding.best_path import Path, checked, greedy
from speechrnn.decoding.prefixes import Prefixes
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions
from speechrnn.tasks.sequence_to_sequence.search import Arrays, beam_search
from speechrnn.text import Vocabulary

__all__ = ["AttentionModel", "AttentionSearch"]

CTC_WEIGHT = 0.3
"""Default weight of CTC in the search."""


class AttentionModel(Protocol):
    """A recognizer with attention, run by any library."""

    vocabulary: Vocabulary

    def ctc_logits(self, encoded: np.ndarray) -> np.ndarray:
        """CTC logits `(frames, vocabulary)`, from the encoder's outputs `(frames, width)`."""

    def begin(self, encoded: np.ndarray) -> tuple[Arrays, Arrays]:
        """The constant inputs of `step`, and the decoder's states before the first symbol, with one row."""

    def step(self, previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""


class AttentionSearch:
    """The decoder of a recognizer with attention; its input is the encoder's outputs instead of logits.

    Texts are ranked by `(1 - ctc) log P(decoder) + ctc log P(CTC)`. CTC's probability of each prefix is the exact sum
    over all paths; it prevents the decoder from repeating a word or ending too soon. The times and confidences of
    symbols come from CTC's alignment of the result.

    Args:
        model: The model.
        beam: Number of hypotheses.
        ctc: Weight of CTC, above 0 and at most 1.

    Raises:
        ValueError: A number is out of its range.

    Reference:
        Watanabe, Hori, Kim, Hershey and Hayashi, "Hybrid CTC/attention architecture for end-to-end speech recognition",
        IEEE Journal of Selected Topics in Signal Processing 11, 2017, section III.
    """

    def __init__(self, model: AttentionModel, *, beam: int = SearchOptions.beam, ctc: float = CTC_WEIGHT) -> None:
        if not 0 < ctc <= 1:
            raise ValueError(f"`ctc` must be above 0 and at most 1. Received: ctc={ctc}.")
        self.model, self.ctc = model, ctc
        self.options = SearchOptions(beam=beam, length_penalty=0.0)

    def __call__(self, encoded: np.ndarray) -> Path:
        """Decode one utterance.

        Args:
            encoded: float `(frames, width)`, the encoder's outputs, possibly without frames.

        Raises:
            ValueError: They have another shape, or contain NaN.
        """
        encoded = checked(encoded)
        if not len(encoded):
            return greedy(encoded)
        logits = self.model.ctc_logits(encoded)
        prefixes, (memory, states) = Prefixes(logits), self.model.begin(encoded)
        ctc_states = prefixes.first()

        def step(previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
            decoder_states = {name: value for name, value in states.items() if name not in ctc_states}
            logits, attention, states_out = self.model.step(previous, memory, decoder_states)
            ctc_scores, ctc_states_out = prefixes(previous, states)
            scores = (1 - self.ctc) * log_softmax(logits) + self.ctc * ctc_scores
            return scores, attention, {**states_out, **ctc_states_out}

        ((best,),) = beam_search(
            step, memory, {**states, **ctc_states}, np.array([len(encoded)]),
            max_length=len(encoded), options=self.options, logs_of=lambda scores: scores,
        )  # fmt: skip
        return align(logits, best.symbols)
