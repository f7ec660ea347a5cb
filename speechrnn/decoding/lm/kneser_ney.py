"""Modified Kneser-Ney smoothing, interpolated (Chen and Goodman 1999, section 3; as KenLM's `lmplz` counts)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from speechrnn.decoding.lm import arpa
from speechrnn.decoding.lm.ngram import BEGIN, END, SPACE, UNKNOWN

_SPECIAL = (UNKNOWN, BEGIN, END)
_FALLBACK = (0.5, 1.0, 1.5)
_log = logging.getLogger(__name__)


class _Counted(NamedTuple):
    """The n-grams of one order in a corpus."""

    contexts: np.ndarray
    """int64 `(ngrams,)`: the n-gram of the order below that they begin with."""
    suffixes: np.ndarray
    """int64 `(ngrams,)`: the n-gram of the order below that they end with."""
    words: np.ndarray
    """int32 `(ngrams, order)`."""
    counts: np.ndarray
    """int64 `(ngrams,)`: how often each occurs."""


def train(sentences: Iterable[str], *, order: int = 3, characters: bool = False) -> tuple[list[str], list[arpa.Level]]:
    """Estimate an n-gram model.

    Args:
        sentences: One sentence each, words separated by white space.
        order: Longest n-grams.
        characters: Model characters, a space being `<space>`, instead of words.

    Returns:
        The words and the n-grams of each order, as `arpa.write` and `NGram` take them. `<s>` has no
        probability of its own (-99, as is customary), `<unk>` has what the unigrams' discount leaves.

    Raises:
        ValueError: `order` is not positive, there are no words, or a sentence holds `<s>`, `</s>` or `<unk>`.

    Example:
    >>> words, levels = train(["a b", "a c", "a b"], order=2)
    >>> words, [len(level.words) for level in levels]
    (['<unk>', '<s>', '</s>', 'a', 'b', 'c'], [6, 5])
    """
    if order < 1:
        raise ValueError(f"`order` must be at least 1. Received: {order}.")
    words, tokens, numbers = _corpus(sentences, characters)
    counted = _count(tokens, numbers, len(words), order)
    levels: list[arpa.Level] = []
    for n, here in enumerate(counted, start=1):
        counts = _adjusted(counted, n)
        discounts = _discounts(counts, n)[np.minimum(counts, 3)]
        if levels:
            levels[-1] = levels[-1]._replace(backoffs=_backoffs(here, counts, discounts, len(counted[n - 2].counts)))
        levels.append(_estimate(here, counts, discounts, levels))
    return words, levels


def _corpus(sentences: Iterable[str], characters: bool) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The words, their indices through the corpus with both ends of each sentence, and each one's sentence."""
    indices = {word: i for i, word in enumerate(_SPECIAL)}
    tokens: list[int] = []
    lengths = []
    for sentence in sentences:
        parts = sentence.split()
        if characters:
            parts = [SPACE if c == " " else c for c in " ".join(parts)]
        for word in parts:
            if word in _SPECIAL:
                raise ValueError(f"A text must not hold {', '.join(_SPECIAL)}. Received: {sentence!r:.100}.")
        tokens.append(1)
        tokens.extend(indices.setdefault(word, len(indices)) for word in parts)
        tokens.append(2)
        lengths.append(len(parts) + 2)
    if len(indices) == len(_SPECIAL):
        raise ValueError("A language model needs a text with at least one word. Received none.")
    return list(indices), np.array(tokens, np.int64), np.repeat(np.arange(len(lengths)), lengths)


def _count(tokens: np.ndarray, sentences: np.ndarray, width: int, order: int) -> list[_Counted]:
    """Distinct n-grams of each order; the unigrams are all words, seen or not."""
    nothing = np.zeros(width, np.int64)
    unigrams = np.arange(width, dtype=np.int32)[:, None]
    found = [_Counted(nothing, nothing, unigrams, np.bincount(tokens, minlength=width))]
    numbers = tokens  # of the n-gram that starts at each place
    for n in range(2, order + 1):
        whole = sentences[: max(0, len(tokens) - n + 1)] == sentences[n - 1 :]
        places = np.flatnonzero(whole)
        keys = numbers[places] * width + tokens[places + n - 1]
        distinct, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        contexts, suffixes = distinct // width, numbers[places[first] + 1]
        words = np.column_stack([found[-1].words[contexts], distinct % width]).astype(np.int32)
        found.append(_Counted(contexts, suffixes, words, counts))
        numbers = np.zeros(len(tokens), np.int64)
        numbers[places] = inverse
    return found


def _adjusted(counted: list[_Counted], n: int) -> np.ndarray:
    """What an order counts: occurrences at the top and after `<s>`, elsewhere distinct words before the n-gram."""
    here = counted[n - 1]
    if n == len(counted):
        counts = here.counts.copy()
    else:
        counts = np.bincount(counted[n].suffixes, minlength=len(here.counts))
        begins = here.words[:, 0] == 1
        counts[begins] = here.counts[begins]
    if n == 1:
        counts[1] = 0  # <s> is given, never foretold
    return counts


def _discounts(counts: np.ndarray, order: int) -> np.ndarray:
    """float64 `(4,)`: what is taken from counts of 0, 1, 2, and 3 or more (equation 26 of Chen and Goodman)."""
    n = [int((counts == k).sum()) for k in range(5)]
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        if all(0 <= d <= k for k, d in enumerate(found, start=1)):
            return np.array([0.0, *found])
    _log.info(
        "The counts of counts of the %d-grams (%s) allow no estimate of the discounts: %s are taken.",
        order,
        ", ".join(map(str, n[1:])),
        _FALLBACK,
    )
    return np.array([0.0, *_FALLBACK])


def _estimate(here: _Counted, counts: np.ndarray, discounts: np.ndarray, below: list[arpa.Level]) -> arpa.Level:
    """Discounted counts, and what the discounts leave given to the order below (equation 25)."""
    if not below:
        share = discounts.sum() / counts.sum() / (len(counts) - 1)  # <s> is no outcome
        probabilities = (counts - discounts) / counts.sum() + share
        probabilities[1] = 10.0**-99
    else:
        totals = np.bincount(here.contexts, counts)[here.contexts]
        left = np.exp(below[-1].backoffs[here.contexts])
        shorter = np.exp(below[-1].log_probabilities[here.suffixes])
        probabilities = (counts - discounts) / totals + left * shorter
    return arpa.Level(here.words, np.log(probabilities), np.zeros(len(counts)))


def _backoffs(above: _Counted, counts: np.ndarray, discounts: np.ndarray, contexts: int) -> np.ndarray:
    """Logarithm of the weight that each context leaves to shorter ones; 0 where nothing follows it."""
    totals = np.bincount(above.contexts, counts, minlength=contexts)
    left = np.bincount(above.contexts, discounts, minlength=contexts)
    return np.log(np.where(totals > 0, left / np.maximum(totals, 1), 1.0))
