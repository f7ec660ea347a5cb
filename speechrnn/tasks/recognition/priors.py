"""Estimate a recognizer's symbol priors, and subtract them from its logits, for decoding with a language model.

CTC computes the probability of symbols given the sound, so that symbols that are frequent in training are likely
everywhere, above all the blank. A search with a language model counts these priors twice; by Bayes' rule they are
divided out (Sak et al. 2015, "Learning acoustic frame labeling for speech recognition with recurrent neural networks";
Miao et al. 2015, EESEN).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.decoding.alignment import log_softmax

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.model import SpeechRecognizer


def log_priors(logits: Iterable[np.ndarray]) -> np.ndarray:
    """Natural logarithm of the mean probability of each symbol over all frames, float64 `(vocabulary,)`.

    Args:
        logits: float `(frames, vocabulary)` for each utterance.

    Raises:
        ValueError: There are no frames.

    Example:
    >>> log_priors([np.log([[0.5, 0.5]]), np.log([[0.1, 0.9]])]).round(3)
    array([-1.204, -0.357])
    """
    sums, frames = np.zeros(1), 0
    for values in logits:
        sums = sums + np.exp(log_softmax(values)).sum(axis=0)
        frames += len(values)
    if not frames:
        raise ValueError("Priors need utterances with frames. Received none.")
    return np.log(np.maximum(sums / frames, 1e-8))


def subtract(model: SpeechRecognizer, priors: np.ndarray, *, scale: float) -> None:
    """Subtract `scale` times the log priors from the bias of a recognizer's last layer.

    Args:
        model: The model, changed in place; exports of it have the new logits.
        priors: float `(vocabulary,)`, from `log_priors`.
        scale: 0 leaves the model as it is; 0.5 to 0.9 were best for phones and a trigram (`docs/words.md`).

    Raises:
        ValueError: The priors do not fit the vocabulary, or the last layer has no bias.
    """
    layer = model.network.get_layer("logits")
    if layer.bias is None or layer.bias.shape != priors.shape:
        raise ValueError(
            f"Priors must fit the bias of the layer `logits`: {len(model.vocabulary)} of them. "
            f"Received: {priors.shape}."
        )
    layer.bias.assign(layer.bias - scale * priors)
