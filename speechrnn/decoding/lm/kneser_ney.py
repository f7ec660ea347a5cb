"""Modified Kneser-Ney smoothing, interpolated (Chen and Goodman 1999, section 3; as KenLM's `lmplz` counts).

The text is kept on disk and counted in blocks, so that memory holds the different n-grams and not the text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # NumPy is imported once there is something to train, so that a help text needs none
    from speechrnn.decoding.lm.ngram import NGram


def train(
    sentences: Iterable[str],
    *,
    order: int = 3,
    characters: bool = False,
    prune: float = 0.0,
    vocabulary: Collection[str] | None = None,
) -> NGram:
    """Estimate an n-gram model.

    Args:
        sentences: One sentence each, words separated by white space; they are read once and not kept in memory.
        order: Longest n-grams.
        characters: Model characters instead of words; a space is `<space>`.
        prune: Leave out n-grams without which the perplexity grows by less than this share, such as 1e-8; see
            `speechrnn.decoding.lm.pruning`.
        vocabulary: The words that the model knows, such as a lexicon's; all others count as `<unk>`. All words of the
            sentences if not given.

    Returns:
        The model. `<s>` has no probability of its own (-99, as is customary), `<unk>` has what the unigrams' discount
        leaves, and what the words outside `vocabulary` had.

    Raises:
        ValueError: `order` is not positive, `prune` is negative, there are no words, or a sentence holds `<s>`,
            `</s>` or `<unk>`.

    Example:
    >>> model = train(["a b", "a c", "a b"], order=2)
    >>> model.words, model.sizes
    (('<unk>', '<s>', '</s>', 'a', 'b', 'c'), (6, 5))
    """
    import numpy as np

    from speechrnn.decoding.lm import counting
    from speechrnn.decoding.lm.ngram import NGram
    from speechrnn.decoding.lm.pruning import leave_out, pack

    if order < 1:
        raise ValueError(f"`order` must be at least 1. Received: {order}.")
    if not 0 <= prune < 1:
        raise ValueError(f"`prune` must be at least 0 and less than 1. Received: {prune}.")
    with tempfile.TemporaryFile() as file:
        words, tokens = counting.corpus(sentences, characters, vocabulary, file)
        levels = counting.count_ngrams(tokens, len(words), order)
        total = len(tokens)
        del tokens
    for n, level in enumerate(levels, start=1):
        counts = counting.adjusted_counts(levels, n)
        discounts = counting.discounts(counts, n)
        if n > 1:
            levels[n - 2].backoffs = counting.backoffs(level, counts, discounts, len(levels[n - 2].words))
        level.logs = counting.estimate(level, counts, discounts, levels[n - 2] if n > 1 else None)
    levels[-1].backoffs = np.zeros(0)
    if prune:
        leave_out(levels, prune, total)
    return NGram.of_arrays(words, [len(level.words) for level in levels], *pack(levels))
