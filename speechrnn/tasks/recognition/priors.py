"""How often a recognizer says each symbol, taken out of its logits: what it says of the sound alone.

CTC gives the probability of symbols given the sound, so what was frequent in training is likely everywhere, the blank
above all. A search that has a language model counts that twice; Bayes' rule divides by it (Sak et al. 2015, "Learning
acoustic frame labeling for speech recognition with recurrent neural networks"; Miao et al. 2015, EESEN).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from speechrnn.decoding.alignment import log_softmax

if TYPE_CHECKING:
    from speechrnn.tasks.recognition.model import SpeechRecognizer


def log_priors(logits: Iterable[np.ndarray]) -> np.ndarray:
    """float64 `(vocabulary,)`: natural logarithm of the mean probability of each symbol over all frames.

    Args:
        logits: float `(frames, vocabulary)` of each utterance.

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


def take_out(model: SpeechRecognizer, priors: np.ndarray, *, scale: float) -> None:
    """Lower the bias of a recognizer's last layer by `scale` times the logarithms of the priors.

    Args:
        model: Changed in place; whatever is exported from it has the new logits.
        priors: float `(vocabulary,)`, as `log_priors` gives them.
        scale: 0 leaves the model as it is; 0.5 to 0.9 were best for phones and a trigram (`docs/words.md`).

    Raises:
        ValueError: The priors are of another vocabulary, or the last layer has no bias.
    """
    layer = model.network.get_layer("logits")
    if layer.bias is None or layer.bias.shape != priors.shape:
        raise ValueError(
            f"Priors must fit the bias of the layer `logits`: {len(model.vocabulary)} of them. "
            f"Received: {priors.shape}."
        )
    layer.bias.assign(layer.bias - scale * priors)
