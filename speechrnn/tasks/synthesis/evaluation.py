"""Evaluate voices: mel-cepstral distortion, a recognizer's word error rate, and speed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.data.examples import read_whole
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, Faults, data_error
from speechrnn.features.mel import dct_matrix
from speechrnn.metrics import edits
from speechrnn.metrics.edits import Edits
from speechrnn.metrics.intervals import Interval, bootstrap, finite, rate_interval
from speechrnn.models.loading import open_model
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.tasks.synthesis.speaking import Voice, outcomes
from speechrnn.tasks.synthesis.text_normalization import spelled_out
from speechrnn.text import normalize

Listener = Callable[[np.ndarray, int], str]
"""`listener(signal, sample_rate)` returns the recognized words."""

_CEPSTRA = 13


@dataclass(frozen=True)
class Spoken:
    """A text, with the figures of the voice's speech and of the speaker's recording."""

    id: str
    text: str
    distortion: float
    """Mel-cepstral distortion in decibels, see `speechrnn.tasks.synthesis.evaluation.distortion`."""
    seconds: float
    """Duration of the voice's speech."""
    voice: Edits | None = None
    """Word errors of a recognizer on the voice's speech; None without a recognizer."""
    speaker: Edits | None = None
    """Word errors of the recognizer on the speaker's recording."""
    heard: str = ""
    """The words recognized in the voice's speech."""


@dataclass(frozen=True)
class VoiceReport:
    """Figures of a voice over texts; error rates are of counts summed over the texts."""

    spoken: tuple[Spoken, ...]
    """The evaluated texts, in order."""
    distortion: float
    """Mean mel-cepstral distortion in decibels; NaN without texts."""
    distortion_interval: Interval
    """95 % bootstrap interval, by resampling texts."""
    voice_interval: Interval = (math.nan, math.nan)
    """Interval of `voice_error_rate`."""
    speaker_interval: Interval = (math.nan, math.nan)
    """Interval of `speaker_error_rate`."""
    faults: tuple[Fault, ...] = ()
    """Examples that could not be evaluated; the figures exclude them."""
    elapsed: float = 0.0
    """Seconds that synthesis took."""

    @property
    def voice_error_rate(self) -> float:
        """Word error rate of the recognizer on the voice's speech; NaN without a recognizer."""
        return _rate([one.voice for one in self.spoken])

    @property
    def speaker_error_rate(self) -> float:
        """Word error rate of the recognizer on the speaker's recordings."""
        return _rate([one.speaker for one in self.spoken])

    @property
    def real_time_factor(self) -> float:
        """Seconds of computation per second of speech."""
        return self.elapsed / sum(one.seconds for one in self.spoken) if self.spoken else math.nan

    def __str__(self) -> str:
        if not self.spoken:
            return f"Nothing was measured; {len(self.faults)} failed."
        low, high = self.distortion_interval
        line = (
            f"mel-cepstral distortion {self.distortion:.2f} dB (95 % interval {low:.2f} to {high:.2f}) over "
            f"{len(self.spoken):,} texts; {self.real_time_factor:.2f} s for a second of speech"
        )
        if self.spoken[0].voice is not None:
            low, high, speaker_low, speaker_high = (100 * x for x in (*self.voice_interval, *self.speaker_interval))
            line += (
                f"; the listener's word error rate {100 * self.voice_error_rate:.1f} % ({low:.1f} to {high:.1f}), and "
                f"{100 * self.speaker_error_rate:.1f} % ({speaker_low:.1f} to {speaker_high:.1f}) of the speaker"
            )
        return line + (f"; {len(self.faults)} more FAILED and are in none of these figures." if self.faults else ".")

    def to_dict(self, *, details: bool = False) -> dict[str, Any]:
        """The report as JSON values, with every text if `details` is set."""
        report: dict[str, Any] = {
            "distortion": finite(self.distortion),
            "distortion_interval": [finite(bound) for bound in self.distortion_interval],
            "voice_error_rate": finite(self.voice_error_rate),
            "voice_interval": [finite(bound) for bound in self.voice_interval],
            "speaker_error_rate": finite(self.speaker_error_rate),
            "speaker_interval": [finite(bound) for bound in self.speaker_interval],
            "real_time_factor": finite(self.real_time_factor),
            "texts": len(self.spoken),
            "failed": len(self.faults),
            "faults": [str(fault) for fault in self.faults],
        }
        if details:
            report["details"] = [
                {"id": one.id, "text": one.text, "distortion": one.distortion, "heard": one.heard}
                for one in self.spoken
            ]
        return report


