"""Options of language models, in a module without TensorFlow."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegative, NonNegativeInt, PositiveFinite, Range
from speechrnn.training.options import TrainingOptions


@dataclass(frozen=True)
class LanguageTraining(TrainingOptions):
    """How to train a recurrent language model."""

    epochs: Count = 8
    batch_size: Count = 32
    learning_rate: PositiveFinite = 3e-3
    clip_norm: NonNegative = 1.0
    monitor: Literal["auto", "perplexity", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: perplexity of a word (auto) or loss."""
    max_characters: Count = 1000
    """Longest sentence, in characters; longer ones are dropped, and counted."""


@dataclass(frozen=True)
class PredictingNetwork(CheckedOptions):
    """Options of `recurrent_lm`."""

    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell."""
    units: Count = 384
    """State size of a recurrent layer."""
    layers: Count = 1
    """Number of recurrent layers. Each but the first is behind layer normalization and within a residual connection."""
    embedding: Count = 64
    """Size of a symbol's vector."""
    dropout: Fraction = 0.0
    """Share of activations dropped in training: those after each recurrent layer."""


@dataclass(frozen=True)
class LanguageNetwork(PredictingNetwork):
    """How a new language model is built."""

    symbols: Literal["characters", "words"] = "characters"
    """What it writes: characters, or words, which are anything separated by spaces, such as items or notes."""


@dataclass(frozen=True)
class GenerationOptions(CheckedOptions):
    """How texts are written."""

    length: Count = 200
    """Number of symbols to write after the prompt, including ends of sentences."""
    temperature: Annotated[float, Range("zero or positive", lambda value: 0 <= value < math.inf)] = 0.8
    """1 draws with the model's probabilities, less is more predictable, 0 always takes the likeliest symbol."""
    top_k: NonNegativeInt = 0
    """Draw only from this many of the likeliest symbols; 0 draws from all."""
    seed: NonNegativeInt = 0
    """Seed of random numbers. The same one writes the same text."""


@dataclass(frozen=True)
class TextOptions:
    """How texts are read."""

    normalize_texts: bool = True
    """Convert texts to lower case without punctuation."""
