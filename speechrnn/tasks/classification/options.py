"""Options of classifiers, in a module without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegative, NonNegativeInt, Positive, Range
from speechrnn.models.options import RecurrentNetwork
from speechrnn.training.options import SignalTraining


@dataclass(frozen=True)
class ClassifierTraining(SignalTraining):
    """How to train a classifier."""

    monitor: Literal["auto", "macro_f1", "accuracy", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: mean F1 of the classes (auto),
    accuracy or loss."""
    class_weights: tuple[str, ...] = ()
    """Weights of the classes in the loss: "balanced" (rare ones count as much as frequent ones), "sqrt" (half way
    there), or NAME=NUMBER for some of them."""
    label_smoothing: Fraction = 0.0
    """Share of each target that is spread evenly over all outputs, such as 0.1."""
    focal: NonNegative = 0.0
    """Exponent of the focal loss, such as 2; 0 is plain cross entropy."""
    balance: Annotated[float, Range("in [0, 1]", lambda value: 0 <= value <= 1)] = 0.0
    """How much rare classes are repeated: 1 until all are equally frequent, 0 not at all."""
    mixup: NonNegative = 0.0
    """Parameter of the Beta distribution of mixup, such as 0.2, if a whole signal has one class; 0 turns it off."""

    def __post_init__(self) -> None:
        words: Any = self.class_weights
        if isinstance(words, Mapping):
            words = tuple(f"{name}={weight}" for name, weight in words.items())
        elif isinstance(words, str | list):  # from JSON they are a list
            words = (words,) if isinstance(words, str) else tuple(words)
        object.__setattr__(self, "class_weights", words)
        super().__post_init__()


@dataclass(frozen=True)
class ClassifyingNetwork(RecurrentNetwork):
    """Options of `recurrent_classifier`."""

    cell: Literal["lstm", "gru", "rnn"] = "gru"
    """Recurrent cell."""
    embedding: Count = 64
    """Size of a symbol's vector. Only texts need it, whose symbols are their tokens."""
    over: Literal["time", "spectrum"] = "time"
    """What the blocks are: "time" for signals, residual pairs of convolutions over frames, all features at once, then
    the maximum over `pool` frames; "spectrum" for spectra, 3 x 3 convolutions that halve frames and bands."""
    widen: Positive = 1.0
    """Factor by which channels grow from block to block, over time."""
    kernel: Count = 7
    """Frames that a convolution over time sees (samples, within frames)."""
    stem: Count = 1
    """Stride of one more convolution at the start, over time; 1 leaves it out."""
    pool: Count = 2
    """Frames that become one behind each block over time; 1 keeps them all."""
    frame_shape: tuple[int, int] | None = None
    """`(samples, channels)` of a piece of signal that the first columns of each frame hold, channels innermost;
    convolutions within the frame turn it into features, and the other columns stay beside them."""
    frame_convolutions: Count = 3
    """Number of convolutions within frames, each of which halves the samples."""
    pooling: Literal["attention", "mean", "max", "last"] | None = "attention"
    """How frames become one vector: "attention" (learned weights), "mean", "max" or "last"; None gives logits for every
    frame."""
    heads: Count = 1
    """Weighted means that attention makes."""
    dropout: Fraction = 0.0
    """Share of activations dropped in training: those within blocks, after each recurrent layer and before the
    end."""


@dataclass(frozen=True)
class ClassifierNetwork(ClassifyingNetwork):
    """How a new classifier is built; what is not given follows from the data."""

    sample_rate: float | None = None
    """Sample rate of the model in Hz; by default that of the first example."""
    lowercase: bool = True
    """Whether upper and lower case count as the same, in texts."""
    least: int = 1
    """How often a token must occur to be known, in texts; rarer ones count as unknown."""


@dataclass(frozen=True)
class ClassificationOptions(CheckedOptions):
    """How records are classified."""

    batch_size: Count = 32
    """Examples in a batch. Records of similar length are put together."""
    rate: float | None = None
    """Samples per second. Files that do not contain their rate need it."""
    row: int | None = None
    """Which record to read from files with many."""


@dataclass(frozen=True)
class TextSources:
    """How files of texts are read."""

    lines: bool = False
    """Inputs are files with one text per line. Without it a classifier of texts takes each file for one text."""


@dataclass(frozen=True)
class ClassWriting:
    """How classes are written."""

    details: bool = False
    """With --json, write details, too: the probabilities of every frame."""


@dataclass(frozen=True)
class ClassifierEvaluation(CheckedOptions):
    """How the errors of a classifier are measured."""

    scheme: Literal["aami", "cinc2017", "kappa"] | None = None
    """Additional scores: "aami" for heartbeats, "cinc2017" for rhythms, "kappa" for sleep stages; by default what
    the model's card says."""
    batch_size: Count = 32
    """Examples in a batch."""
    seed: NonNegativeInt = 0
    """Seed of random numbers: those of the bootstrap."""


@dataclass(frozen=True)
class SpottingOptions(CheckedOptions):
    """How keywords are found in a stream."""

    window_seconds: Positive = 1.0
    """Length of a window in seconds. The training examples should be as long."""
    hop_seconds: Positive = 0.1
    """Seconds from the start of one window to the next one's."""
    smooth: Count = 3
    """Number of windows over which probabilities are averaged."""
    threshold: Annotated[float, Range("in (0, 1]", lambda value: 0 < value <= 1)] = 0.8
    """Smallest score that is reported: the mean probability of a keyword."""
    debounce: NonNegative = 0.8
    """Seconds after a keyword in which no other is reported, since a word is in many windows."""
    others: tuple[str, ...] = ("unknown", "silence")
    """Classes that are not keywords."""
