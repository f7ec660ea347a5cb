"""The types of recognizers (CTC, transducer, attention), by their methods, and the search of each.

The network of a transducer or of a recognizer with attention is an encoder: `logits` returns its outputs, from which
only the model's own search makes symbols.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.decoding.transducer import TransducerSearch
from speechrnn.tasks.recognition.attention_search import AttentionSearch


class TransducerMethods:
    """Methods of transducers, bundles and sessions, besides those of `speechrnn.decoding.transducer.Joint`."""

    def ctc_logits(self: Any, encoded: np.ndarray) -> np.ndarray:
        """CTC logits of the encoder: its outputs joined with a prediction of zeros.

        Args:
            encoded: float32 `(frames, joint)`.

        Returns:
            float32 `(frames, vocabulary)`.

        Raises:
            ValueError: The model was trained without CTC, so that these logits are meaningless.
        """
        if not self.with_ctc:
            raise ValueError(
                "Times of a known text, and what is drawn of each frame, come from CTC of the encoder. Received: a "
                "transducer that was trained with ctc_weight=0. Train it with --ctc-weight above 0; `speechrnn report "
                "--worst 0` draws no frames."
            )
        return self.joined(encoded, np.zeros_like(encoded))


def has_encoder(model: Any) -> bool:
    """Whether a recognizer's `logits` are outputs of an encoder, so that it needs a search of its own."""
    return hasattr(model, "ctc_logits")


def is_transducer(model: Any) -> bool:
    """Whether a recognizer is a transducer."""
    return hasattr(model, "joined")


def ctc_logits(model: Any, outputs: np.ndarray) -> np.ndarray:
    """CTC logits from the result of a recognizer's `logits`: unchanged, or computed from the encoder's outputs."""
    return model.ctc_logits(outputs) if has_encoder(model) else outputs


def make_search(model: Any, **options: Any) -> TransducerSearch | AttentionSearch:
    """The search of a transducer or of a recognizer with attention.

    Args:
        model: The model.
        **options: Options of `speechrnn.decoding.options.decoder`, of which only `beam` is supported.

    Raises:
        ValueError: Another option is given, or the beam is out of its range.
    """
    beam = options.pop("beam", None)
    if unsupported := [name for name, value in options.items() if value not in (None, (), [])]:
        what = "A transducer" if is_transducer(model) else "A recognizer with attention"
        raise ValueError(
            f"{what} has no option of the search but `beam`. Received: {', '.join(unsupported)}. "
            "Language models, lexicons, hotwords and grammars need a recognizer with CTC."
        )
    if is_transducer(model):
        return TransducerSearch(model, beam=beam)
    return AttentionSearch(model) if beam is None else AttentionSearch(model, beam=beam)
