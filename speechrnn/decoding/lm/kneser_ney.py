"""Modified Kneser-Ney smoothing, interpolated (Chen and Goodman 1999, section 3; as KenLM's `lmplz` counts).

The text is kept on disk and counted in blocks, so that memory holds the different n-grams and not the text.
"""

from __future__ import annotations

import array
import logging
import tempfile
from collections.abc import Collection, Iterable, Iterator
from typing import IO, Any

import numpy as np

from speechrnn.decoding.lm.ngram import BEGIN, END, SPACE, UNKNOWN, NGram
from speechrnn.decoding.lm.pruning import Level, chunks, joined, prune

_SPECIAL = (UNKNOWN, BEGIN, END)
_FALLBACK = (0.5, 1.0, 1.5)
_BLOCK = 1 << 21
"""Words counted at once."""
_log = logging.getLogger(__name__)


def train(
    sentences: Iterable[str],
    *,
    order: int = 3,
    characters: bool = False,
    pruning: float = 0.0,
    vocabulary: Collection[str] | None = None,
) -> NGram:
    """Estimate an n-gram model.

    Args:
        sentences: One sentence each, words separated by white space; they are read once and not kept in memory.
        order: Longest n-grams.
        characters: Model characters, a space being `<space>`, instead of words.
        pruning: Leave out n-grams without which the perplexity grows by less than this share, such as 1e-8; see
            `speechrnn.decoding.lm.pruning`.
        vocabulary: The words that the model knows, such as a lexicon's; all others count as `<unk>`. All words of the
            sentences if not given.

    Returns:
        The model. `<s>` has no probability of its own (-99, as is customary), `<unk>` has what the unigrams' discount
        leaves, and what the words outside `vocabulary` had.

    Raises:
        ValueError: `order` is not positive, `pruning` is negative, there are no words, or a sentence holds `<s>`,
            `</s>` or `<unk>`.

    Example:
    >>> model = train(["a b", "a c", "a b"], order=2)
    >>> model.words, model.sizes
    (('<unk>', '<s>', '</s>', 'a', 'b', 'c'), (6, 5))
    """
    if order < 1:
        raise ValueError(f"`order` must be at least 1. Received: {order}.")
    if not 0 <= pruning < 1:
        raise ValueError(f"`pruning` must be at least 0 and less than 1. Received: {pruning}.")
    with tempfile.TemporaryFile() as file:
        words, tokens = _corpus(sentences, characters, vocabulary, file)
        levels = _counted(tokens, len(words), order)
        total = len(tokens)
        del tokens
    for n, level in enumerate(levels, start=1):
        counts = _adjusted(levels, n)
        discounts = _discounts(counts, n)
        if n > 1:
            levels[n - 2].backoffs = _backoffs(level, counts, discounts, len(levels[n - 2].words))
        level.logs = _estimate(level, counts, discounts, levels[n - 2] if n > 1 else None)
    levels[-1].backoffs = np.zeros(0)
    if pruning:
        prune(levels, pruning, total)
    return NGram.of_arrays(words, [len(level.words) for level in levels], *joined(levels))


def _corpus(
    sentences: Iterable[str], characters: bool, vocabulary: Collection[str] | None, file: IO[bytes]
) -> tuple[list[str], np.ndarray]:
    """The words, and their indices through the corpus with both ends of each sentence: int32, in the file."""
    indices = {word: i for i, word in enumerate(_SPECIAL)}
    closed = vocabulary is not None
    if vocabulary is not None:
        for word in vocabulary:
            indices.setdefault(word, len(indices))
    tokens, special = array.array("i"), set(_SPECIAL)
    for sentence in sentences:
        parts = sentence.split()
        if characters:
            parts = [SPACE if c == " " else c for c in " ".join(parts)]
        tokens.append(1)
        if closed:
            tokens.extend([indices.get(word, 0) for word in parts])
        else:
            tokens.extend([indices.setdefault(word, len(indices)) for word in parts])
        tokens.append(2)
        if not special.isdisjoint(parts):
            raise ValueError(f"A text must not hold {', '.join(_SPECIAL)}. Received: {sentence!r:.100}.")
        if len(tokens) > _BLOCK:
            tokens.tofile(file)
            del tokens[:]
    tokens.tofile(file)
    if len(indices) == len(_SPECIAL):
        raise ValueError("A language model needs a text with at least one word. Received none.")
    file.flush()
    return list(indices), np.memmap(file, np.intc, "r")


def _counted(tokens: np.ndarray, width: int, order: int) -> list[Level]:
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


def _adjusted(levels: list[Level], n: int) -> np.ndarray:
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


def _estimate(here: Level, counts: np.ndarray, discounts: np.ndarray, below: Level | None) -> np.ndarray:
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


def _backoffs(above: Level, counts: np.ndarray, discounts: np.ndarray, contexts: int) -> np.ndarray:
    """Logarithm of the weight that each context leaves to shorter ones; 0 where nothing follows it."""
    totals = np.bincount(above.contexts, counts, minlength=contexts)
    left = np.bincount(above.contexts, discounts[np.minimum(counts, 3)], minlength=contexts)
    return np.log(np.where(totals > 0, left / np.maximum(totals, 1), 1.0))
