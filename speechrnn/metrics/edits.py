"""Edit distance between a reference and a hypothesis: counts, and the alignment of tokens."""

from __future__ import annotations

import dataclasses
import operator
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rapidfuzz.distance import Levenshtein, Opcodes

Pair = tuple[Hashable | None, Hashable | None]


@dataclass(frozen=True)
class Edits:
    """The edits that turn a reference into a hypothesis; add them up over a corpus.

    A rate is only meaningful over summed counts, so sum the `Edits` of a corpus
    (`sum(all_edits, Edits())`) and ask the sum for its `rate`.
    """

    hits: int = 0
    """Reference tokens that the hypothesis has too."""
    substitutions: int = 0
    """Reference tokens that were replaced by another token."""
    deletions: int = 0
    """Reference tokens that the hypothesis lacks."""
    insertions: int = 0
    """Hypothesis tokens without a reference token."""
    pairs: tuple[Pair, ...] = ()
    """`(reference, hypothesis)` tokens in order, None for a missing one; empty from `counts` and in sums."""

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together: the edit distance."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_length(self) -> int:
        """Number of reference tokens."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per reference token; for an empty reference 0.0 without errors, else infinity."""
        if self.reference_length == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.reference_length

    def __add__(self, other: Edits) -> Edits:
        """The sums of the counts, without pairs."""
        if not isinstance(other, Edits):
            return NotImplemented
        return Edits(*map(operator.add, self._counts, other._counts))

    @property
    def _counts(self) -> tuple[int, int, int, int]:
        return self.hits, self.substitutions, self.deletions, self.insertions

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        names = ("reference", "hits", "substitutions", "deletions", "insertions")
        return dict(zip(names, (self.reference_length, *self._counts), strict=True))


def align(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """Align two token sequences with the fewest substitutions, deletions and insertions.

    Of several such alignments it takes rapidfuzz's, which is also jiwer's, so that the counts are equal too, not only
    the distance: read from the end, a deletion comes before an insertion, and both come before a pair of tokens.

    Args:
        reference: Reference tokens: a list of words, or a string for its characters.
        hypothesis: Recognized tokens of the same kind.

    Returns:
        The counts, and the aligned `pairs` in order.

    Example:
    >>> align("two four six".split(), "two for six seven".split()).pairs
    (('two', 'two'), ('four', 'for'), ('six', 'six'), (None, 'seven'))
    """
    steps = Levenshtein.opcodes(reference, hypothesis)
    sides = ((reference[s.src_start : s.src_end], hypothesis[s.dest_start : s.dest_end]) for s in steps)
    pairs = tuple(pair for left, right in sides for pair in zip_longest(left, right))
    return dataclasses.replace(_count(steps), pairs=pairs)


def counts(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """The counts of `align` without its pairs, to save memory over a corpus."""
    return _count(Levenshtein.opcodes(reference, hypothesis))


def _count(steps: Opcodes) -> Edits:
    by_tag: Counter[str] = Counter()
    for step in steps:
        by_tag[step.tag] += max(step.src_end - step.src_start, step.dest_end - step.dest_start)
    return Edits(by_tag["equal"], by_tag["replace"], by_tag["delete"], by_tag["insert"])
