"""Greedy and beam search for transducers, of whole utterances or of streams."""

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
"""Default maximum number of symbols per frame."""
_BATCH_FRAMES = 16
"""Frames that are joined at once with one prediction, which is valid until the next symbol."""
_MAX_FRAMES = 3000
"""Frames after which the best symbols become final even if others are possible."""

States = Mapping[str, np.ndarray]
"""States of the predictor: float32 arrays by name, with a row for each sequence of symbols."""


class Joint(Protocol):
    """The interface of a transducer for the search."""

    vocabulary: Vocabulary

    def first_states(self) -> dict[str, np.ndarray]:
        """The predictor's states before the first symbol, one row."""

    def predicted(self, previous: np.ndarray, states: States) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Run the predictor.

        Args:
            previous: int32 `(rows,)`: the last symbol of each row, 0 before the first.
            states: The states before it.

        Returns:
            float32 `(rows, joint)`, and the next states.
        """

    def joined(self, encoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Logits `(rows, vocabulary)` of encoder frames and predictions, float32 `(rows, joint)` each."""


class TransducerSearch:
    """Search for the symbols of a transducer, from the encoder's frames instead of logits.

    Without a beam the most probable symbol is chosen at each step. With a beam, each frame extends all its texts by up
    to `symbols_per_frame` symbols, sums the probabilities of equal texts, and keeps the best ones: with a sufficient
    beam the search is exact.

    Args:
        model: Predictor, joiner and vocabulary.
        beam: Number of texts that are kept, or None.
        symbols_per_frame: Maximum number of symbols per frame.

    Raises:
        ValueError: A number is out of range.

    Reference:
        Graves, "Sequence transduction with recurrent neural networks", arXiv:1211.3711, 2012, section 2.6, frame by
        frame as in Saon, Tüske and Audhkhasi, "Alignment-length synchronous decoding for RNN transducer", ICASSP 2020.
    """

    def __init__(self, model: Joint, *, beam: int | None = None, symbols_per_frame: int = SYMBOLS_PER_FRAME) -> None:
        self.model, self.beam, self.symbols_per_frame = model, beam, symbols_per_frame
        require(self, "at least 1", lambda value: value is None or value >= 1, "beam", "symbols_per_frame")

    def __call__(self, encoded: np.ndarray) -> Path:
        """Decode one utterance; each symbol has the frame at which it was emitted.

        Args:
            encoded: float `(frames, joint)`, the encoder's outputs. There may be no frames.

        Raises:
            ValueError: They have another shape, or NaN.
        """
        stream = self.stream()
        stream.search_through(encoded)
        return stream.finish()

    def stream(self) -> TransducerStream:
        """Start an utterance whose frames arrive in blocks."""
        return TransducerStream(self)


class _Emission(NamedTuple):
    """An emitted symbol."""

    symbol: int
    frame: int
    log_probability: float


@dataclass(frozen=True, eq=False)
class _Text:
    """A hypothesis."""

    emitted: tuple[_Emission, ...]
    """The symbols that are not final."""
    score: float
    """Log-probability, over all paths of the search."""
    predicted: np.ndarray
    """float32 `(joint,)`: the prediction after the last symbol."""
    states: dict[str, np.ndarray]
    """The predictor's states, one row."""

    @property
    def symbols(self) -> tuple[int, ...]:
        return tuple(one.symbol for one in self.emitted)


