"""Options of features, in a module without TensorFlow."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["LogMelOptions"]


@dataclass(frozen=True)
class LogMelOptions:
    """Log-mel energies of a signal; see `LogMel`."""

    window: int | None = None
    """Frame length in samples; None is 25 ms."""
    hop: int | None = None
    """Step between frames in samples; None is 10 ms."""
    fft_length: int | None = None
    """Length of the Fourier transform; None is the next power of two."""
    num_mels: int = 80
    """Number of mel bands."""
    f_min: float = 20.0
    """Lower edge of the first band, Hz."""
    f_max: float | None = None
    """Upper edge of the last band, Hz; None is the Nyquist frequency."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """Which mel scale."""
    mel_norm: Literal["slaney"] | None = "slaney"
    """Height of the bands: "slaney" gives all the same area, None lets all peak at 1."""
    floor: float = 1e-10
    """Smallest band power."""
    preemphasis: float = 0.0
    """Coefficient of the high-pass filter; 0 is off, since normalisation undoes what it would do."""
    dither: float = 0.0
    """Standard deviation of Gaussian noise added to the signal in training; full scale is 1."""
    deltas: int = 0
    """Orders of slopes over time to append: 0, 1 or 2."""
    delta_width: int = 9
    """Frames in the regression behind a slope, odd."""
    normalize: Literal["utterance", "global"] | None = "utterance"
    """How features are normalised: "utterance" (zero mean, unit variance over each row's valid frames), "global" (the
    statistics that `adapt` measured) or None."""
