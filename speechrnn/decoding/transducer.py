"""Greedy and beam search through the frames of a transducer, as they come or all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple, Protocol

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.best_path import BLANK, Path, checked
from speechrnn.faults import require
from speechrnn.text import Vocabulary

__all__ = ["SYMBOLS_PER_FRAME", "Joint", "TransducerSearch", "TransducerStream"]

SYMBOLS_PER_FRAME = 4
"""Most symbols that a frame writes, unless it is given."""
_AHEAD = 16
"""Frames that are joined at once with a prediction that only the next symbol changes."""
_MOST_FRAMES = 3000
"""Frames after which the best symbols become final even if others are possible."""

States = Mapping[str, np.ndarray]
"""Of the predictor: float32 arrays by name, a row for each sequence of symbols."""


class Joint(Protocol):
    """What a search needs of a transducer, whatever runs it."""

    vocabulary: Vocabulary

    def first_states(self) -> dict[str, np.ndarray]:
        """The predictor's states before the first symbol, of one row."""

    def predicted(self, previous: np.ndarray, states: States) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """From the last symbol of each row, int32 `(rows,)`, 0 before the first, and the states: float32 `(rows,
        joint)` and the states after it.
        """

    def joined(self, encoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Logits `(rows, vocabulary)` of what is next, from frames of the encoder and predictions, float32 `(rows,
        joint)` each.
        """


class TransducerSearch:
    """Symbols of a transducer; it takes the encoder's frames where other decoders take logits.

    Without a beam the likeliest symbol is taken at each place. With one, frame by frame, all ways of a beam are
    followed through up to `symbols_per_frame` symbols, those that spell the same are summed, and the best are kept: in
    a beam that holds all of them the search is exact.

    Args:
        model: Predictor, joiner and vocabulary.
        beam: Texts that are kept, or None.
        symbols_per_frame: Most symbols that a frame writes.

    Raises:
        ValueError: A number is out of its range.

    Reference:
        Graves, "Sequence transduction with recurrent neural networks", arXiv:1211.3711, 2012, section 2.6, frame by
        frame as in Saon, Tüske and Audhkhasi, "Alignment-length synchronous decoding for RNN transducer", ICASSP 2020.
    """

    def __init__(self, model: Joint, *, beam: int | None = None, symbols_per_frame: int = SYMBOLS_PER_FRAME) -> None:
        self.model, self.beam, self.symbols_per_frame = model, beam, symbols_per_frame
        require(self, "at least 1", lambda value: value is None or value >= 1, "beam", "symbols_per_frame")

    def __call__(self, encoded: np.ndarray) -> Path:
        """The symbols of one utterance, each at the frame that wrote it.

        Args:
            encoded: float `(frames, joint)`, the encoder's outputs. There may be no frames.

        Raises:
            ValueError: They have another shape, or are no numbers.
        """
        stream = self.stream()
        stream.hear(encoded)
        return stream.finish()

    def stream(self) -> TransducerStream:
        """An utterance that comes piece by piece."""
        return TransducerStream(self)


class _Written(NamedTuple):
    """A symbol of a text."""

    symbol: int
    frame: int
    log_probability: float


@dataclass(frozen=True, eq=False)
class _Text:
    """A text on its way."""

    written: tuple[_Written, ...]
    """What is not final."""
    score: float
    """Log probability, over all ways that were followed."""
    predicted: np.ndarray
    """float32 `(joint,)`."""
    states: dict[str, np.ndarray]
    """Of one row."""

    @property
    def symbols(self) -> tuple[int, ...]:
        return tuple(one.symbol for one in self.written)


class TransducerStream:
    """One utterance on its way; `TransducerSearch.stream` begins one.

    However the frames are split, the symbols are those of all at once.

    Args:
        search: What is searched, and how.
    """

    def __init__(self, search: TransducerSearch) -> None:
        self._model, self._beam, self._most = search.model, search.beam, search.symbols_per_frame
        spellings = self._model.vocabulary.spellings
        self._begins_word = np.array([spelling[:1].isspace() for spelling in spellings])
        self._frames = self._final_frames = 0
        self._texts: list[_Text] = []
        self._finished = False

    @property
    def partial(self) -> str:
        """What is likely so far, and not final."""
        return self._model.vocabulary.decode(self._texts[0].symbols).strip() if self._texts else ""

    def advance(self, encoded: np.ndarray) -> Path:
        """Search through more frames.

        Args:
            encoded: float `(frames, joint)`, as many or few as there are.

        Returns:
            The symbols of words that have become final: those that the whole beam agrees on, up to where the last word
            begins. Their frames are counted from the beginning.

        Raises:
            ValueError: The stream was finished, or the frames have another shape, or are no numbers.
        """
        self.hear(encoded)
        if not self._texts:
            return _path(())
        if self._frames - self._final_frames > _MOST_FRAMES:
            self._texts = self._texts[:1]
        columns = zip(*(text.symbols for text in self._texts), strict=False)
        agreed = [symbols[0] for symbols in takewhile(lambda symbols: len(set(symbols)) == 1, columns)]
        begins = np.flatnonzero(self._begins_word[np.array(agreed, np.int64)])
        if not len(begins) or not begins[-1]:
            return _path(())
        count, self._final_frames = int(begins[-1]), self._frames
        final = self._texts[0].written[:count]
        self._texts = [_Text(one.written[count:], one.score, one.predicted, one.states) for one in self._texts]
        return _path(final)

    def finish(self) -> Path:
        """The symbols that are left.

        Raises:
            ValueError: It was finished before.
        """
        self._check_open()
        self._finished = True
        return _path(self._texts[0].written if self._texts else ())

    def hear(self, encoded: np.ndarray) -> None:
        """As `advance`, and nothing becomes final."""
        self._check_open()
        encoded = checked(encoded)
        if not len(encoded):
            return
        if not self._texts:
            states = self._model.first_states()
            predicted, states = self._model.predicted(np.zeros(1, np.int32), states)
            self._texts = [_Text((), 0.0, predicted[0], states)]
        if self._beam is None:
            self._take_likeliest(encoded)
        else:
            for frame in encoded:
                self._take_frame(frame)
                self._frames += 1

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("The stream was finished. Begin another one.")

    def _take_likeliest(self, encoded: np.ndarray) -> None:
        (text,) = self._texts
        written, predicted, states = list(text.written), text.predicted, text.states
        score, place, count = text.score, 0, 0
        while place < len(encoded):
            ahead = encoded[place : place + _AHEAD]
            logs = log_softmax(self._model.joined(ahead, np.broadcast_to(predicted, (len(ahead), len(predicted)))))
            best = logs.argmax(axis=1)
            spoken = np.flatnonzero(best != BLANK)
            passed = int(spoken[0]) if len(spoken) else len(ahead)
            score += float(logs[:passed, BLANK].sum())
            place += passed
            count = 0 if passed else count
            if passed == len(ahead):
                continue
            symbol, certain = int(best[passed]), float(logs[passed, best[passed]])
            written.append(_Written(symbol, self._frames + place, certain))
            score += certain
            found, states = self._model.predicted(np.array([symbol], np.int32), states)
            predicted, count = found[0], count + 1
            if count == self._most:
                place, count = place + 1, 0
        self._frames += len(encoded)
        self._texts = [_Text(tuple(written), score, predicted, states)]

    def _take_frame(self, encoded: np.ndarray) -> None:
        """All ways through one frame: texts that may write more in it, and those that its blank has ended."""
        width = self._beam or 1
        active, ended = self._texts, dict[tuple[int, ...], _Text]()
        for count in range(self._most + 1):
            predicted = np.stack([text.predicted for text in active])
            logs = log_softmax(self._model.joined(np.broadcast_to(encoded, predicted.shape), predicted))
            for text, blank in zip(active, logs[:, BLANK].tolist(), strict=True):
                _merge(ended, _Text(text.written, text.score + blank, text.predicted, text.states))
            if count == self._most:
                break
            totals = np.array([text.score for text in active])[:, None] + logs
            totals[:, BLANK] = -np.inf
            worst = sorted((one.score for one in ended.values()), reverse=True)[width - 1 : width]
            flat = totals.reshape(-1)
            chosen = np.argsort(-flat, kind="stable")[:width]
            chosen = chosen[flat[chosen] > (worst[0] if worst else -np.inf)]
            if not len(chosen):
                break
            active = self._written(active, chosen, flat, logs)
        self._texts = sorted(ended.values(), key=lambda one: -one.score)[:width]

    def _written(self, active: list[_Text], chosen: np.ndarray, totals: np.ndarray, logs: np.ndarray) -> list[_Text]:
        """The chosen texts with a symbol more; the predictor reads all of them at once."""
        parents, symbols = np.divmod(chosen, logs.shape[1])
        rows = [active[parent].states for parent in parents]
        states = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        predicted, states = self._model.predicted(symbols.astype(np.int32), states)
        return [
            _Text(
                (*active[parent].written, _Written(int(symbol), self._frames, float(logs[parent, symbol]))),
                float(totals[place]),
                predicted[row],
                {name: value[row : row + 1] for name, value in states.items()},
            )
            for row, (parent, symbol, place) in enumerate(zip(parents, symbols, chosen, strict=True))
        ]


def _merge(texts: dict[tuple[int, ...], _Text], one: _Text) -> None:
    """Add a text; of two that spell the same the probabilities are summed, and the likelier one says where."""
    symbols = one.symbols
    other = texts.get(symbols)
    if other is None:
        texts[symbols] = one
        return
    likelier = one if one.score > other.score else other
    total = float(np.logaddexp(one.score, other.score))
    texts[symbols] = _Text(likelier.written, total, likelier.predicted, likelier.states)


def _path(written: Iterable[_Written]) -> Path:
    symbols, frames, logs = zip(*written, strict=True) if written else ((), (), ())
    first = np.array(frames, np.int32)
    return Path(np.array(symbols, np.int32), first, first + 1, np.exp(np.array(logs)).astype(np.float32))
