"""Options of the looks at models and manifests, in a module without TensorFlow."""

from dataclasses import dataclass

from speechrnn.data.options import FrameOptions
from speechrnn.faults import require


@dataclass(frozen=True)
class TimingOptions:
    """How the layers of a model are timed."""

    frames: int = 400
    """Frames of each row."""

    def __post_init__(self) -> None:
        require(self, "at least 1", lambda value: value >= 1, "frames")


@dataclass(frozen=True)
class BatchingOptions(FrameOptions):
    """How a manifest is batched."""

    batch_seconds: float | None = None
    """Seconds of signal in a batch, padding counted: instead of `batch_size`."""
    buckets: int = 8
    """Largest number of batch shapes."""
    max_duration: float | None = None
    """Longest example, in seconds; longer ones are dropped, and counted."""