def evaluate(
    model: Voice | str | os.PathLike[str],
    examples: Sequence[Example],
    *,
    recognizer: Listener | str | os.PathLike[str] | None = None,
    faults: Faults | None = None,
    progress: Callable[[str], object] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    **speaking: Any,
) -> VoiceReport:
    """Evaluate a voice: it reads the texts of recordings aloud, and its speech is compared with the recordings.

    Args:
        model: A voice, or its path.
        examples: Recordings of its speaker that it was not trained on, and their texts; a text with punctuation is in
            `extra["written"]`.
        recognizer: A `Listener`, or a recognizer's file; it should not have been trained on the speaker.
        faults: Collects examples that cannot be evaluated; they are also in the report.
        progress: Called with the id of each example once it is done.
        resamples: Bootstrap replications.
        seed: Seed of the bootstrap.
        **speaking: Options of `SpeakingOptions`.
    """
    collected = Faults() if faults is None else faults
    voice: Voice = open_model(model, "synthesizer")
    listener = _listener(recognizer)
    spoken, elapsed = [], 0.0
    texts = [str(example.extra.get("written", example.text or "")) for example in examples]
    list(outcomes(voice, texts[:1], **speaking))  # loading on the first call does not count as synthesis time
    for example, written in zip(examples, texts, strict=True):
        started = time.perf_counter()
        (speech,) = outcomes(voice, [written], **speaking)
        duration = time.perf_counter() - started
        try:
            if isinstance(speech, Fault):
                raise data_error(example.id, speech.kind, str(speech))
            recording = read_whole(example, voice.sound.sample_rate)
            text = normalize(spelled_out(written))
            words: dict[str, Any] = {}
            if listener is not None:
                voice_words = listener(speech.signal, speech.sample_rate)
                speaker_words = listener(recording, speech.sample_rate)
                words = {
                    "voice": edits.counts(text.split(), voice_words.split()),
                    "speaker": edits.counts(text.split(), speaker_words.split()),
                    "heard": voice_words,
                }
            distance = distortion(speech.spectrum, log_mel(recording, voice.sound))
            spoken.append(Spoken(example.id, text, distance, speech.duration, **words))
            elapsed += duration
        except (OSError, ValueError) as error:
            collected.add_error(example.id, error)
        if progress is not None:
            progress(example.id)
    mean = float(np.mean([one.distortion for one in spoken])) if spoken else math.nan
    tallies = np.reshape([(one.distortion, 1.0) for one in spoken], (-1, 2))
    interval = bootstrap(tallies, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, resamples=resamples, seed=seed)
    voice_bounds, speaker_bounds = (
        rate_interval([each for each in errors if each is not None], resamples=resamples, seed=seed)
        for errors in ([one.voice for one in spoken], [one.speaker for one in spoken])
    )
    return VoiceReport(tuple(spoken), mean, interval["mean"], voice_bounds, speaker_bounds, tuple(collected), elapsed)


def distortion(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the mel-cepstral distortion of two spectra after dynamic time warping, in decibels.

    It is the root mean square distance of the spectral envelopes, by 13 cepstra without the level (Kubichek 1993,
    "Mel-cepstral distance measure for objective speech quality assessment").

    Args:
        first: float `(frames, bands)`, natural log of power.
        second: The same, with any number of frames.
    """
    from librosa.sequence import dtw

    bands = first.shape[1]
    cepstra = [np.asarray(each, np.float64) @ dct_matrix(bands, _CEPSTRA + 1)[:, 1:] for each in (first, second)]
    cost, path = dtw(cepstra[0].T, cepstra[1].T)
    return float(10.0 / math.log(10.0) / math.sqrt(bands) * cost[-1, -1] / len(path))


def log_mel(signal: np.ndarray, sound: Sound) -> np.ndarray:
    """Compute the features of `LogMel` without TensorFlow, float64 `(frames, bands)`."""
    from librosa.feature import melspectrogram

    power = melspectrogram(
        y=signal, sr=sound.sample_rate, n_fft=sound.fft_length, hop_length=sound.hop, win_length=sound.window,
        center=False, n_mels=sound.num_mels, fmin=sound.f_min, fmax=sound.f_max, htk=sound.mel_scale == "htk",
        norm=sound.mel_norm,
    )  # fmt: skip
    return np.log(np.maximum(power.T, sound.floor))


def _listener(recognizer: Listener | str | os.PathLike[str] | None) -> Listener | None:
    if recognizer is None or callable(recognizer):
        return recognizer
    session = open_model(recognizer, "recognizer")
    return lambda signal, sample_rate: session.transcribe((np.clip(signal, -1, 1), sample_rate)).text


def _rate(errors: Sequence[Edits | None]) -> float:
    known = [each for each in errors if each is not None]
    return sum(known, Edits()).rate if known else math.nan
