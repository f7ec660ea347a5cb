"""What Kneser-Ney smoothing is made of: n-grams counted in blocks, their discounts, and the estimates."""

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
"""Words counted at once."""
_log = logging.getLogger(__name__)


def corpus(
    sentences: Iterable[str], characters: bool, vocabulary: Collection[str] | None, file: IO[bytes]
) -> tuple[list[str], np.ndarray]:
    """The words, and their indices through the corpus with both ends of each sentence: int32, in the file."""
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


def counted(tokens: np.ndarray, width: int, order: int) -> list[Level]:
    """Distinct n-grams of each order; the unigrams are all words, seen or not."""
    nothing = np.zeros(width, np.int32)
    counts: Any = sum(np.bincount(block, minlength=width) for block in _blocks(tokens, 1))
    levels = [Level(np.arange(width, dtype=np.int32), nothing, nothing, counts)]
    keys = [np.arange(width)]  # context's n-gram times words, plus last word, of the n-grams of each order
    for n in range(2, order + 1):
        found = np.zeros(0, np.int64), np.zeros(0, np.int32)
        for block in _blocks(tokens, n):
            found = _merged(*found, *np.unique(_keys(block, keys, width), return_counts=True))
        contexts, words = (part.astype(np.int32) for part in np.divmod(found[0], width))
        suffixes = words
        if n > 2:
            suffixes = np.empty_like(words)
            for part in chunks(len(words)):
                wanted = levels[-1].suffixes[contexts[part]].astype(np.int64) * width + words[part]
                suffixes[part] = np.searchsorted(keys[-1], wanted)
        levels.append(Level(words, contexts, suffixes, found[1]))
        keys.append(found[0])
    return levels


def _blocks(tokens: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """The text in parts, each with the n - 1 words after it, which its last n-grams need."""
    for start in range(0, len(tokens), _BLOCK):
        yield np.asarray(tokens[start : start + _BLOCK + n - 1])


def _keys(block: np.ndarray, keys: list[np.ndarray], width: int) -> np.ndarray:
    """Keys of the n-grams within the sentences of a part of the text; `keys` are those of all shorter ones."""
    places = np.arange(len(block) - len(keys))
    numbers = block[: len(places)].astype(np.int64)
    for n in range(1, len(keys) + 1):
        following = block[places + n]
        within = following != 1
        places, numbers = places[within], numbers[within] * width + following[within]
        if n < len(keys):
            numbers = np.searchsorted(keys[n], numbers)
    return numbers


def _merged(
    keys: np.ndarray, counts: np.ndarray, others: np.ndarray, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two sorted arrays of distinct keys as one, with the sums of their counts."""
    places = np.searchsorted(keys, others)
    there = np.zeros(len(others), bool)
    inside = places < len(keys)
    there[inside] = keys[places[inside]] == others[inside]
    counts[places[there]] += more[there].astype(np.int32)
    places = places[~there]
    return np.insert(keys, places, others[~there]), np.insert(counts, places, more[~there].astype(np.int32))


def adjusted(levels: list[Level], n: int) -> np.ndarray:
    """What an order counts: occurrences at the top and after `<s>`, elsewhere distinct words before the n-gram."""
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
        counts[1] = 0  # <s> is given, never foretold
    return counts


def discounts(counts: np.ndarray, order: int) -> np.ndarray:
    """float64 `(4,)`: what is taken from counts of 0, 1, 2, and 3 or more (equation 26 of Chen and Goodman)."""
    n = [int((counts == k).sum()) for k in range(5)]
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        if all(0 <= d <= k for k, d in enumerate(found, start=1)):
            return np.array([0.0, *found])
    _log.info(
        "There are too few %d-grams to estimate their discounts; %g, %g and %g are used.",
        order,
        *_FALLBACK,
    )
    return np.array([0.0, *_FALLBACK])


def estimate(here: Level, counts: np.ndarray, discounts: np.ndarray, below: Level | None) -> np.ndarray:
    """Discounted counts, and what the discounts leave given to the order below (equation 25); logarithms."""
    if below is None:
        taken = discounts[np.minimum(counts, 3)]
        share = taken.sum() / counts.sum() / (len(counts) - 1)  # <s> is no outcome
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
    """Logarithm of the weight that each context leaves to shorter ones; 0 where nothing follows it."""
    totals = np.bincount(above.contexts, counts, minlength=contexts)
    left = np.bincount(above.contexts, discounts[np.minimum(counts, 3)], minlength=contexts)
    return np.log(np.where(totals > 0, left / np.maximum(totals, 1), 1.0))
