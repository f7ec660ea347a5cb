"""n-gram models before they are a trie, and what can be left out of them (Stolcke 1998, "Entropy-based pruning")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from speechrnn.decoding.lm import ngram

_CHUNK = 1 << 20
"""n-grams reckoned with at once."""
_TINY = 1e-9


@dataclass(eq=False)
class Level:
    """The n-grams of one order, sorted by their contexts and then by their last words."""

    words: np.ndarray
    """int32 `(ngrams,)`: the last word of each."""
    contexts: np.ndarray
    """int32 `(ngrams,)`: the n-gram of the order below that each begins with."""
    suffixes: np.ndarray
    """int32 `(ngrams,)`: the n-gram of the order below that each ends with; once pruned, the longest one's node."""
    counts: np.ndarray
    """int `(ngrams,)`: how often each occurs."""
    logs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 `(ngrams,)`: natural logarithms of their probabilities."""
    backoffs: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """float64 `(ngrams,)`: natural logarithms of what each, as a context, leaves to shorter ones."""
    pruned: bool = False


def chunks(length: int) -> Iterator[slice]:
    """Slices that cover an array of this length, short enough for temporary arrays."""
    for start in range(0, length, _CHUNK):
        yield slice(start, min(length, start + _CHUNK))


def leave_out(levels: Sequence[Level], threshold: float, total: int) -> None:
    """Leave out n-grams whose absence raises the perplexity by a factor below `1 + threshold`, and renormalize.

    The gain of an n-gram `h w` is `P(h)` times the divergence of the distribution after `h` without it from that with
    it, all else unchanged (equation 1 of Stolcke 1998). `P(h)` is the share of `h` in the text: what Kneser-Ney's lower
    orders hold is no estimate of it (Chelba et al. 2010). n-grams that longer ones begin with stay; orders are pruned
    from the highest down.

    Args:
        levels: From the unigrams, which all stay. Changed in place.
        threshold: Positive.
        total: Words in the text.
    """
    kept = [np.ones(len(level.words), bool) for level in levels]
    for n in range(len(levels) - 1, 0, -1):
        kept[n] = _worth(levels[n], levels[n - 1], total) >= threshold
        if n + 1 < len(levels):
            kept[n][levels[n + 1].contexts[kept[n + 1]]] = True
    after = levels[0].logs  # probabilities in the pruned model of all n-grams of an order, those left out too
    for n in range(1, len(levels)):
        here, below = levels[n], levels[n - 1]
        explicit, lower = _sums(here, len(below.words), after, kept[n])
        some = explicit > 0
        below.backoffs = np.zeros(len(below.words))
        below.backoffs[some] = np.log(np.maximum(1 - explicit[some], _TINY) / np.maximum(1 - lower[some], _TINY))
        if n + 1 < len(levels):
            after = np.where(kept[n], here.logs, below.backoffs[here.contexts] + after[here.suffixes])
    _drop(levels, kept)


def _sums(here: Level, contexts: int, lower: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each context the sums of the probabilities of what is kept, and of the same words without the first one."""
    found = np.zeros((2, contexts))
    for part in chunks(len(here.words)):
        at = here.contexts[part][kept[part]]
        if len(at):
            low = at[0]
            for row, logs in zip(found, (here.logs[part], lower[here.suffixes[part]]), strict=True):
                sums = np.bincount(at - low, np.exp(logs[kept[part]]))
                row[low : low + len(sums)] += sums
    return found[0], found[1]


def _worth(here: Level, below: Level, total: int) -> np.ndarray:
    """By what share the perplexity grows without each n-gram, float64 `(ngrams,)`."""
    explicit, lower = _sums(here, len(below.words), below.logs, np.ones(len(here.words), bool))
    found = np.empty(len(here.words))
    for part in chunks(len(found)):
        contexts, log = here.contexts[part], here.logs[part]
        short = below.logs[here.suffixes[part]]
        left, below_left = np.maximum(1 - explicit[contexts], _TINY), np.maximum(1 - lower[contexts], _TINY)
        probability = np.exp(log)
        backoff = np.log(left + probability) - np.log(below_left + np.exp(short))
        change = probability * (short + backoff - log) + left * (backoff - np.log(left / below_left))
        found[part] = np.expm1(-change * below.counts[contexts] / total)
    return found


def _drop(levels: Sequence[Level], kept: Sequence[np.ndarray]) -> None:
    """Take out what is not kept, renumber the rest, and let suffixes be nodes that are there."""
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


def joined(levels: Sequence[Level]) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of `NGram.of_arrays`."""
    starts = np.cumsum([1, *(len(level.words) for level in levels)])
    contexts, suffixes = [np.zeros(len(levels[0].words), np.int32)], [np.zeros(1 + len(levels[0].words), np.int32)]
    for n, level in enumerate(levels[1:], start=1):
        contexts.append(level.contexts + np.int32(starts[n - 1]))
        suffixes.append(level.suffixes if level.pruned else level.suffixes + np.int32(starts[n - 1]))
    return ngram.joined(
        np.concatenate([level.words for level in levels]),
        np.concatenate(contexts),
        np.concatenate(suffixes[: max(1, len(levels) - 1)]) if len(levels) > 1 else np.zeros(1, np.int32),
        np.concatenate([level.logs for level in levels]),
        np.concatenate([np.zeros(0), *(level.backoffs for level in levels[:-1])]),
    )
