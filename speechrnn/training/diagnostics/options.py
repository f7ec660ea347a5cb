"""Options of the diagnostics of models and manifests, in a module without TensorFlow."""

from dataclasses import dataclass

from speechrnn.data.options import FrameOptions
from speechrnn.faults import CheckedOptions, Count, Positive


@dataclass(frozen=True)
class TimingOptions(CheckedOptions):
    """How the layers of a model are timed."""

    frames: Count = 400
    """Frames of each row."""


@dataclass(frozen=True)
class BatchingOptions(FrameOptions, CheckedOptions):
    """How a manifest is batched."""

    batch_seconds: Positive | None = None
    """Seconds of signal in a batch, padding counted: instead of `batch_size`."""
    buckets: Count = 8
    """Largest number of batch shapes."""
    max_duration: Positive | None = None
    """Longest example, in seconds; longer ones are dropped, and counted."""
