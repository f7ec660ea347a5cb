"""Targets of sources: texts searched for by an encoder-decoder, in batches of about equal lengths."""

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
    """What a search needs of a model, whatever runs it."""

    @property
    def source(self) -> Vocabulary:
        """Symbols of the sources."""

    @property
    def target(self) -> Vocabulary:
        """Symbols of the targets."""

    @property
    def max_length(self) -> int:
        """Most symbols of a target."""

    def begin(self, sources: Sequence[Sequence[int]]) -> tuple[Arrays, Arrays]:
        """What does not change in a sequence, and the states before its first symbol."""

    def step(self, previous: np.ndarray, memory: Arrays, states: Arrays) -> tuple[np.ndarray, np.ndarray, Arrays]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""


@dataclass(frozen=True)
class Candidate:
    """A target that the search found."""

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
    """float32 `(symbols, source symbols)`: where the decoder looked for each."""
    source: tuple[str, ...] = ()
    """The source's symbols."""
    candidates: tuple[Candidate, ...] = ()
    """The best targets, the likeliest first."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = {"source": self.path, "text": self.text, "symbols": list(self.symbols), "score": self.score}
        if len(self.candidates) > 1:
            found["candidates"] = [{"text": one.text, "score": one.score} for one in self.candidates]
        return found


@options_as_keywords(SearchOptions)
def outcomes(  # noqa: D417 - `takes` adds the options
    model: EncoderDecoder,
    sources: Iterable[str],
    *,
    options: SearchOptions,
    progress: Callable[[str], object] | None = None,
) -> Iterator[Translation | Fault]:
    """The target of each source, lazily and in the order given; or why there is none.

    Args:
        model: The model.
        sources: Texts.
        progress: Called with each source once it is done.
    """
    several = iter(sources)
    # The first batch alone: whoever asks for one answer does not wait for many.
    pool = list(itertools.islice(several, options.batch_size))
    while pool:
        for text, outcome in zip(pool, _pooled(model, pool, options), strict=True):
            if progress is not None:
                progress(text)
            yield outcome
        pool = list(itertools.islice(several, _POOL * options.batch_size))


def searched(model: EncoderDecoder, sources: Sequence[Sequence[int]], options: SearchOptions) -> list[list[Hypothesis]]:
    """The best sequences for each source, from indices, in the order given."""
    found: list[list[Hypothesis]] = [[]] * len(sources)
    limit = options.max_length or model.max_length
    order = np.argsort([len(source) for source in sources], kind="stable")
    for start in range(0, len(order), options.batch_size):
        places = order[start : start + options.batch_size]
        memory, states = model.begin([sources[place] for place in places])
        lengths = np.array([len(sources[place]) for place in places])
        best = beam_search(model.step, memory, states, lengths, max_length=limit, options=options)
        for place, hypotheses in zip(places, best, strict=True):
            found[place] = hypotheses
    return found


def _pooled(model: EncoderDecoder, texts: Sequence[str], options: SearchOptions) -> list[Translation | Fault]:
    made: list[Translation | Fault | None] = [None] * len(texts)
    sources: list[list[int]] = []
    places = []
    for place, text in enumerate(texts):
        try:
            if not isinstance(text, str):
                raise ValueError(f"a source must be a text. Received: {text!r:.80}.")
            sources.append(encoded(model.source, text, what="source", where=repr(text)))
            places.append(place)
        except ValueError as error:
            made[place] = Fault(repr(text), kind_of(error), str(error))
    for place, ids, best in zip(places, sources, searched(model, sources, options), strict=True):
        made[place] = _answer(model, texts[place], ids, best, options)
    return [one for one in made if one is not None]


def _answer(
    model: EncoderDecoder, text: str, ids: Sequence[int], best: Sequence[Hypothesis], options: SearchOptions
) -> Translation | Fault:
    if not best[0].complete:
        limit, begun = options.max_length or model.max_length, model.target.decode(best[0].symbols)
        message = (
            f"{text!r:.80}: no end within {limit} symbols: {begun:.80} ... Raise `max_length` if it may be longer."
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