class TransducerStream:
    """Search through one utterance, block by block; `TransducerSearch.stream` starts one.

    The symbols do not depend on how the frames are split into blocks.

    Args:
        search: The search with its options.
    """

    def __init__(self, search: TransducerSearch) -> None:
        self._model, self._beam, self._max_symbols = search.model, search.beam, search.symbols_per_frame
        spellings = self._model.vocabulary.spellings
        self._begins_word = np.array([spelling[:1].isspace() for spelling in spellings])
        self._frames = self._final_frames = 0
        self._texts: list[_Text] = []
        self._finished = False

    @property
    def partial(self) -> str:
        """The best text so far, without its final part."""
        return self._model.vocabulary.decode(self._texts[0].symbols).strip() if self._texts else ""

    def advance(self, encoded: np.ndarray) -> Path:
        """Search through more frames.

        Args:
            encoded: float `(frames, joint)`, any number of frames.

        Returns:
            The symbols of words that have become final: those on which all texts of the beam agree, up to the start of
            the last word. Their frames are counted from the start of the utterance.

        Raises:
            ValueError: The stream was finished, or the frames have another shape, or NaN.
        """
        self.search_through(encoded)
        if not self._texts:
            return _path(())
        if self._frames - self._final_frames > _MAX_FRAMES:
            self._texts = self._texts[:1]
        columns = zip(*(text.symbols for text in self._texts), strict=False)
        agreed = [symbols[0] for symbols in takewhile(lambda symbols: len(set(symbols)) == 1, columns)]
        begins = np.flatnonzero(self._begins_word[np.array(agreed, np.int64)])
        if not len(begins) or not begins[-1]:
            return _path(())
        count, self._final_frames = int(begins[-1]), self._frames
        final = self._texts[0].emitted[:count]
        self._texts = [_Text(one.emitted[count:], one.score, one.predicted, one.states) for one in self._texts]
        return _path(final)

    def finish(self) -> Path:
        """End the utterance and return the remaining symbols.

        Raises:
            ValueError: The stream was finished before.
        """
        self._check_open()
        self._finished = True
        return _path(self._texts[0].emitted if self._texts else ())

    def search_through(self, encoded: np.ndarray) -> None:
        """Like `advance`, but no symbols become final."""
        self._check_open()
        encoded = checked(encoded)
        if not len(encoded):
            return
        if not self._texts:
            states = self._model.first_states()
            predicted, states = self._model.predicted(np.zeros(1, np.int32), states)
            self._texts = [_Text((), 0.0, predicted[0], states)]
        if self._beam is None:
            self._decode_greedily(encoded)
        else:
            for frame in encoded:
                self._search_frame(frame)
                self._frames += 1

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("The stream was finished. Begin another one.")

    def _decode_greedily(self, encoded: np.ndarray) -> None:
        (text,) = self._texts
        emitted, predicted, states = list(text.emitted), text.predicted, text.states
        score, frame, count = text.score, 0, 0
        while frame < len(encoded):
            block = encoded[frame : frame + _BATCH_FRAMES]
            logs = log_softmax(self._model.joined(block, np.broadcast_to(predicted, (len(block), len(predicted)))))
            best = logs.argmax(axis=1)
            labels = np.flatnonzero(best != BLANK)
            blanks = int(labels[0]) if len(labels) else len(block)
            score += float(logs[:blanks, BLANK].sum())
            frame += blanks
            count = 0 if blanks else count
            if blanks == len(block):
                continue
            symbol, log = int(best[blanks]), float(logs[blanks, best[blanks]])
            emitted.append(_Emission(symbol, self._frames + frame, log))
            score += log
            rows, states = self._model.predicted(np.array([symbol], np.int32), states)
            predicted, count = rows[0], count + 1
            if count == self._max_symbols:
                frame, count = frame + 1, 0
        self._frames += len(encoded)
        self._texts = [_Text(tuple(emitted), score, predicted, states)]

    def _search_frame(self, encoded: np.ndarray) -> None:
        """Extend all texts by a frame: `active` ones may emit more symbols in it, `ended` ones have emitted a blank."""
        width = self._beam or 1
        active, ended = self._texts, dict[tuple[int, ...], _Text]()
        for count in range(self._max_symbols + 1):
            predicted = np.stack([text.predicted for text in active])
            logs = log_softmax(self._model.joined(np.broadcast_to(encoded, predicted.shape), predicted))
            for text, blank in zip(active, logs[:, BLANK].tolist(), strict=True):
                _merge(ended, _Text(text.emitted, text.score + blank, text.predicted, text.states))
            if count == self._max_symbols:
                break
            totals = np.array([text.score for text in active])[:, None] + logs
            totals[:, BLANK] = -np.inf
            worst = sorted((one.score for one in ended.values()), reverse=True)[width - 1 : width]
            flat = totals.reshape(-1)
            chosen = np.argsort(-flat, kind="stable")[:width]
            chosen = chosen[flat[chosen] > (worst[0] if worst else -np.inf)]
            if not len(chosen):
                break
            active = self._emit(active, chosen, flat, logs)
        self._texts = sorted(ended.values(), key=lambda one: -one.score)[:width]

    def _emit(self, active: list[_Text], chosen: np.ndarray, totals: np.ndarray, logs: np.ndarray) -> list[_Text]:
        """The chosen texts with another symbol, in one batch of the predictor."""
        parents, symbols = np.divmod(chosen, logs.shape[1])
        rows = [active[parent].states for parent in parents]
        states = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        predicted, states = self._model.predicted(symbols.astype(np.int32), states)
        return [
            _Text(
                (*active[parent].emitted, _Emission(int(symbol), self._frames, float(logs[parent, symbol]))),
                float(totals[index]),
                predicted[row],
                {name: value[row : row + 1] for name, value in states.items()},
            )
            for row, (parent, symbol, index) in enumerate(zip(parents, symbols, chosen, strict=True))
        ]


def _merge(texts: dict[tuple[int, ...], _Text], one: _Text) -> None:
    """Add a text; the probabilities of equal texts are summed, and the frames are those of the more probable one."""
    symbols = one.symbols
    other = texts.get(symbols)
    if other is None:
        texts[symbols] = one
        return
    best = one if one.score > other.score else other
    total = float(np.logaddexp(one.score, other.score))
    texts[symbols] = _Text(best.emitted, total, best.predicted, best.states)


def _path(emitted: Iterable[_Emission]) -> Path:
    symbols, frames, logs = zip(*emitted, strict=True) if emitted else ((), (), ())
    first = np.array(frames, np.int32)
    return Path(np.array(symbols, np.int32), first, first + 1, np.exp(np.array(logs)).astype(np.float32))
