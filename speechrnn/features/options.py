"""Options of features, in a module without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegative, Positive, Range, check_choice, require


@dataclass(frozen=True)
class LogMelOptions(CheckedOptions):
    """Log-mel energies of a signal; see `LogMel`."""

    window: int | None = None
    """Frame length in samples; None is 25 ms."""
    hop: int | None = None
    """Step between frames in samples; None is 10 ms."""
    fft_length: int | None = None
    """Length of the Fourier transform; None is the next power of two."""
    num_mels: Count = 80
    """Number of mel bands."""
    f_min: float = 20.0
    """Lower edge of the first band, Hz."""
    f_max: float | None = None
    """Upper edge of the last band, Hz; None is the Nyquist frequency."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """Which mel scale."""
    mel_norm: Literal["slaney"] | None = "slaney"
    """Height of the bands: "slaney" gives all the same area, None lets all peak at 1."""
    floor: Positive = 1e-10
    """Smallest band power."""
    preemphasis: Fraction = 0.0
    """Coefficient of the high-pass filter; 0 is off, since normalization undoes what it would do."""
    dither: NonNegative = 0.0
    """Standard deviation of Gaussian noise added to the signal in training; full scale is 1."""
    deltas: Literal[0, 1, 2] = 0
    """Orders of slopes over time to append."""
    delta_width: Annotated[int, Range("odd and at least 3", lambda width: width >= 3 and width % 2 == 1)] = 9
    """Frames in the regression behind a slope, odd."""
    normalize: Literal["utterance", "global"] | None = "utterance"
    """How features are normalized: "utterance" (zero mean, unit variance over each row's valid frames), "global" (the
    statistics that `adapt` measured) or None."""


@dataclass(frozen=True)
class Augmentation:
    """How training examples are varied. Everything is off by default."""

    speed: tuple[float, float] | None = None
    """Range of playback speeds, such as 0.9 1.1; the pitch changes too."""
    gain: tuple[float, float] | None = None
    """Range of gains in dB. It has no effect on normalized features unless noise is added to them."""
    noise_folder: str | None = None
    """Folder of recordings of noise, searched with its subfolders; the first 20 s of each are used."""
    noise_snr: tuple[float, float] = (5.0, 25.0)
    """Range of signal-to-noise ratios in dB."""
    noise_probability: float = 0.5
    """Share of the examples that get noise, if there is a noise folder."""
    rir_folder: str | None = None
    """Folder of room impulse responses, searched with its subfolders."""
    reverberation: tuple[float, float] | None = None
    """Range of reverberation times (RT60) of simulated rooms in seconds, such as 0.1 0.6."""
    rir_probability: float = 0.5
    """Share of the examples that get a room, if there is a folder of them or a range of simulated ones."""
    frequency_scale: float = 0.0
    """Largest relative change of the frequency axis: 0.12 draws factors from 0.88 to 1.12."""
    frequency_axis: Literal["mel", "hertz"] = "mel"
    """What is scaled: "mel" the position of the bands, "hertz" the frequency as a longer vocal tract would."""
    feature_noise: float = 0.0
    """Standard deviation of Gaussian noise added to the (normalized) features."""
    time_masks: int = 0
    """Number of stretches of frames set to zero."""
    time_mask_frames: int = 25
    """Widest time mask, in frames."""
    time_mask_fraction: float = 0.2
    """Widest time mask, as a share of the utterance's frames."""
    frequency_masks: int = 0
    """Number of ranges of bands set to zero."""
    frequency_mask_bins: int = 20
    """Widest frequency mask, in bands."""
    jitter: float = 0.0
    """Standard deviation of white noise added to each channel of the signal, as a share of the channel's own."""
    scaling: float = 0.0
    """Largest relative change of each channel's amplitude: 0.2 draws factors from 0.8 to 1.2."""
    wander: float = 0.0
    """Largest amplitude of a slow sine added to each channel, 0.05 to 0.5 Hz, in standard deviations of the channel."""
    time_warp: float = 0.0
    """Largest relative change of the local speed, smooth over the signal, whose length stays."""
    crop: float = 1.0
    """Shortest part of the signal that is kept, from a random place; 1 keeps all."""
    lead_drop: float = 0.0
    """Probability that a channel is set to zero; one at least is kept."""
    flip: float = 0.0
    """Probability that the signal is turned upside down, as by an ECG's electrodes in the wrong hands."""

    def __post_init__(self) -> None:
        for name in ("speed", "gain", "noise_snr", "reverberation"):
            require(self, "a low and a high end", _is_range, name)
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(map(float, getattr(self, name))))  # JSON gives lists
        highest = {"frequency_scale": 0.5, "noise_probability": 1, "rir_probability": 1, "time_mask_fraction": 1}
        for name, high in {**highest, "lead_drop": 1, "flip": 1}.items():
            require(self, f"in 0 to {high}", lambda value, high=high: 0 <= value <= high, name)
        require(self, "in 0.25 to 4", lambda value: value is None or 0.25 <= value[0] <= value[1] <= 4, "speed")
        require(self, "in 0.01 to 5", lambda v: v is None or 0.01 <= v[0] <= v[1] <= 5, "reverberation")
        check_choice("frequency_axis", self.frequency_axis, ("mel", "hertz"))
        require(self, "in 0 to 1, without 1", lambda value: 0 <= value < 1, "scaling", "time_warp")
        require(self, "in 0 to 1, without 0", lambda value: 0 < value <= 1, "crop")
        sizes = "feature_noise", "time_masks", "time_mask_frames", "frequency_masks", "frequency_mask_bins"
        require(self, "0 or more", lambda value: value >= 0, *sizes, "jitter", "wander")

    @classmethod
    def speech(cls, **changes: Any) -> Augmentation:
        """The preset for a small corpus of read speech, with any field changed by name.

        Speeds, frequency scaling, SpecAugment and a little noise on the features.
        """
        options: dict[str, Any] = {
            "speed": (0.9, 1.1),
            "frequency_scale": 0.12,
            "feature_noise": 0.1,
            "time_masks": 3,
            "frequency_masks": 2,
        }
        return cls(**{**options, **changes})

    @classmethod
    def sensor(cls, **changes: Any) -> Augmentation:
        """The preset for signals of sensors with one class per signal, with any field changed by name.

        Small changes by noise, amplitude, slow drift and local speed; for one class per frame set `time_warp=0`.
        """
        return cls(**{"jitter": 0.05, "scaling": 0.1, "wander": 0.1, "time_warp": 0.1, **changes})

    @property
    def changes_signal(self) -> bool:
        """Whether `augment_signal` does anything."""
        options = self.speed, self.gain, self.noise_folder, self.rir_folder, self.reverberation
        amounts = self.jitter, self.scaling, self.wander, self.time_warp, self.lead_drop, self.flip
        return any(option is not None for option in options) or any(amounts) or self.crop < 1

    @property
    def moves_samples(self) -> bool:
        """Whether samples move in time in a way that labels of frames cannot follow (they follow the speed only)."""
        return self.time_warp > 0 or self.crop < 1

    @property
    def changes_features(self) -> bool:
        """Whether `augment_features` does anything."""
        return any((self.frequency_scale, self.feature_noise, self.time_masks, self.frequency_masks))


def _is_range(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple) and len(value) == 2 and value[0] <= value[1])
