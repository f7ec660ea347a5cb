"""Align recordings with their phones, for training voices.

First a recognizer of phones aligns the words. CTC emits a phone in one or two frames near its middle, which gives the
order and the approximate times of phones, but not their ends. Then Gaussians that are estimated from the recordings
refine the ends (Viterbi training of phones of three states each, as in HMM recognizers: Young et al., "The HTK book",
section 8).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from speechrnn.data.examples import read_whole
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, data_error
from speechrnn.models.protocols import Recognizer
from speechrnn.tasks.recognition.phones import align_words
from speechrnn.tasks.synthesis.phones import SILENCE, plain
from speechrnn.tasks.synthesis.sound import spaced
from speechrnn.text import Lexicon

_RATE, _HOP = 16000, 160
"""Sample rate and hop of the features of the Gaussians: 10 ms."""
_STATES = 3
_ROUNDS = 6
_PAUSE, _QUIET = 0.12, 0.25
"""Shortest pause between words in seconds, longer than the closure of a stop; and the threshold of silence, as a share
of the range from low to high levels in decibels."""
_PRIOR_FRAMES = 10.0
"""Number of frames of the global mean that are added to each phone's mean, to smooth the means of rare phones."""


@dataclass
class _Aligned:
    example: Example
    phones: list[str]
    ends: np.ndarray
    """int `(phones,)`: the frame after each, in units of `_HOP`."""
    features: np.ndarray


def aligned(
    examples: Iterable[Example],
    recognizer: Recognizer,
    lexicon: Lexicon,
    *,
    faults: Faults,
    rounds: int = _ROUNDS,
    progress: Callable[[str], object] | None = None,
) -> list[Example]:
    """Align examples: adds `extra["phones"]`, separated by spaces, and their `extra["ends"]`, in seconds.

    Args:
        examples: Recordings of one speaker, with texts written like the lexicon's words.
        recognizer: A recognizer of the lexicon's phones, with or without the digits of stress.
        lexicon: Pronunciations; of several, the spoken one is chosen.
        faults: Collects the examples that cannot be read or aligned, which are dropped.
        rounds: Number of iterations in which the Gaussians are estimated.
        progress: Called with the id of each example once it is read.
    """
    alignments = []
    for example in examples:
        try:
            alignments.append(_initial_alignment(example, recognizer, lexicon))
        except (OSError, ValueError) as error:
            faults.add_error(example.id, error)
        if progress is not None:
            progress(example.id)
    for _ in range(rounds if alignments else 0):
        model = _Gaussians(alignments)
        for one in alignments:
            one.ends = model.ends(one)
    return [_with_alignment(one) for one in alignments]


def phones_and_ends(example: Example) -> tuple[list[str], np.ndarray]:
    """The phones of an aligned example, and the end of each in seconds, float64.

    Raises:
        ValueError: It is not aligned, or its alignment is not valid.
    """
    phones, ends = example.extra.get("phones"), example.extra.get("ends")
    if not isinstance(phones, str) or not isinstance(ends, list):
        message = "must have `phones` and `ends`. Align it: see `speechrnn.tasks.synthesis.aligned`."
        raise data_error(example.id, "not aligned", message)
    times = np.array(ends, np.float64)
    names = phones.split()
    if len(names) != len(times) or not len(names) or not (np.diff(times, prepend=0.0) > 0).all():
        raise data_error(
            example.id, "badly aligned", f"must have an end for each of its {len(names)} phones, each after the one "
            f"before. Received: {ends!r:.80}.",
        )  # fmt: skip
    return names, times


def _initial_alignment(example: Example, recognizer: Recognizer, lexicon: Lexicon) -> _Aligned:
    signal = read_whole(example, recognizer.sample_rate)
    text = example.text or ""
    if not text.split():
        raise data_error(example.id, "without a text", "must have a text. Leave it out.")
    if unknown := lexicon.unknown(text):
        raise data_error(example.id, "with words that the lexicon lacks", f"the lexicon lacks {unknown[0]!r}. Add it.")
    stressed = {word: {plain(way): way for way, _ in reversed(lexicon[word])} for word in text.split()}
    unstressed = Lexicon({word: [(way, 1.0) for way in ways] for word, ways in stressed.items()})
    path = align_words(recognizer.logits([signal])[0], text, unstressed, recognizer.vocabulary, blank_penalty=0.0)
    said = [recognizer.vocabulary.symbols[index - 1] for index in path.ids]
    middles = (path.start_frames + path.end_frames) / 2 * recognizer.frame_period * _RATE / _HOP
    features, level = _features(signal, recognizer.sample_rate)
    phones, place = [SILENCE], 0
    low, high = np.percentile(level, (2, 90))
    quiet = level < low + _QUIET * (high - low)
    spans = []
    for word, length in zip(path.words, path.lengths, strict=True):
        way = stressed[word][tuple(said[place : place + length])]
        if place:
            pause = _longest(quiet, int(middles[place - 1]), int(middles[place]) + 1)
            if pause[1] - pause[0] >= _PAUSE * _RATE / _HOP:
                phones.append(SILENCE)
                spans.append(pause)
        phones += way
        spans += [(m, m) for m in middles[place : place + length]]
        place += length
    phones.append(SILENCE)
    inner = [(a[1] + b[0]) / 2 for a, b in itertools.pairwise(spans)]
    first, last = _longest(quiet, 0, int(spans[0][0]) + 1)[1], _longest(quiet, int(spans[-1][1]), len(level))[0]
    ends, frames = np.rint([first, *inner, last, len(level)]).astype(int), len(level)
    if len(ends) * _STATES > frames:
        message = f"has {frames} frames of 10 ms for {len(ends)} phones."
        raise data_error(example.id, "too short for their text", message)
    return _Aligned(example, phones, spaced(ends, _STATES, frames), features)


