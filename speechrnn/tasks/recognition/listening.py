"""What sessions that listen have in common: samples go in as they come, words come out as they are said."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from speechrnn.audio.reading import check_scale
from speechrnn.decoding.best_path import BLANK, greedy
from speechrnn.decoding.lexicon import LexiconSearch
from speechrnn.decoding.transducer import TransducerSearch
from speechrnn.runtime.session import Session
from speechrnn.tasks.recognition import carried
from speechrnn.tasks.recognition.joint import encodes
from speechrnn.tasks.recognition.methods import RecognizerMethods
from speechrnn.tasks.recognition.transcript import Word, spell
from speechrnn.text import Vocabulary


@dataclass(frozen=True)
class Update:
    """What some samples have brought."""

    partial: str
    """The word that is being said, or the words that a search is not yet sure of; later samples may change them."""
    words: tuple[Word, ...]
    """Words that have ended since the last update, and stay as they are."""


class Listening(RecognizerMethods, Session):
    """What sessions that listen have in common; a subclass knows how samples become logits.

    One session is one stream; `reset` begins another one.
    """

    steps_together: bool = False
    """Whether steps of several streams may run as one batch: their answers are those of each alone."""

    vocabulary: Vocabulary
    vocabularies = ("vocabulary",)

    def _prepare(self) -> None:
        self._search: LexiconSearch | TransducerSearch | None = None
        self._heard()
        self.reset()
        if carried.carries(self) or encodes(self):
            self.search()

    def _heard(self) -> None:
        """Reads what only models of this kind say of themselves."""

    def _begin(self) -> None:
        """Forgets the samples."""
        raise NotImplementedError

    def advance(self, samples: np.ndarray) -> np.ndarray:
        """As `push`, giving the logits that can be computed: float32 `(frames, vocabulary)`."""
        raise NotImplementedError

    def flush(self) -> np.ndarray:
        """As `finish`, giving the logits of what is left: float32 `(frames, vocabulary)`."""
        raise NotImplementedError

    @property
    def latency(self) -> float:
        """Algorithmic latency: seconds from the beginning of a frame of logits to the last sample that it needs."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything: the next samples begin a stream."""
        self._waiting = np.zeros(0, np.float32)
        self._finished = False
        self._begin()
        self._speller = self._new_speller()

    def search(self, **options: Any) -> None:
        """Write words by a search through a lexicon from the next stream on; this one is reset.

        Args:
            **options: Of `speechrnn.decoding.options.decoder`, such as `lexicon`, `lm` and `hotwords`; those that the
                model carries where nothing else is given. None at all: the best path, for a model that carries none.

        Raises:
            ValueError: A file cannot be read, or does not fit the model; or what was asked for needs all of the
                utterance, as a beam search without a lexicon does.
        """
        decoder = carried.decoder(self, **options)
        if decoder is not greedy and not isinstance(decoder, LexiconSearch | TransducerSearch):
            raise ValueError(
                "A stream is searched only with a lexicon. Received options of another search; give a lexicon as well, "
                "or transcribe the whole recording."
            )
        self._search = decoder if isinstance(decoder, LexiconSearch | TransducerSearch) else None
        self.reset()

    def _new_speller(self) -> GreedySpeller | SearchSpeller:
        if self._search is None:
            return GreedySpeller(self.vocabulary, frame_period=self.frame_period)
        return SearchSpeller(self._search, self.vocabulary, frame_period=self.frame_period)

    def run_by(self, runner: Callable[[Any], Any]) -> None:
        """Let something else run the steps of this stream, and of those that `another` gives.

        Args:
            runner: Makes an object with the `run` of a `speechrnn.runtime.session.OnnxSession` from the current one.
        """
        self._session = runner(self._session)

    def another(self) -> Self:
        """A stream of the same model, independent of this one; what they share may be used in several threads."""
        found = copy.copy(self)
        found.reset()
        return found

    def push(self, samples: np.ndarray) -> Update:
        """Listen to the next samples, as many or few as there are.

        Args:
            samples: float32 `(samples,)` at `sample_rate`, in [-1, 1].

        Raises:
            ValueError: The stream was finished, or the samples have another shape, or are not finite.
        """
        words = self._speller.push(self.advance(samples))
        return Update(self._speller.partial, tuple(words))

    def finish(self) -> Update:
        """The stream has ended: what is left becomes final. A stream without a whole frame gives no words.

        Raises:
            ValueError: It was finished before.
        """
        words = self._speller.push(self.flush())
        return Update("", (*words, *self._speller.finish()))

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits of whole signals, as a `Recognizer` gives them; each is a stream of its own, and this one goes on.

        Args:
            signals: float32 `(samples,)` each.

        Returns:
            For each signal float32 `(ceil(frame_count / stride), vocabulary)`.
        """
        stream, found = self.another(), []
        for signal in signals:
            stream.reset()
            found.append(np.concatenate([stream.advance(signal), stream.flush()]))
        return found

    def _take(self, samples: np.ndarray) -> None:
        """Adds samples to those that wait.

        Raises:
            ValueError: The stream was finished, or the samples have another shape or scale, or are not finite.
        """
        samples = np.asarray(samples)
        if self._finished:
            raise ValueError("The stream was finished. Call `reset` to begin another one.")
        if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
            raise ValueError(
                f"Samples must be float32 (samples,) in [-1, 1]. Received: {samples.dtype} {samples.shape}."
            )
        if not np.isfinite(samples).all():
            raise ValueError("Samples must be finite. Received: NaN or infinity.")
        check_scale(samples)
        self._waiting = np.concatenate([self._waiting, samples.astype(np.float32, copy=False)])

    def _nothing(self) -> np.ndarray:
        return np.zeros((0, self._width), np.float32)

    @property
    def _width(self) -> int:
        """Columns of the outputs."""
        return len(self.vocabulary)


class SearchSpeller:
    """Words of a search through logits that come piece by piece.

    Args:
        search: Through a lexicon, or of a transducer.
        vocabulary: What the indices stand for.
        frame_period: Seconds between frames.
    """

    def __init__(
        self, search: LexiconSearch | TransducerSearch, vocabulary: Vocabulary, *, frame_period: float
    ) -> None:
        self._stream, self._vocabulary, self._period = search.stream(), vocabulary, frame_period

    @property
    def partial(self) -> str:
        """The words that are likely so far, and not final."""
        return self._stream.partial

    def push(self, logits: np.ndarray) -> list[Word]:
        """The words that become final with these float `(frames, vocabulary)` logits.

        Raises:
            ValueError: They hold NaN.
        """
        return spell(self._stream.advance(logits), self._vocabulary, frame_period=self._period)

    def finish(self) -> list[Word]:
        """The words that are left."""
        return spell(self._stream.finish(), self._vocabulary, frame_period=self._period)


class GreedySpeller:
    """Best-path decoding of logits that come piece by piece.

    Args:
        vocabulary: What the indices stand for.
        frame_period: Seconds between frames.

    Example:
    >>> speller = GreedySpeller(Vocabulary(" ab"), frame_period=0.5)
    >>> said = speller.push(9.0 * np.eye(4)[[0, 2, 2, 0, 3]])
    >>> said, speller.partial
    ([], 'ab')
    >>> [(word.word, word.start, word.end) for word in speller.push(9.0 * np.eye(4)[[3, 1, 2]])]
    [('ab', 0.5, 3.0)]
    >>> [word.word for word in speller.finish()]
    ['a']
    """

    def __init__(self, vocabulary: Vocabulary, *, frame_period: float) -> None:
        self._symbols = vocabulary.spellings
        self._period = frame_period
        self._frame = 0
        self._symbol, self._start, self._certainty = BLANK, 0, 0.0
        self._spelled: list[tuple[str, int, int, float]] = []

    @property
    def partial(self) -> str:
        """The word that has not ended."""
        return "".join(symbol for symbol, *_ in self._spelled) + self._symbols[self._symbol].strip()

    def push(self, logits: np.ndarray) -> list[Word]:
        """The words that end within these float `(frames, vocabulary)` logits.

        Raises:
            ValueError: They hold NaN.
        """
        if np.isnan(logits).any():
            raise ValueError("Logits must be numbers. Received: NaN. Look for NaN in the model's weights.")
        if not len(logits):
            return []
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        certainty = -np.log(np.exp(shifted).sum(axis=1))
        words = []
        for symbol, value in zip(logits.argmax(axis=1).tolist(), certainty.tolist(), strict=True):
            if symbol != self._symbol:
                self._end_symbol()
                if self._symbols[symbol][:1].isspace():
                    words += self._end_word()
                self._symbol, self._start, self._certainty = symbol, self._frame, 0.0
            self._certainty += value
            self._frame += 1
        return words

    def finish(self) -> list[Word]:
        """The word that was being said, if any."""
        self._end_symbol()
        return self._end_word()

    def _end_symbol(self) -> None:
        symbol = self._symbols[self._symbol].strip()
        if symbol:
            mean = self._certainty / (self._frame - self._start)
            self._spelled.append((symbol, self._start, self._frame, mean))
        self._symbol = BLANK

    def _end_word(self) -> list[Word]:
        spelled, self._spelled = self._spelled, []
        if not spelled:
            return []
        confidence = float(np.exp(np.mean([certainty for *_, certainty in spelled])))
        text = "".join(symbol for symbol, *_ in spelled)
        return [Word(text, spelled[0][1] * self._period, spelled[-1][2] * self._period, confidence)]
