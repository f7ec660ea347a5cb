"""Options of voices, in a module without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegative, NonNegativeInt, PositiveFinite, Range
from speechrnn.training.options import TrainingOptions


@dataclass(frozen=True)
class SynthesizerTraining(TrainingOptions):
    """How to train a voice."""

    epochs: Count = 200
    batch_size: Count = 8
    learning_rate: PositiveFinite = 2e-3
    weight_decay: NonNegative = 1e-4
    clip_norm: NonNegative = 1.0
    monitor: Literal["auto", "spectrum", "duration", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: distance of spectra (auto) or of
    durations, or loss."""


@dataclass(frozen=True)
class VoiceNetwork(CheckedOptions):
    """Options of `voice_network`."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Recurrent cell: of encoder and decoder."""
    embedding: Count = 96
    """Size of a symbol's vector: a phone's."""
    encoder_units: Count = 96
    """State size of each direction of a layer that reads the phones."""
    encoder_layers: Count = 2
    """Layers that read the phones."""
    units: Count = 160
    """State size of a recurrent layer: of each direction of those that write the frames."""
    layers: Count = 2
    """Number of recurrent layers: those that write the frames."""
    step: Count = 2
    """Frames that are written at once."""
    filters: NonNegativeInt = 96
    """Filters of the convolutions: those that correct what was written; 0 leaves them out."""
    dropout: Fraction = 0.3
    """Share of activations dropped in training: those of the encoder."""
    decoder_dropout: Fraction = 0.1
    """The same in the decoder."""


@dataclass(frozen=True)
class SpeakingOptions(CheckedOptions):
    """How a text is spoken."""

    tempo: PositiveFinite = 1.0
    """Times as fast as the speaker, such as 0.8 for slower."""
    pitch: Annotated[float, Range("in [-24, 24]", lambda value: -24 <= value <= 24)] = 0.0
    """Semitones higher than the speaker; negative is lower."""
    lexicon: Annotated[str | None, "FILE"] = None
    """Lexicon of words and their pronunciations; by default what the voice carries, or CMUdict. Give `cmudict`, or a
    file of pronunciations."""
    iterations: Count = 32
    """Iterations of the Griffin-Lim algorithm, which finds a waveform for the spectrum."""


@dataclass(frozen=True)
class TextOptions:
    """What is spoken."""

    from_files: bool = False
    """Every TEXT is a text file that is read aloud."""


@dataclass(frozen=True)
class PauseOptions(CheckedOptions):
    """What is between sentences."""

    pause: Annotated[float, Range("in [0, 60]", lambda value: 0 <= value <= 60)] = 0.25
    """Seconds of silence after each sentence."""


@dataclass(frozen=True)
class VoiceEvaluation:
    """How a voice is measured."""

    recognizer: Annotated[str | None, "MODEL"] = None
    """A recognizer to transcribe the voice and the speaker's own recordings; without one there are no word error
    rates."""
    seed: int = 0
    """Seed of random numbers: those of the bootstrap."""
