"""Parts of Kneser-Ney smoothing: counts of n-grams, discounts, and estimates."""

from __future__ import annotations

import array
import logging
from collections.abc import Collection, Iterable, Iterator
from typing import IO, Any

import numpy as np

from speechrnn.decoding.lm.ngram import BEGIN, END, SPACE, UNKNOWN
from speechrnn.decoding.lm.pruning import Level, chunks

_SPECIAL = (UNKNOWN, BEGIN, END)
_FALLBACK = (0.5, 1.0, 1.5)
_BLOCK = 1 << 21
"""Number of words in a block."""
_log = logging.getLogger(__name__)


def corpus(
    sentences: Iterable[str], characters: bool, vocabulary: Collection[str] | None, file: IO[bytes]
) -> tuple[list[str], np.ndarray]:
    """The words, and the corpus as their indices with both ends of each sentence: int32, memory-mapped to the file."""
    indices = {word: i for i, word in enumerate(_SPECIAL)}
    closed = vocabulary is not None
    if vocabulary is not None:
        for word in vocabulary:
            indices.setdefault(word, len(indices))
    tokens, special, known = array.array("i"), set(_SPECIAL), False
    first: str | None = None
    for sentence in sentences:
        parts = sentence.split()
        if characters:
            parts = [SPACE if c == " " else c for c in " ".join(parts)]
        tokens.append(1)
        ids = [indices.get(word, 0) if closed else indices.setdefault(word, len(indices)) for word in parts]
        tokens.extend(ids)
        tokens.append(2)
        first, known = first or next(iter(parts), None), known or any(ids)
        if not special.isdisjoint(parts):
            raise ValueError(f"A text must not hold {', '.join(_SPECIAL)}. Received: {sentence!r:.100}.")
        if len(tokens) > _BLOCK:
            tokens.tofile(file)
            del tokens[:]
    tokens.tofile(file)
    if first is None:
        raise ValueError("A language model needs a text with at least one word. Received none.")
    if not known:
        raise ValueError(
            f"The vocabulary has no word of the texts. Received: {len(indices) - len(_SPECIAL)} words, and texts that "
            f"begin with {first!r}. Are both in the same language, case and alphabet?"
        )
    file.flush()
    return list(indices), np.memmap(file, np.intc, "r")


def count_ngrams(tokens: np.ndarray, width: int, order: int) -> list[Level]:
    """Count the distinct n-grams of each order; the unigrams are all words, whether they occur or not."""
    zeros = np.zeros(width, np.int32)
    counts: Any = sum(np.bincount(block, minlength=width) for block in _blocks(tokens, 1))
    levels = [Level(np.arange(width, dtype=np.int32), zeros, zeros, counts)]
    keys = [np.arange(width)]  # context's n-gram times number of words, plus last word, of the n-grams of each order
    for n in range(2, order + 1):
        total = np.zeros(0, np.int64), np.zeros(0, np.int32)
        for block in _blocks(tokens, n):
            total = _merge(*total, *np.unique(_keys(block, keys, width), return_counts=True))
        contexts, words = (part.astype(np.int32) for part in np.divmod(total[0], width))
        suffixes = words
        if n > 2:
            suffixes = np.empty_like(words)
            for part in chunks(len(words)):
                suffix_keys = levels[-1].suffixes[contexts[part]].astype(np.int64) * width + words[part]
                suffixes[part] = np.searchsorted(keys[-1], suffix_keys)
        levels.append(Level(words, contexts, suffixes, total[1]))
        keys.append(total[0])
    return levels


def _blocks(tokens: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """The text in blocks, each with the n - 1 following words, which its last n-grams need."""
    for start in range(0, len(tokens), _BLOCK):
        yield np.asarray(tokens[start : start + _BLOCK + n - 1])


def _keys(block: np.ndarray, keys: list[np.ndarray], width: int) -> np.ndarray:
    """Keys of the n-grams within the sentences of a block; `keys` are those of all lower orders."""
    positions = np.arange(len(block) - len(keys))
    numbers = block[: len(positions)].astype(np.int64)
    for n in range(1, len(keys) + 1):
        following = block[positions + n]
        within = following != 1
        positions, numbers = positions[within], numbers[within] * width + following[within]
        if n < len(keys):
            numbers = np.searchsorted(keys[n], numbers)
    return numbers


def _merge(
    keys: np.ndarray, counts: np.ndarray, other_keys: np.ndarray, other_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Merge two sorted arrays of distinct keys, and add their counts."""
    indices = np.searchsorted(keys, other_keys)
    known = np.zeros(len(other_keys), bool)
    inside = indices < len(keys)
    known[inside] = keys[indices[inside]] == other_keys[inside]
    counts[indices[known]] += other_counts[known].astype(np.int32)
    indices = indices[~known]
    keys = np.insert(keys, indices, other_keys[~known])
    return keys, np.insert(counts, indices, other_counts[~known].astype(np.int32))


def adjusted_counts(levels: list[Level], n: int) -> np.ndarray:
    """Counts for an order: occurrences at the highest order and after `<s>`, else distinct words before the n-gram."""
    here = levels[n - 1]
    if n == len(levels):
        counts = here.counts.copy()
    else:
        counts = np.bincount(levels[n].suffixes, minlength=len(here.words))
        begins = np.arange(len(levels[0].words)) == 1
        for level in levels[1:n]:
            begins = begins[level.contexts]
        counts[begins] = here.counts[begins]
    if n == 1:
        counts[1] = 0  # <s> is never predicted
    return counts


def discounts(counts: np.ndarray, order: int) -> np.ndarray:
    """float64 `(4,)`: discounts for counts of 0, 1, 2, and 3 or more (equation 26 of Chen and Goodman)."""
    n = [int((counts == k).sum()) for k in range(5)]
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        estimates = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        if all(0 <= d <= k for k, d in enumerate(estimates, start=1)):
            return np.array([0.0, *estimates])
    _log.info(
        "There are too few %d-grams to estimate their discounts; %g, %g and %g are used.",
        order,
        *_FALLBACK,
    )
    return np.array([0.0, *_FALLBACK])


def estimate(here: Level, counts: np.ndarray, discounts: np.ndarray, below: Level | None) -> np.ndarray:
    """Log-probabilities from discounted counts, interpolated with the order below (equation 25)."""
    if below is None:
        taken = discounts[np.minimum(counts, 3)]
        share = taken.sum() / counts.sum() / (len(counts) - 1)  # <s> is not an outcome
        probabilities = (counts - taken) / counts.sum() + share
        probabilities[1] = 10.0**-99
        return np.log(probabilities)
    logs = np.empty(len(counts))
    totals = np.bincount(here.contexts, counts, minlength=len(below.words))
    for part in chunks(len(counts)):
        contexts, taken = here.contexts[part], discounts[np.minimum(counts[part], 3)]
        lower = np.exp(below.backoffs[contexts] + below.logs[here.suffixes[part]])
        logs[part] = np.log((counts[part] - taken) / totals[contexts] + lower)
    return logs


def backoffs(above: Level, counts: np.ndarray, discounts: np.ndarray, contexts: int) -> np.ndarray:
    """Logarithm of the backoff weight of each context; 0 if nothing follows it."""
    totals = np.bincount(above.contexts, counts, minlength=contexts)
    left = np.bincount(above.contexts, discounts[np.minimum(counts, 3)], minlength=contexts)
    return np.log(np.where(totals > 0, left / np.maximum(totals, 1), 1.0))
