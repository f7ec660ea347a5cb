"""The base class of streaming recognizers: takes samples as they arrive, and returns words as they are completed."""

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
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.methods import RecognizerMethods
from speechrnn.tasks.recognition.model_types import has_encoder
from speechrnn.tasks.recognition.transcript import Word, spell
from speechrnn.text import Vocabulary


@dataclass(frozen=True)
class Update:
    """The result of some samples of a stream."""

    partial: str
    """The unfinished word, or the words that the search has not settled; later samples may change them."""
    words: tuple[Word, ...]
    """Words that became final since the last update."""


class BaseStreamingSession(RecognizerMethods, Session):
    """Base class of streaming recognizers; a subclass computes logits from samples.

    A session is one stream; `reset` starts the next one.
    """

    can_batch_steps: bool = False
    """Whether steps of several streams may run as one batch, with the same results as separately."""

    vocabulary: Vocabulary
    vocabularies = ("vocabulary",)

    def _prepare(self) -> None:
        self._search: LexiconSearch | TransducerSearch | None = None
        self._read_metadata()
        self.reset()
        if attachments.has_attachments(self) or has_encoder(self):
            self.search()

    def _read_metadata(self) -> None:
        """Read the metadata that only models of this kind have."""

    def _reset_stream(self) -> None:
        """Reset the subclass's state of the stream."""
        raise NotImplementedError

    def advance(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but returns the logits that can be computed so far: float32 `(frames, vocabulary)`."""
        raise NotImplementedError

    def flush(self) -> np.ndarray:
        """Like `finish`, but returns the remaining logits: float32 `(frames, vocabulary)`."""
        raise NotImplementedError

    @property
    def latency(self) -> float:
        """Algorithmic latency: seconds from the start of a frame of logits to the last sample that it depends on."""
        raise NotImplementedError

    def reset(self) -> None:
        """Start a new stream with the next samples."""
        self._samples = np.zeros(0, np.float32)
        self._finished = False
        self._reset_stream()
        self._decoder = self._new_decoder()

    @property
    def searches(self) -> bool:
        """Whether a search writes the words, and not the best path."""
        return self._search is not None

    def search(self, **options: Any) -> None:
        """Reset the stream, and decode by a search through a lexicon from now on.

        Args:
            **options: Options of `speechrnn.decoding.options.decoder`, such as `lexicon`, `lm` and `hotwords`; by
                default those attached to the model's file. Without any, words follow from the best path.

        Raises:
            ValueError: A file cannot be read, or does not fit the model; or the search needs the complete utterance, as
                a beam search without a lexicon does.
        """
        decoder = attachments.decoder(self, **options)
        if decoder is not greedy and not isinstance(decoder, LexiconSearch | TransducerSearch):
            raise ValueError(
                "A stream is searched only with a lexicon. Received options of another search; give a lexicon as well, "
                "or transcribe the whole recording."
            )
        attachments.log_phones(self.vocabulary, decoder)
        self._search = decoder if isinstance(decoder, LexiconSearch | TransducerSearch) else None
        self.reset()

    def _new_decoder(self) -> StreamingGreedyDecoder | StreamingSearchDecoder:
        if self._search is None:
            return StreamingGreedyDecoder(self.vocabulary, frame_period=self.frame_period)
        return StreamingSearchDecoder(self._search, self.vocabulary, frame_period=self.frame_period)

    def run_with(self, runner: Callable[[Any], Any]) -> None:
        """Replace the object that runs the steps of this stream, and of those that `new_stream` makes.

        Args:
            runner: Makes an object with the `run` of a `speechrnn.runtime.session.OnnxSession` from the current one.
        """
        self._session = runner(self._session)

    def new_stream(self) -> Self:
        """An independent stream of the same model; each stream may run in a thread of its own."""
        stream = copy.copy(self)
        stream.reset()
        return stream

    def push(self, samples: np.ndarray) -> Update:
        """Process the next samples, any number of them.

        Args:
            samples: float32 `(samples,)` at `sample_rate`, in [-1, 1].

        Raises:
            ValueError: The stream was finished, or the samples have another shape, or are not finite.
        """
        words = self._decoder.push(self.advance(samples))
        return Update(self._decoder.partial, tuple(words))

    def finish(self) -> Update:
        """End the stream: the remaining words become final. A stream shorter than one frame has no words.

        Raises:
            ValueError: It was finished before.
        """
        words = self._decoder.push(self.flush())
        return Update("", (*words, *self._decoder.finish()))

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits of whole signals, like `Recognizer.logits`; each is a stream of its own, and this one is unchanged.

        Args:
            signals: float32 `(samples,)` each.

        Returns:
            For each signal float32 `(ceil(frame_count / stride), vocabulary)`.
        """
        stream, logits = self.new_stream(), []
        for signal in signals:
            stream.reset()
            logits.append(np.concatenate([stream.advance(signal), stream.flush()]))
        return logits

    def _append(self, samples: np.ndarray) -> None:
        """Append samples to those that are not processed yet.

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
        self._samples = np.concatenate([self._samples, samples.astype(np.float32, copy=False)])

    def _no_logits(self) -> np.ndarray:
        return np.zeros((0, self._width), np.float32)

    @property
    def _width(self) -> int:
        """Number of columns of the outputs."""
        return len(self.vocabulary)


class StreamingSearchDecoder:
    """Decodes a stream of logits by a search.

    Args:
        search: A search through a lexicon, or of a transducer.
        vocabulary: The symbols of the logits.
        frame_period: Seconds between frames.
    """

    def __init__(
        self, search: LexiconSearch | TransducerSearch, vocabulary: Vocabulary, *, frame_period: float
    ) -> None:
        self._stream, self._vocabulary, self._period = search.stream(), vocabulary, frame_period

    @property
    def partial(self) -> str:
        """The likeliest words that are not final yet."""
        return self._stream.partial

    def push(self, logits: np.ndarray) -> list[Word]:
        """The words that become final with these float `(frames, vocabulary)` logits.

        Raises:
            ValueError: They hold NaN.
        """
        return spell(self._stream.advance(logits), self._vocabulary, frame_period=self._period)

    def finish(self) -> list[Word]:
        """The remaining words."""
        return spell(self._stream.finish(), self._vocabulary, frame_period=self._period)


class StreamingGreedyDecoder:
    """Decodes a stream of logits by the best path.

    Args:
        vocabulary: The symbols of the logits.
        frame_period: Seconds between frames.

    Example:
    >>> decoder = StreamingGreedyDecoder(Vocabulary(" ab"), frame_period=0.5)
    >>> words = decoder.push(9.0 * np.eye(4)[[0, 2, 2, 0, 3]])
    >>> words, decoder.partial
    ([], 'ab')
    >>> [(word.word, word.start, word.end) for word in decoder.push(9.0 * np.eye(4)[[3, 1, 2]])]
    [('ab', 0.5, 3.0)]
    >>> [word.word for word in decoder.finish()]
    ['a']
    """

    def __init__(self, vocabulary: Vocabulary, *, frame_period: float) -> None:
        self._symbols = vocabulary.spellings
        self._period = frame_period
        self._frame = 0
        self._symbol, self._start, self._log_probability = BLANK, 0, 0.0
        self._word: list[tuple[str, int, int, float]] = []

    @property
    def partial(self) -> str:
        """The unfinished word."""
        return "".join(symbol for symbol, *_ in self._word) + self._symbols[self._symbol].strip()

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
        log_probabilities = -np.log(np.exp(shifted).sum(axis=1))
        words = []
        for symbol, value in zip(logits.argmax(axis=1).tolist(), log_probabilities.tolist(), strict=True):
            if symbol != self._symbol:
                self._end_symbol()
                if self._symbols[symbol][:1].isspace():
                    words += self._end_word()
                self._symbol, self._start, self._log_probability = symbol, self._frame, 0.0
            self._log_probability += value
            self._frame += 1
        return words

    def finish(self) -> list[Word]:
        """The unfinished word, if there is one."""
        self._end_symbol()
        return self._end_word()

    def _end_symbol(self) -> None:
        symbol = self._symbols[self._symbol].strip()
        if symbol:
            mean = self._log_probability / (self._frame - self._start)
            self._word.append((symbol, self._start, self._frame, mean))
        self._symbol = BLANK

    def _end_word(self) -> list[Word]:
        symbols, self._word = self._word, []
        if not symbols:
            return []
        confidence = float(np.exp(np.mean([log_probability for *_, log_probability in symbols])))
        text = "".join(symbol for symbol, *_ in symbols)
        return [Word(text, symbols[0][1] * self._period, symbols[-1][2] * self._period, confidence)]
