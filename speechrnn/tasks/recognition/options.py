"""Options of recognizers, in a module without TensorFlow."""

from dataclasses import dataclass
from typing import Annotated, Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegative, NonNegativeInt, Positive, Range
from speechrnn.models.options import RecurrentNetwork
from speechrnn.training.options import SignalTraining


@dataclass(frozen=True)
class RecognizerTraining(SignalTraining):
    """How to train a recognizer."""

    monitor: Literal["auto", "wer", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: word error rate (auto) or loss."""
    consistency: NonNegative = 0.0
    """Weight of the agreement between two augmentations of each utterance, such as 0.2; twice the work per step."""
    ctc_weight: NonNegative = 0.3
    """Weight of the encoder's CTC loss, which is added to the loss of a transducer or of attention. With 0 a transducer
    uses neither CTC nor `consistency`."""
    label_smoothing: Fraction = 0.1
    """Share of each target that is spread evenly over all outputs, such as 0.1. Only attention uses it."""
    lexicon: str | None = None
    """Lexicon of words and their pronunciations. With it the model learns phones. It is `cmudict`, or a file made by
    `lexicon build`."""


@dataclass(frozen=True)
class AcousticNetwork(RecurrentNetwork):
    """Options of `recurrent_ctc`."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Recurrent cell."""
    units: Count = 256
    layers: Count = 3
    look_ahead: int = 0
    """Future output frames that each frame sees, in a one-directional network; a stream is delayed by as many
    frames."""
    convolutions: NonNegativeInt = 0
    """Number of convolutions before the recurrent layers: 3 x 3, halving time and frequency, with batch
    normalization each."""
    stack: Count = 1
    """Number of neighboring frames joined into one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.look_ahead < 0 or (self.look_ahead and self.bidirectional):
            raise ValueError(
                "`look_ahead` must be >= 0, and 0 for a bidirectional network, which sees the whole future. "
                f"Received: look_ahead={self.look_ahead}, bidirectional={self.bidirectional}."
            )


@dataclass(frozen=True)
class WrittenSymbols(CheckedOptions):
    """Options of models whose symbols depend on previous ones."""

    embedding: Count = 64
    """Size of a symbol's vector. The LSTM of a transducer's predictor has this size, too."""
    joint: Count = 256
    """Size of the encoder's outputs, in a transducer or with attention; with attention also of the decoder's state."""


@dataclass(frozen=True)
class DecoderNetwork(WrittenSymbols):
    """Options of the decoder of a recognizer with attention."""

    attention: Count = 128
    """Size of the vectors that attention compares."""
    location: NonNegativeInt = 10
    """Number of filters that show attention where it was at the last symbol; 0 for none."""


@dataclass(frozen=True)
class TransducerNetwork(WrittenSymbols):
    """Options of `symbol_predictor`."""

    predictor: Literal["stateless", "lstm"] = "stateless"
    """How a transducer remembers the text written so far: by its last symbols, or by the state of an LSTM."""
    predictor_context: Count = 2
    """Symbols that a stateless predictor sees."""


@dataclass(frozen=True)
class RecognizerNetwork(AcousticNetwork, TransducerNetwork, DecoderNetwork):
    """How a new recognizer is built."""

    criterion: Literal["ctc", "transducer", "attention"] = "ctc"
    """Type of recognizer: CTC, a transducer, or CTC and attention together; in the last two, symbols depend on those
    before them."""

    sample_rate: int | None = None
    """Sample rate of the model in Hz; by default 16000."""
    subwords: int | None = None
    """Write this many subwords, learned from the texts, instead of characters. It needs the extra `subwords`."""


@dataclass(frozen=True)
class RecognitionOptions(CheckedOptions):
    """How recordings are recognized."""

    batch_seconds: Positive = 60.0
    """Seconds of signal in a batch, padding counted."""
    piece_seconds: Annotated[float, Range("at least 1", lambda value: value >= 1)] = 30.0
    """Longest stretch recognized in one go."""
    encoding: str | None = None
    """Format of headerless samples, such as `s16le@16000`: 16 bits, little-endian, mono, 16 kHz."""
    channel: int | None = None
    """Channel to transcribe, counted from 0; by default the mean of all."""
    each_channel: bool = False
    """Transcribe every channel separately, such as the two speakers of a phone call."""
    alternatives: NonNegativeInt = 0
    """Number of likely texts to give with their scores, the best first; needs a beam search or a lexicon."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channel is not None and self.each_channel:
            raise ValueError(f"`channel` and `each_channel` exclude each other. Received: channel={self.channel}.")
        if self.encoding is not None:
            from speechrnn.audio import containers  # which needs NumPy; a help text does not

            containers.raw_options(self.encoding, "`encoding` (--encoding)")


@dataclass(frozen=True)
class TranscriptionOptions(RecognitionOptions):
    """How recordings are recognized, on one machine or many."""

    calibration: str | None = None
    """A calibration of confidences, made by `speechrnn calibrate`."""
    jobs: Count | None = None
    """Processes that share the files; by default one, with Ray as many as the cluster has processors."""
    engine: Literal["local", "ray"] = "local"
    """Where to run: on this machine, or on a Ray cluster, whose machines must see the files under the same names."""
    address: str | None = None
    """With --engine ray: the cluster, such as auto or HOST:6379; by default one is started on this machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address is not None and self.engine != "ray":
            raise ValueError(f"`address` is of a Ray cluster: give engine='ray' (--engine ray), too. Received: {self}.")


@dataclass(frozen=True)
class RecognizerEvaluation(CheckedOptions):
    """How the errors of a recognizer are measured."""

    normalize: bool = False
    """Convert texts to lower case without punctuation: both the reference and what was recognized."""
    batch_seconds: Positive = 120.0
    """Seconds of signal in a batch, padding counted."""
    seed: NonNegativeInt = 0
    """Seed of random numbers: those of the bootstrap."""


@dataclass(frozen=True)
class NewVocabulary:
    """Changes to a recognizer that is trained further."""

    new_vocabulary: bool = False
    """Write the characters of these texts; what the model has learned of speech is kept."""
    subwords: int | None = None
    """Write this many subwords, learned from the texts, instead of characters. It needs `new_vocabulary`, and the extra
    `subwords`."""


@dataclass(frozen=True)
class CueOptions(CheckedOptions):
    """How words are grouped into subtitles."""

    line_characters: Count = 42
    """Longest line of a subtitle; a longer word has its own line, and is divided in scripts without spaces."""
    cue_lines: Count = 2
    """Most lines of a subtitle."""
    cue_seconds: Positive = 7.0
    """Longest subtitle."""
    cue_gap: Positive = 1.0
    """Pause in seconds that ends a subtitle."""
    cue_hold: NonNegative = 1.0
    """Shortest time in seconds that a subtitle stays, unless the next one begins."""
