"""Options of encoder-decoders, in a module without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegative, NonNegativeInt, PositiveFinite, require
from speechrnn.training.options import TrainingOptions


@dataclass(frozen=True)
class SequenceTraining(TrainingOptions):
    """How to train an encoder-decoder."""

    epochs: Count = 20
    batch_size: Count = 64
    learning_rate: PositiveFinite = 2e-3
    clip_norm: NonNegative = 2.0
    monitor: Literal["auto", "symbol_error", "sequence_error", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: error rate of symbols (auto) or of
    whole sequences, or loss."""
    label_smoothing: Fraction = 0.0
    """Share of each target that is spread evenly over all outputs, such as 0.1."""
    scheduled_sampling: Fraction = 0.0
    """Share of the decoder's inputs that are its own last guess instead of the truth in the last epoch, such as 0.2; it
    rises from 0 in the first one."""


@dataclass(frozen=True)
class SearchOptions(CheckedOptions):
    """How the likeliest sequence is searched for.

    Reference:
        Wu et al., "Google's neural machine translation system", arXiv:1609.08144, 2016, section 7.
    """

    beam: Count = 4
    """Number of texts that the beam search keeps. With 1 it always takes the likeliest symbol."""
    best: Count = 1
    """Number of results for each input: at most the beam's width."""
    length_penalty: NonNegative = 0.6
    """Exponent of the length that log probabilities are divided by: 0 prefers short sequences, 1 is their mean."""
    coverage_penalty: NonNegative = 0.0
    """Weight of the penalty for source symbols that got no attention, such as 0.2."""
    max_length: Count | None = None
    """Most symbols of a target; by default the model's own limit."""
    batch_size: Count = 64
    """Examples in a batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, f"at most the beam's {self.beam}", lambda value: value <= self.beam, "best")


@dataclass(frozen=True)
class AttentionNetwork(CheckedOptions):
    """Options of `attention_network`."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Recurrent cell: of encoder and decoder."""
    units: Count = 256
    """State size of a recurrent layer. In the encoder each direction has it."""
    layers: Count = 1
    """Number of recurrent layers: the encoder's, which are bidirectional."""
    attention: Count = 128
    """Size of the vectors that attention compares."""
    embedding: Count = 64
    """Size of a symbol's vector."""
    location: NonNegativeInt = 0
    """Number of filters that show attention where it was at the last symbol; 0 for none. Long sources need them."""
    dropout: Fraction = 0.2
    """Share of activations dropped in training."""
    dtype: str | None = None
    """Policy of the layers, such as "mixed_bfloat16"; by default Keras's global policy. Only the encoder has it."""


@dataclass(frozen=True)
class SequenceNetwork(AttentionNetwork):
    """How a new encoder-decoder is built."""

    source: Literal["characters", "words"] = "characters"
    """What the sources are made of; words are anything separated by spaces, such as phones."""
    target: Literal["characters", "words"] = "characters"
    """What the targets are made of."""
    max_length: Count | None = None
    """Most symbols of a target; by default as many as the longest one has."""


@dataclass(frozen=True)
class SequenceEvaluation(SearchOptions):
    """How the errors of an encoder-decoder are measured."""

    seed: NonNegativeInt = 0
    """Seed of random numbers: those of the bootstrap."""


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read."""

    lines: bool = False
    """Inputs are files with one text per line."""
