"""Options of language models, in a module without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

from speechrnn.training.options import TrainingOptions, require

__all__ = ["LanguageTraining"]


@dataclass(frozen=True)
class LanguageTraining(TrainingOptions):
    """How to train a recurrent language model."""

    epochs: int = 8
    """Passes over the text."""
    batch_size: int = 32
    """Sentences in a batch."""
    learning_rate: float = 3e-3
    """Highest learning rate, reached at the end of the warm-up."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""
    monitor: Literal["auto", "perplexity", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: perplexity of a word (auto) or loss."""
    max_length: int = 1000
    """Longest sentence, in characters; longer ones are dropped, and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "at least 1", lambda value: value >= 1, "max_length")
