"""Options of recognizers, in a module without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

from speechrnn.training.options import SignalTraining, require

__all__ = ["RecognizerTraining"]


@dataclass(frozen=True)
class RecognizerTraining(SignalTraining):
    """How to train a recognizer."""

    monitor: Literal["auto", "wer", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: word error rate (auto) or loss."""
    consistency: float = 0.0
    """Weight of the agreement between two augmentations of each utterance, such as 0.2; twice the work a step."""

    lexicon: str | None = None
    """Lexicon by which texts of words become phones, for a model of phones: `cmudict`, or a file of `lexicon build`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "zero or positive", lambda value: value >= 0, "consistency")
