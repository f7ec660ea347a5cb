"""What recognizers whose network is an encoder share, whatever runs them: CTC of it, and which searches there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.decoding.transducer import TransducerSearch
from speechrnn.tasks.recognition.attention_search import AttentionSearch


class Transduces:
    """A method of transducers, beside those of `speechrnn.decoding.transducer.Joint`."""

    def alone(self: Any, encoded: np.ndarray) -> np.ndarray:
        """Logits of the encoder alone, as those of CTC: what is joined with a prediction of zeros.

        Args:
            encoded: float32 `(frames, joint)`.

        Returns:
            float32 `(frames, vocabulary)`.

        Raises:
            ValueError: The model was trained without CTC, so that these logits say nothing.
        """
        if not self.with_ctc:
            raise ValueError(
                "Times of a known text, and what is drawn of each frame, come from CTC of the encoder. Received: a "
                "transducer that was trained with ctc_weight=0. Train it with --ctc-weight above 0; `speechrnn report "
                "--worst 0` draws no frames."
            )
        return self.joined(encoded, np.zeros_like(encoded))


def encodes(model: Any) -> bool:
    """Whether a recognizer's `logits` are outputs of its encoder, of which only a search of its own makes symbols."""
    return hasattr(model, "alone")


def transduces(model: Any) -> bool:
    """Whether a recognizer is a transducer."""
    return hasattr(model, "joined")


def ctc_logits(model: Any, outputs: np.ndarray) -> np.ndarray:
    """Logits of CTC from the outputs of a recognizer's `logits`: as they are, or of its encoder alone."""
    return model.alone(outputs) if encodes(model) else outputs


def search_of(model: Any, **given: Any) -> TransducerSearch | AttentionSearch:
    """The search that was asked for, of a model that `encodes`.

    Args:
        model: A transducer, or a recognizer with attention.
        **given: Of `speechrnn.decoding.options.decoder`; of these there is `beam`.

    Raises:
        ValueError: It was asked for more than that, or the beam is out of its range.
    """
    beam = given.pop("beam", None)
    if asked := [name for name, value in given.items() if value not in (None, (), [])]:
        what = "A transducer" if transduces(model) else "A recognizer with attention"
        raise ValueError(
            f"{what} has no option of the search but `beam`. Received: {', '.join(asked)}. "
            "Language models, lexicons, hotwords and grammars need a recognizer with CTC."
        )
    if transduces(model):
        return TransducerSearch(model, beam=beam)
    return AttentionSearch(model) if beam is None else AttentionSearch(model, beam=beam)
