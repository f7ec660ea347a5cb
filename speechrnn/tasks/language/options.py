"""Options of language models, in a module without TensorFlow."""

import math
from dataclasses import dataclass
from typing import Literal

from speechrnn.faults import require
from speechrnn.training.options import TrainingOptions


@dataclass(frozen=True)
class LanguageTraining(TrainingOptions):
    """How to train a recurrent language model."""

    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 3e-3
    clip_norm: float = 1.0
    monitor: Literal["auto", "perplexity", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: perplexity of a word (auto) or loss."""
    max_characters: int = 1000
    """Longest sentence, in characters; longer ones are dropped, and counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "at least 1", lambda value: value >= 1, "max_characters")


@dataclass(frozen=True)
class PredictingNetwork:
    """What `recurrent_lm` takes."""

    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell."""
    units: int = 384
    """State size of a recurrent layer."""
    layers: int = 1
    """Number of recurrent layers. Each but the first is behind layer normalization and within a residual connection."""
    embedding: int = 64
    """Size of a symbol's vector."""
    dropout: float = 0.0
    """Share of activations dropped in training: those after each recurrent layer."""

    def __post_init__(self) -> None:
        require(self, "at least 1", lambda value: value >= 1, "units", "layers", "embedding")
        require(self, "in [0, 1)", lambda value: 0 <= value < 1, "dropout")


@dataclass(frozen=True)
class LanguageNetwork(PredictingNetwork):
    """How a new language model is built."""

    symbols: Literal["characters", "words"] = "characters"
    """What it writes: characters, or words, which are anything separated by spaces, such as items or notes."""


@dataclass(frozen=True)
class GenerationOptions:
    """How texts are written."""

    length: int = 200
    """Number of symbols to write after the prompt, including ends of sentences."""
    temperature: float = 0.8
    """1 draws with the model's probabilities, less is more predictable, 0 always takes the likeliest symbol."""
    top_k: int = 0
    """Draw only from this many of the likeliest symbols; 0 draws from all."""
    seed: int = 0
    """Seed of random numbers. The same one writes the same text."""

    def __post_init__(self) -> None:
        require(self, "at least 1", lambda value: value >= 1, "length")
        require(self, "zero or positive", lambda value: 0 <= value < math.inf, "temperature", "top_k", "seed")


@dataclass(frozen=True)
class TextOptions:
    """How texts are read."""

    normalize_texts: bool = True
    """Convert texts to lower case without punctuation."""