def _longest(quiet: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """The longest run of quiet frames in a range; if there is none, an empty run in its middle."""
    inside = np.concatenate([[False], quiet[start:stop], [False]])
    edges = np.flatnonzero(np.diff(inside.astype(np.int8)))
    if not len(edges):
        return ((start + stop) // 2,) * 2
    begins, ends = edges[::2], edges[1::2]
    best = int((ends - begins).argmax())
    return start + int(begins[best]), start + int(ends[best])


def _features(signal: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Cepstra and their deltas, float64 `(frames, 26)`, and the level of each frame in decibels."""
    import librosa

    hop = round(_HOP * rate / _RATE)
    options = {"n_fft": 2 * hop * 2, "win_length": round(2.5 * hop), "hop_length": hop}
    power = librosa.feature.melspectrogram(y=signal, sr=rate, n_mels=40, **options)
    decibels = librosa.power_to_db(power, top_db=80)
    cepstra = librosa.feature.mfcc(S=decibels, n_mfcc=13)
    features = np.concatenate([cepstra, librosa.feature.delta(cepstra, width=5, mode="nearest")]).T
    features -= features.mean(axis=0)
    return features.astype(np.float64), librosa.power_to_db(power.sum(axis=0), top_db=80)


class _Gaussians:
    """Gaussians with a mean for each third of each phone, and a common covariance."""

    def __init__(self, found: Sequence[_Aligned]) -> None:
        self._index: dict[str, int] = {}
        for one in found:
            for phone in one.phones:
                self._index.setdefault(plain([phone])[0], len(self._index))
        width, count = found[0].features.shape[1], len(self._index) * _STATES
        sums, counts = np.zeros((count, width)), np.zeros(count)
        total = np.zeros((width, width))
        for one in found:
            owner = self._owners(one)
            np.add.at(sums, owner, one.features)
            counts += np.bincount(owner, minlength=count)
            total += one.features.T @ one.features
        self._means = (sums + _PRIOR_FRAMES * sums.sum(0) / counts.sum()) / (counts + _PRIOR_FRAMES)[:, None]
        within = total - (self._means * counts[:, None]).T @ self._means
        inverse = np.linalg.inv(within / counts.sum() + 1e-6 * np.eye(width))
        self._weights = self._means @ inverse
        self._bias = -0.5 * np.einsum("kd,kd->k", self._weights, self._means)

    def _columns(self, one: _Aligned) -> np.ndarray:
        phones = np.array([self._index[plain([phone])[0]] for phone in one.phones])
        return (phones[:, None] * _STATES + np.arange(_STATES)).ravel()

    def _owners(self, one: _Aligned) -> np.ndarray:
        """The state of each frame: thirds of the phones."""
        starts = np.concatenate([[0], one.ends[:-1]])
        frames = np.arange(len(one.features))
        place = np.searchsorted(one.ends, frames, side="right")
        third = (frames - starts[place]) * _STATES // (one.ends - starts)[place]
        return self._columns(one)[place * _STATES + third]

    def ends(self, one: _Aligned) -> np.ndarray:
        """The ends of the phones on the likeliest path."""
        scores = (one.features @ self._weights.T + self._bias)[:, self._columns(one)]
        frames, states = scores.shape
        best = np.full(states + 1, -np.inf)
        best[1] = scores[0, 0]
        advanced = np.zeros((frames, states), bool)
        for frame in range(1, frames):
            advanced[frame] = best[:-1] > best[1:]
            best[1:] = np.maximum(best[:-1], best[1:]) + scores[frame]
        ends, state = np.empty(states, int), states - 1
        ends[state] = frames
        for frame in range(frames - 1, 0, -1):
            if advanced[frame, state]:
                state -= 1
                ends[state] = frame
        return ends[_STATES - 1 :: _STATES]


def _with_alignment(one: _Aligned) -> Example:
    ends = [round(float(end) * _HOP / _RATE, 3) for end in one.ends]
    ends[-1] = max(one.example.duration, ends[-2] + 0.001)
    return replace(one.example, extra={**one.example.extra, "phones": " ".join(one.phones), "ends": ends})
