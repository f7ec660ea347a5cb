"""Translate texts with an encoder-decoder, in batches of similar lengths."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from speechrnn.faults import Fault, kind_of, options_as_keywords
from speechrnn.models.answers import Answer
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions
from speechrnn.tasks.sequence_to_sequence.pairs import encoded
from speechrnn.tasks.sequence_to_sequence.search import Arrays, Hypothesis, beam_search
from speechrnn.text import Vocabulary

_POOL = 16
"""Batches whose sources are sorted by length together, so that a batch holds little padding."""


class EncoderDecoder(Protocol):
    """An encoder-decoder, run by any library."""

    @property
    def source(self) -> Vocabulary:
        """Symbols of the sources."""

    @property
    def target(self) -> Vocabulary:
        """Symbols of the targets."""

    @property
    def max_length(self) -> int:
        """Largest number of symbols of a target."""

    def begin(self, sources: Sequence[Sequence[int]]) -> tuple[Arrays, Arrays]:
        """The constant inputs of `step`, and the states before the first symbol."""

    def step(self, previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""


@dataclass(frozen=True)
class Candidate:
    """One of the best targets of a source."""

    text: str
    symbols: tuple[str, ...]
    score: float
    """Log probability with the penalties of length and coverage."""


@dataclass(frozen=True, eq=False)
class Translation(Answer):
    """The target of a source."""

    text: str = ""
    """The likeliest target."""
    symbols: tuple[str, ...] = ()
    """Its symbols."""
    score: float = 0.0
    """Its log probability with the penalties of length and coverage."""
    attention: np.ndarray | None = None
    """float32 `(symbols, source symbols)`: the attention weights of each symbol."""
    source: tuple[str, ...] = ()
    """The source's symbols."""
    candidates: tuple[Candidate, ...] = ()
    """The best targets, the likeliest first."""

    def to_dict(self) -> dict[str, Any]:
        """The translation as JSON values."""
        result = {"source": self.path, "text": self.text, "symbols": list(self.symbols), "score": self.score}
        if len(self.candidates) > 1:
            result["candidates"] = [{"text": one.text, "score": one.score} for one in self.candidates]
        return result


@options_as_keywords(SearchOptions)
def outcomes(  # noqa: D417 - the decorator adds the options
    model: EncoderDecoder,
    sources: Iterable[str],
    *,
    options: SearchOptions,
    progress: Callable[[str], object] | None = None,
) -> Iterator[Translation | Fault]:
    """Translate sources lazily, and yield a translation or a `Fault` for each, in order.

    Args:
        model: The model.
        sources: Texts.
        progress: Called with each source once it is done.
    """
    iterator = iter(sources)
    # A single batch first, so that the first answer does not wait for many others.
    pool = list(itertools.islice(iterator, options.batch_size))
    while pool:
        for text, outcome in zip(pool, _pooled(model, pool, options), strict=True):
            if progress is not None:
                progress(text)
            yield outcome
        pool = list(itertools.islice(iterator, _POOL * options.batch_size))


def searched(model: EncoderDecoder, sources: Sequence[Sequence[int]], options: SearchOptions) -> list[list[Hypothesis]]:
    """The best sequences for each source of symbol indices, in order."""
    results: list[list[Hypothesis]] = [[]] * len(sources)
    limit = options.max_length or model.max_length
    order = np.argsort([len(source) for source in sources], kind="stable")
    for start in range(0, len(order), options.batch_size):
        indices = order[start : start + options.batch_size]
        memory, states = model.begin([sources[index] for index in indices])
        lengths = np.array([len(sources[index]) for index in indices])
        best = beam_search(model.step, memory, states, lengths, max_length=limit, options=options)
        for index, hypotheses in zip(indices, best, strict=True):
            results[index] = hypotheses
    return results


def _pooled(model: EncoderDecoder, texts: Sequence[str], options: SearchOptions) -> list[Translation | Fault]:
    results: list[Translation | Fault | None] = [None] * len(texts)
    sources: list[list[int]] = []
    indices = []
    for index, text in enumerate(texts):
        try:
            if not isinstance(text, str):
                raise ValueError(f"a source must be a text. Received: {text!r:.80}.")
            sources.append(encoded(model.source, text, what="source", where=repr(text)))
            indices.append(index)
        except ValueError as error:
            results[index] = Fault(repr(text), kind_of(error), str(error))
    for index, ids, best in zip(indices, sources, searched(model, sources, options), strict=True):
        results[index] = _answer(model, texts[index], ids, best, options)
    return [one for one in results if one is not None]


def _answer(
    model: EncoderDecoder, text: str, ids: Sequence[int], best: Sequence[Hypothesis], options: SearchOptions
) -> Translation | Fault:
    if not best[0].complete:
        limit, prefix = options.max_length or model.max_length, model.target.decode(best[0].symbols)
        message = (
            f"{text!r:.80}: no end within {limit} symbols: {prefix:.80} ... Raise `max_length` if it may be longer."
        )
        return Fault(repr(text), "without an end", message)
    candidates = tuple(
        Candidate(model.target.decode(one.symbols), _named(model.target, one.symbols), one.score) for one in best
    )
    first = candidates[0]
    return Translation(
        text, first.text, first.symbols, first.score, best[0].attention[:-1], _named(model.source, ids), candidates
    )


def _named(vocabulary: Vocabulary, ids: Iterable[int]) -> tuple[str, ...]:
    return tuple(vocabulary.symbols[index - 1] for index in ids)
