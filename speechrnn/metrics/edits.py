"""Minimum edit distance: how a hypothesis differs from its reference, token by token."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

Pair = tuple[Hashable | None, Hashable | None]
Column = tuple[int, int]

_KEPT_BITS = 1 << 28  # of each bit matrix; a longer alignment recomputes its columns block by block


@dataclass(frozen=True)
class Edits:
    """The edits that turn a reference into a hypothesis; add them up over a corpus.

    A rate is only meaningful over summed counts, so sum the `Edits` of a corpus
    (`sum(all_edits, Edits())`) and ask the sum for its `rate`.
    """

    hits: int = 0
    """Reference tokens that were found."""
    substitutions: int = 0
    """Reference tokens that became another token."""
    deletions: int = 0
    """Reference tokens that are missing."""
    insertions: int = 0
    """Hypothesis tokens that stand for no reference token."""
    pairs: tuple[Pair, ...] = ()
    """`(reference, hypothesis)` tokens in order, None on the side that lacks one; empty from `counts`."""

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
        """Errors per reference token; with an empty reference 0.0 where there are no errors, else infinity."""
        if self.reference_length == 0:
            return float("inf") if self.errors else 0.0
        return self.errors / self.reference_length

    def __add__(self, other: Edits) -> Edits:
        """The edits of both, counts summed."""
        if not isinstance(other, Edits):
            return NotImplemented
        return Edits(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.pairs + other.pairs,
        )


def align(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """Align two token sequences with the fewest substitutions, deletions and insertions.

    Of several such alignments it always takes the one that jiwer (rapidfuzz) takes,
    so the counts equal jiwer's and not only the distance.

    Args:
        reference: What was said; a list of words, or a string for its characters.
        hypothesis: What was recognised, in the same kind of tokens.

    Returns:
        The counts, and the aligned `pairs` in order.

    Example:
    >>> align("two four six".split(), "two for six seven".split()).pairs
    (('two', 'two'), ('four', 'for'), ('six', 'six'), (None, 'seven'))
    """
    head, tail = _common_ends(reference, hypothesis)
    middle = slice(head, len(reference) - tail), slice(head, len(hypothesis) - tail)
    steps = list(_trace_back(reference[middle[0]], hypothesis[middle[1]]))[::-1]
    pairs = (
        *((token, token) for token in reference[:head]),
        *steps,
        *((token, token) for token in reference[len(reference) - tail :]),
    )
    return _count(steps, head + tail, pairs)


def counts(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """The counts of `align` without its pairs: less memory when summed over a corpus."""
    head, tail = _common_ends(reference, hypothesis)
    middle = slice(head, len(reference) - tail), slice(head, len(hypothesis) - tail)
    return _count(list(_trace_back(reference[middle[0]], hypothesis[middle[1]])), head + tail, ())


def _count(steps: Sequence[Pair], hits: int, pairs: tuple[Pair, ...]) -> Edits:
    deletions = sum(token is None for _, token in steps)
    insertions = sum(token is None for token, _ in steps)
    matches = sum(left == right for left, right in steps)
    return Edits(hits + matches, len(steps) - deletions - insertions - matches, deletions, insertions, pairs)


def _common_ends(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> tuple[int, int]:
    """Lengths of the common start and, in what is left, of the common end."""
    shorter = min(len(reference), len(hypothesis))
    head = 0
    while head < shorter and reference[head] == hypothesis[head]:
        head += 1
    tail = 0
    while tail < shorter - head and reference[-1 - tail] == hypothesis[-1 - tail]:
        tail += 1
    return head, tail


def _columns(
    hypothesis: Sequence[Hashable], places: dict[Hashable, int], ones: int, column: Column
) -> Iterator[Column]:
    """The differences down each column of the distance matrix as two bit sets: where it rises and where it falls.

    Hyyrö (2003), "A bit-vector algorithm for computing Levenshtein and Damerau edit
    distances". A Python integer holds a column of any height, so a token of the
    hypothesis costs about ten operations on `len(reference) / 64` machine words.
    """
    rises, falls = column
    for token in hypothesis:
        match = places.get(token, 0)
        diagonal = ((((match & rises) + rises) ^ rises) | match | falls) & ones
        right_rises = (falls | ~(diagonal | rises)) & ones
        right_falls = diagonal & rises
        right_rises = ((right_rises << 1) | 1) & ones
        right_falls = (right_falls << 1) & ones
        rises = (right_falls | ~(diagonal | right_rises)) & ones
        falls = right_rises & diagonal
        yield rises, falls


def _trace_back(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Iterator[Pair]:
    """Aligned pairs from the last to the first; ties as rapidfuzz breaks them."""
    row, column = len(reference), len(hypothesis)
    places: dict[Hashable, int] = {}
    for index, token in enumerate(reference):
        places[token] = places.get(token, 0) | (1 << index)
    ones = (1 << row) - 1
    block = max(1, _KEPT_BITS // max(1, row))
    starts = _block_starts(hypothesis, places, ones, block)
    kept: list[Column] = []
    first = column + 1  # column number of kept[0]
    while row and column:
        if column <= first:  # the column to the left is needed too, and a block keeps the one before it
            first = (column - 1) // block * block
            part = hypothesis[first : first + block]
            kept = [starts[first // block], *_columns(part, places, ones, starts[first // block])]
        bit = 1 << (row - 1)
        if kept[column - first][0] & bit:
            row -= 1
            yield reference[row], None
            continue
        column -= 1
        if kept[column - first][1] & bit:
            yield None, hypothesis[column]
        else:
            row -= 1
            yield reference[row], hypothesis[column]
    while row:
        row -= 1
        yield reference[row], None
    while column:
        column -= 1
        yield None, hypothesis[column]


def _block_starts(hypothesis: Sequence[Hashable], places: dict[Hashable, int], ones: int, block: int) -> list[Column]:
    """The column before each block of hypothesis tokens."""
    starts = [(ones, 0)]
    if len(hypothesis) > block:
        for number, column in enumerate(_columns(hypothesis, places, ones, starts[0]), start=1):
            if number % block == 0:
                starts.append(column)
    return starts
