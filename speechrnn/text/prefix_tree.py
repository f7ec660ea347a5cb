"""Prefix trees of pronunciations, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class PrefixTree(NamedTuple):
    """Prefix tree of pronunciations; node 0 is the root.

    Nodes are sorted by depth, then by their symbols, so that the children of a node are consecutive, and those of
    `node + 1` follow those of `node`.
    """

    first: np.ndarray
    """int32 `(nodes + 1,)`: the first child of each node."""
    symbols: np.ndarray
    """int32 `(nodes,)`: the last symbol of each node, 0 for the root."""
    parents: np.ndarray
    """int32 `(nodes,)`, 0 for the root."""
    ends: np.ndarray
    """int32 `(nodes + 1,)`: index in `order` of the first pronunciation that ends at each node."""
    order: np.ndarray
    """int `(pronunciations,)`: the pronunciations, sorted by their nodes."""
    nodes: np.ndarray
    """int32 `(pronunciations,)`: the last node of each pronunciation, in their original order."""

    def paths(self, nodes: np.ndarray) -> np.ndarray:
        """The nodes and their ancestors, without the root: int32, sorted, each once."""
        levels = [nodes]
        while len(nodes := np.unique(self.parents[nodes])) > 1 or (len(nodes) and nodes[0]):
            levels.append(nodes)
        ancestors = np.unique(np.concatenate(levels))
        return ancestors[ancestors > 0]

    def maxima(self, values: np.ndarray) -> np.ndarray:
        """float64 `(nodes,)`: the highest value of a pronunciation at or below each node, or -inf.

        Args:
            values: float `(pronunciations,)`, in their original order.
        """
        maxima = np.full(len(self.symbols), -np.inf)
        np.maximum.at(maxima, self.nodes, values)
        for low, high in reversed(self._levels()):
            np.maximum.at(maxima, self.parents[low:high], maxima[low:high])
        return maxima

    def _levels(self) -> list[tuple[int, int]]:
        """First node and end of each depth from 1."""
        levels, low, high = [], 1, int(self.first[1])
        while low < high:
            levels.append((low, high))
            low, high = high, int(self.first[high])
        return levels


def from_counts(children: np.ndarray, symbols: np.ndarray, counts: np.ndarray, order: np.ndarray) -> PrefixTree:
    """A tree from the numbers of children and of pronunciations of its nodes.

    Args:
        children: int32 `(nodes,)`: number of children of each node.
        symbols: See `PrefixTree`.
        counts: int32 `(nodes,)`: number of pronunciations that end at each node.
        order: See `PrefixTree`.

    Raises:
        ValueError: The arrays are inconsistent.
    """
    if not 0 < len(children) == len(symbols) == len(counts):
        raise ValueError("its nodes are not as many as it says")
    numbers = np.arange(len(children), dtype=np.int32)
    if min(children.min(), counts.min()) < 0 or children.sum() != len(children) - 1 or counts.sum() != len(order):
        raise ValueError("its numbers of children or of pronunciations are wrong")
    parents = np.concatenate([numbers[:1], np.repeat(numbers, children)])
    ascending = (np.diff(symbols) > 0) | (np.diff(parents) > 0)
    if (parents[1:] >= numbers[1:]).any() or not ascending.all() or (counts[children == 0] == 0).any() or counts[0]:
        raise ValueError("its nodes are not in order")
    if symbols[0] or (symbols[1:] < 1).any():
        raise ValueError("its symbols are wrong")
    if order.min() < 0 or (np.bincount(order, minlength=len(order)) != 1).any():
        raise ValueError("its pronunciations are not each there once")
    nodes = np.empty(len(order), np.int32)
    nodes[order] = np.repeat(numbers, counts)
    first, ends = (np.concatenate([[0], np.cumsum(each)]).astype(np.int32) for each in (children, counts))
    return PrefixTree(first + np.int32(1), symbols, parents, ends, order, nodes)


def build(pronunciations: Sequence[Sequence[int]]) -> PrefixTree:
    """The prefix tree of pronunciations, each a non-empty sequence of positive symbols.

    Example:
    >>> tree = build([[1, 2], [1], [3]])
    >>> tree.symbols.tolist(), tree.parents.tolist(), tree.nodes.tolist()
    ([0, 1, 3, 2], [0, 0, 0, 1], [3, 1, 2])
    """
    lengths = np.fromiter(map(len, pronunciations), np.int64, len(pronunciations))
    longest = int(lengths.max())
    table = np.zeros((len(lengths), longest), np.int32)
    table[np.arange(longest) < lengths[:, None]] = np.fromiter(
        (symbol for symbols in pronunciations for symbol in symbols), np.int32, int(lengths.sum())
    )
    ascending = np.lexsort(table.T[::-1])
    table, lengths = table[ascending], lengths[ascending]
    differs = np.ones(table.shape, bool)  # from the previous pronunciation, in this symbol or an earlier one
    differs[1:] = np.logical_or.accumulate(table[1:] != table[:-1], axis=1)
    symbols, parents, ends = [np.zeros(1, np.int32)], [np.zeros(1, np.int64)], np.zeros(len(lengths), np.int64)
    node, count = np.zeros(len(lengths), np.int64), 1
    for depth in range(longest):
        reached = lengths > depth
        new = differs[:, depth] & reached
        symbols.append(table[new, depth])
        parents.append(node[new])
        node = np.where(reached, count + np.cumsum(new) - 1, node)
        ends[lengths == depth + 1] = node[lengths == depth + 1]
        count += int(new.sum())
    children, counts = (np.bincount(nodes, minlength=count) for nodes in (np.concatenate(parents[1:]), ends))
    return from_counts(children, np.concatenate(symbols), counts, ascending[np.argsort(ends, kind="stable")])
