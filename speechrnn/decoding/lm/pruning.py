"""Entropy-based pruning of n-gram models (Stolcke 1998), before they are packed into a trie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from speechrnn.decoding.lm import ngram

_CHUNK = 1 << 20
"""Number of n-grams in temporary arrays."""
_TINY = 1e-9


@dataclass(eq=False)
class Level:
    """The n-grams of one order, sorted by their contexts and then by their last words."""

    words: np.ndarray
    """int32 `(ngrams,)`: the last word of each."""
    contexts: np.ndarray
    """int32 `(ngrams,)`: the n-gram of the order below at the start of each."""
    suffixes: np.ndarray
    """int32 `(ngrams,)`: the n-gram of the order below at the end of each; after pruning, the node of the longest
    one."""
    counts: np.ndarray
    """int `(ngrams,)`: number of occurrences."""
    logs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 `(ngrams,)`: log-probabilities."""
    backoffs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 `(ngrams,)`: logarithms of the backoff weights."""
    pruned: bool = False


def chunks(length: int) -> Iterator[slice]:
    """Slices that cover an array of this length, short enough for temporary arrays."""
    for start in range(0, length, _CHUNK):
        yield slice(start, min(length, start + _CHUNK))


def leave_out(levels: Sequence[Level], threshold: float, total: int) -> None:
    """Remove n-grams without which the perplexity grows by a factor below `1 + threshold`, and renormalize.

    The gain of an n-gram `h w` is `P(h)` times the divergence between the distributions after `h` with and without it
    (equation 1 of Stolcke 1998). `P(h)` is the share of `h` in the text, since Kneser-Ney's lower orders do not
    estimate it (Chelba et al. 2010). Contexts of longer n-grams are kept; orders are pruned from the highest down.

    Args:
        levels: The n-grams from the unigrams, which are all kept. Changed in place.
        threshold: Positive.
        total: Number of words in the text.
    """
    kept = [np.ones(len(level.words), bool) for level in levels]
    for n in range(len(levels) - 1, 0, -1):
        kept[n] = _gains(levels[n], levels[n - 1], total) >= threshold
        if n + 1 < len(levels):
            kept[n][levels[n + 1].contexts[kept[n + 1]]] = True
    after = levels[0].logs  # log-probabilities, in the pruned model, of all n-grams of an order, with removed ones
    for n in range(1, len(levels)):
        here, below = levels[n], levels[n - 1]
        explicit, lower = _sums(here, len(below.words), after, kept[n])
        used = explicit > 0
        below.backoffs = np.zeros(len(below.words))
        below.backoffs[used] = np.log(np.maximum(1 - explicit[used], _TINY) / np.maximum(1 - lower[used], _TINY))
        if n + 1 < len(levels):
            after = np.where(kept[n], here.logs, below.backoffs[here.contexts] + after[here.suffixes])
    _drop(levels, kept)


def _sums(here: Level, contexts: int, lower: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the kept n-grams of each context: of their probabilities, and of those of their suffixes."""
    totals = np.zeros((2, contexts))
    for part in chunks(len(here.words)):
        indices = here.contexts[part][kept[part]]
        if len(indices):
            low = indices[0]
            for row, logs in zip(totals, (here.logs[part], lower[here.suffixes[part]]), strict=True):
                sums = np.bincount(indices - low, np.exp(logs[kept[part]]))
                row[low : low + len(sums)] += sums
    return totals[0], totals[1]


def _gains(here: Level, below: Level, total: int) -> np.ndarray:
    """Relative growth of the perplexity without each n-gram, float64 `(ngrams,)`."""
    explicit, lower = _sums(here, len(below.words), below.logs, np.ones(len(here.words), bool))
    gains = np.empty(len(here.words))
    for part in chunks(len(gains)):
        contexts, log = here.contexts[part], here.logs[part]
        short = below.logs[here.suffixes[part]]
        left, below_left = np.maximum(1 - explicit[contexts], _TINY), np.maximum(1 - lower[contexts], _TINY)
        probability = np.exp(log)
        backoff = np.log(left + probability) - np.log(below_left + np.exp(short))
        change = probability * (short + backoff - log) + left * (backoff - np.log(left / below_left))
        gains[part] = np.expm1(-change * below.counts[contexts] / total)
    return gains


def _drop(levels: Sequence[Level], kept: Sequence[np.ndarray]) -> None:
    """Remove n-grams that are not kept, renumber the others, and replace suffixes by nodes of kept n-grams."""
    start = 1  # node of the first n-gram of the order
    numbers, nodes = np.zeros(0, np.int32), np.zeros(0, np.int32)  # of the order below, -1 where it is left out
    for level, stays in zip(levels, kept, strict=True):
        suffixes = nodes[level.suffixes] if len(nodes) else np.zeros(len(stays), np.int32)
        contexts = numbers[level.contexts] if len(nodes) else level.contexts
        numbers = np.where(stays, np.cumsum(stays, dtype=np.int32) - 1, -1)
        nodes = np.where(stays, numbers + np.int32(start), suffixes)
        level.words, level.contexts, level.suffixes = level.words[stays], contexts[stays], suffixes[stays]
        level.counts, level.logs = level.counts[stays], level.logs[stays]
        level.backoffs = level.backoffs[stays] if len(level.backoffs) else level.backoffs
        level.pruned = True
        start += len(level.words)


def pack(levels: Sequence[Level]) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of `NGram.of_arrays`."""
    starts = np.cumsum([1, *(len(level.words) for level in levels)])
    contexts, suffixes = [np.zeros(len(levels[0].words), np.int32)], [np.zeros(1 + len(levels[0].words), np.int32)]
    for n, level in enumerate(levels[1:], start=1):
        contexts.append(level.contexts + np.int32(starts[n - 1]))
        suffixes.append(level.suffixes if level.pruned else level.suffixes + np.int32(starts[n - 1]))
    return ngram.pack(
        np.concatenate([level.words for level in levels]),
        np.concatenate(contexts),
        np.concatenate(suffixes[: max(1, len(levels) - 1)]) if len(levels) > 1 else np.zeros(1, np.int32),
        np.concatenate([level.logs for level in levels]),
        np.concatenate([np.zeros(0), *(level.backoffs for level in levels[:-1])]),
    )
