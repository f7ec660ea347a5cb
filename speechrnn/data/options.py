"""Options of manifest checks, in a module that does not import NumPy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameOptions:
    """Options that determine the number of feature frames of an example."""

    sample_rate: int = 16000
    """Sample rate of the model in Hz."""
    window: int = 400
    """Frame length in samples."""
    hop: int = 160
    """Step between frames in samples."""
    stride: int = 1
    """Frames of features per frame of the network's output."""
    longer_texts: bool = False
    """Texts may have more symbols than the output has frames, as for a transducer."""

    def frame_count(self, samples: int) -> int:
        """Number of complete frames in a number of samples."""
        return max(0, 1 + (samples - self.window) // self.hop)
