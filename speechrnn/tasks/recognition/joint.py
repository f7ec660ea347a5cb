"""What transducers share, whatever runs them: the encoder alone, and which searches there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.decoding.transducer import TransducerSearch

__all__ = ["Transduces", "ctc_logits", "search_of", "transduces"]


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


def transduces(model: Any) -> bool:
    """Whether a recognizer is a transducer, whose `logits` are outputs of its encoder."""
    return hasattr(model, "joined")


def ctc_logits(model: Any, outputs: np.ndarray) -> np.ndarray:
    """Logits of CTC from the outputs of a recognizer's `logits`: as they are, or of a transducer's encoder alone."""
    return model.alone(outputs) if transduces(model) else outputs


def search_of(model: Any, **given: Any) -> TransducerSearch:
    """The search through a transducer that was asked for.

    Args:
        model: A transducer.
        **given: Of `speechrnn.decoding.options.decoder`; of these a transducer has `beam`.

    Raises:
        ValueError: It was asked for more than that, or the beam is out of its range.
    """
    beam = given.pop("beam", None)
    if asked := [name for name, value in given.items() if value not in (None, (), [])]:
        raise ValueError(
            f"A transducer is searched greedily or with `beam`, and by nothing else. Received: {', '.join(asked)}. "
            "Train a recognizer with CTC to search with language models, lexicons, hot words or grammars."
        )
    return TransducerSearch(model, beam=beam)
