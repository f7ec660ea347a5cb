"""Read texts aloud with a voice, sentence by sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from speechrnn import audio
from speechrnn.faults import Fault, data_error
from speechrnn.models.answers import Answer, answer_each
from speechrnn.tasks.synthesis.options import SpeakingOptions
from speechrnn.tasks.synthesis.phones import pronouncer_of
from speechrnn.tasks.synthesis.sound import Sound, waveform
from speechrnn.tasks.synthesis.text_normalization import sentences
from speechrnn.text import Phones

_LOG_DURATION_VARIANCE = 0.15
"""Variance of log durations around their predictions, measured on LJ Speech. The mean of a log-normal duration is
exp(variance / 2) times the exponential of its mean logarithm: without this factor speech is too fast."""
_MAX_PHONE_SECONDS = 2.0
"""Longest plausible duration of a phone, in seconds; a longer prediction is an error."""


class Voice(Protocol):
    """A voice that any library runs: Keras, or a runtime of an exported file."""

    @property
    def vocabulary(self) -> Phones:
        """The phones of the voice."""

    @property
    def sound(self) -> Sound:
        """The parameters of its spectra."""

    @property
    def levels(self) -> Mapping[str, Sequence[float]]:
        """See `SpeechSynthesizer`."""

    def predict_variances(self, phones: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `speechrnn.tasks.synthesis.methods.SynthesizerMethods`."""

    def frames(self, encoded: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """See `speechrnn.tasks.synthesis.methods.SynthesizerMethods`."""


@dataclass(frozen=True, eq=False)
class Speech(Answer):
    """The speech of a text."""

    signal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """float32 `(samples,)` in [-1, 1]."""
    sample_rate: int = 16000
    """Samples per second."""
    phones: tuple[str, ...] = ()
    """The spoken phones."""
    ends: tuple[float, ...] = ()
    """End of each phone in seconds."""
    spectrum: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32), repr=False)
    """float32 `(frames, bands)`: the log-mel energies from which the signal was computed."""

    @property
    def duration(self) -> float:
        """Duration in seconds."""
        return len(self.signal) / self.sample_rate

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the signal to a file whose ending names the format; see `speechrnn.audio.write`."""
        audio.write(path, self.signal, self.sample_rate, overwrite=overwrite)

    def to_dict(self) -> dict[str, Any]:
        """The speech as JSON values, without the signal."""
        ends = [round(end, 4) for end in self.ends]
        return {"text": self.path, "duration": round(self.duration, 4), "phones": list(self.phones), "ends": ends}


def outcomes(
    voice: Voice,
    texts: Iterable[str],
    *,
    progress: Callable[[str], object] | None = None,
    **options: Any,
) -> Iterator[Speech | Fault]:
    """Read texts aloud lazily, and yield a speech or a `Fault` for each, in order.

    Args:
        voice: The voice.
        texts: Texts of one or several sentences.
        progress: Called with each text once it is done.
        **options: Options of `SpeakingOptions`.
    """
    speaking = SpeakingOptions(**options)
    pronounce = pronouncer_of(voice, speaking.lexicon)

    def speak(text: str) -> Speech:
        if not isinstance(text, str):
            raise ValueError(f"a text must be a string. Received: {text!r:.80}.")
        return _joined(text, [_speak(voice, part, pronounce(part), speaking) for part in sentences(text) or [text]])

    yield from answer_each(texts, speak, progress, where=repr)


def _speak(voice: Voice, text: str, phones: list[str], options: SpeakingOptions) -> Speech:
    sound = voice.sound
    encoded, predicted = voice.predict_variances(voice.vocabulary.encode(" ".join(phones)))
    seconds = np.exp(predicted[:, 0].astype(np.float64) + _LOG_DURATION_VARIANCE / 2) * sound.frame_period
    longest = float(np.nan_to_num(seconds, nan=np.inf).max())
    if not np.isfinite(predicted).all() or longest > _MAX_PHONE_SECONDS:
        raise data_error(
            repr(text), "without durations", f"the voice predicts an impossible duration for a phone of {text!r:.80}: "
            f"{longest:.3g} s. Train it longer, or write the text in another way.",
        )  # fmt: skip
    counts = np.maximum(np.rint(seconds / options.tempo / sound.frame_period), 1).astype(int)
    variances = predicted.copy()
    variances[:, 0] = np.log(counts)
    variances[:, 1] += options.pitch / 12 * np.log(2.0) / max(voice.levels["pitch"][1], 1e-3)
    spectrum = voice.frames(encoded, variances, counts)
    ends = (np.cumsum(counts) * sound.hop + (sound.window - sound.hop) / 2) / sound.sample_rate
    signal = waveform(spectrum, sound, iterations=options.iterations)
    return Speech(text, signal, sound.sample_rate, tuple(phones), tuple(map(float, ends)), spectrum)


def _joined(text: str, parts: Sequence[Speech]) -> Speech:
    starts = np.cumsum([0.0, *(part.duration for part in parts)])
    return Speech(
        text,
        np.concatenate([part.signal for part in parts]),
        parts[0].sample_rate,
        tuple(phone for part in parts for phone in part.phones),
        tuple(start + end for start, part in zip(starts, parts, strict=False) for end in part.ends),
        np.concatenate([part.spectrum for part in parts]),
    )
