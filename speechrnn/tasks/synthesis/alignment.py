"""Align recordings with their phones, for training voices.

First a CTC recognizer of phones aligns the words. CTC emits a phone in one or two frames near its middle: this gives
the order and the approximate times of phones, but not their ends. Then Gaussians that are estimated from the recordings
refine the ends by Viterbi training, with three states for each phone, as in HMM recognizers (Young et al., "The HTK
book", section 8).
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
"""Sample rate and hop of the Gaussians' features: 10 ms."""
_STATES = 3
_ROUNDS = 6
_PAUSE, _QUIET = 0.12, 0.25
"""Shortest pause between words in seconds, longer than the closure of a stop consonant; and the threshold of silence, a
share of the range from low to high levels in decibels."""
_PRIOR_FRAMES = 10.0
"""Number of frames of the global mean that are added to each phone's mean, to smooth the means of rare phones."""


@dataclass
class _Alignment:
    example: Example
    phones: list[str]
    ends: np.ndarray
    """Frame after each phone, int `(phones,)`, in units of `_HOP`."""
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
    """Align examples: adds `extra["phones"]`, separated by spaces, and `extra["ends"]`, their ends in seconds.

    Args:
        examples: Recordings of one speaker, with texts written like the lexicon's words.
        recognizer: A recognizer of the lexicon's phones, with or without stress digits.
        lexicon: Pronunciations; of a word's pronunciations, the one that was spoken is chosen.
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
        for alignment in alignments:
            alignment.ends = model.ends(alignment)
    return [_with_alignment(alignment) for alignment in alignments]


def phones_and_ends(example: Example) -> tuple[list[str], np.ndarray]:
    """The phones of an aligned example, and the end of each in seconds, float64.

    Raises:
        ValueError: The example is not aligned, or its alignment is not valid.
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


def _initial_alignment(example: Example, recognizer: Recognizer, lexicon: Lexicon) -> _Alignment:
    signal = read_whole(example, recognizer.sample_rate)
    text = example.text or ""
    if not text.split():
        raise data_error(example.id, "without a text", "must have a text. Leave it out.")
    if unknown := lexicon.unknown(text):
        raise data_error(example.id, "with words that the lexicon lacks", f"the lexicon lacks {unknown[0]!r}. Add it.")
    stressed = {word: {plain(phones): phones for phones, _ in reversed(lexicon[word])} for word in text.split()}
    unstressed = Lexicon({word: [(phones, 1.0) for phones in each] for word, each in stressed.items()})
    path = align_words(recognizer.logits([signal])[0], text, unstressed, recognizer.vocabulary, blank_penalty=0.0)
    recognized = [recognizer.vocabulary.symbols[index - 1] for index in path.ids]
    middles = (path.start_frames + path.end_frames) / 2 * recognizer.frame_period * _RATE / _HOP
    features, level = _features(signal, recognizer.sample_rate)
    phones, position, frames = [SILENCE], 0, len(level)
    low, high = np.percentile(level, (2, 90))
    quiet = level < low + _QUIET * (high - low)
    spans = []
    for word, length in zip(path.words, path.lengths, strict=True):
        pronunciation = stressed[word][tuple(recognized[position : position + length])]
        if position:
            pause = _longest_run(quiet, int(middles[position - 1]), int(middles[position]) + 1)
            if pause[1] - pause[0] >= _PAUSE * _RATE / _HOP:
                phones.append(SILENCE)
                spans.append(pause)
        phones += pronunciation
        spans += [(m, m) for m in middles[position : position + length]]
        position += length
    phones.append(SILENCE)
    inner = [(a[1] + b[0]) / 2 for a, b in itertools.pairwise(spans)]
    start, end = _longest_run(quiet, 0, int(spans[0][0]) + 1)[1], _longest_run(quiet, int(spans[-1][1]), frames)[0]
    ends = np.rint([start, *inner, end, frames]).astype(int)
    if len(ends) * _STATES > frames:
        message = f"has {frames} frames of 10 ms for {len(ends)} phones."
        raise data_error(example.id, "too short for their text", message)
    return _Alignment(example, phones, spaced(ends, _STATES, frames), features)


def _longest_run(quiet: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """The longest run of quiet frames in a range; if there is none, an empty run in its middle."""
    inside = np.concatenate([[False], quiet[start:stop], [False]])
    edges = np.flatnonzero(np.diff(inside.astype(np.int8)))
    if not len(edges):
        return ((start + stop) // 2,) * 2
    starts, ends = edges[::2], edges[1::2]
    longest = int((ends - starts).argmax())
    return start + int(starts[longest]), start + int(ends[longest])


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
    """A Gaussian for each state of each phone, with a common covariance; stress is ignored."""

    def __init__(self, alignments: Sequence[_Alignment]) -> None:
        self._index: dict[str, int] = {}
        for alignment in alignments:
            for phone in alignment.phones:
                self._index.setdefault(plain([phone])[0], len(self._index))
        width, count = alignments[0].features.shape[1], len(self._index) * _STATES
        sums, counts = np.zeros((count, width)), np.zeros(count)
        total = np.zeros((width, width))
        for alignment in alignments:
            states, features = self._frame_states(alignment), alignment.features
            np.add.at(sums, states, features)
            counts += np.bincount(states, minlength=count)
            total += features.T @ features
        self._means = (sums + _PRIOR_FRAMES * sums.sum(0) / counts.sum()) / (counts + _PRIOR_FRAMES)[:, None]
        within = total - (self._means * counts[:, None]).T @ self._means
        inverse = np.linalg.inv(within / counts.sum() + 1e-6 * np.eye(width))
        self._weights = self._means @ inverse
        self._bias = -0.5 * np.einsum("kd,kd->k", self._weights, self._means)

    def _phone_states(self, alignment: _Alignment) -> np.ndarray:
        """The states of its phones in order, int `(3 phones,)`."""
        phones = np.array([self._index[plain([phone])[0]] for phone in alignment.phones])
        return (phones[:, None] * _STATES + np.arange(_STATES)).ravel()

    def _frame_states(self, alignment: _Alignment) -> np.ndarray:
        """The state of each frame, int `(frames,)`; each phone is divided into equal parts."""
        starts = np.concatenate([[0], alignment.ends[:-1]])
        frames = np.arange(len(alignment.features))
        index = np.searchsorted(alignment.ends, frames, side="right")
        part = (frames - starts[index]) * _STATES // (alignment.ends - starts)[index]
        return self._phone_states(alignment)[index * _STATES + part]

    def ends(self, alignment: _Alignment) -> np.ndarray:
        """The ends of the phones on the most probable path (Viterbi)."""
        scores = (alignment.features @ self._weights.T + self._bias)[:, self._phone_states(alignment)]
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


def _with_alignment(alignment: _Alignment) -> Example:
    example, ends = alignment.example, [round(float(end) * _HOP / _RATE, 3) for end in alignment.ends]
    ends[-1] = max(example.duration, ends[-2] + 0.001)
    return replace(example, extra={**example.extra, "phones": " ".join(alignment.phones), "ends": ends})
