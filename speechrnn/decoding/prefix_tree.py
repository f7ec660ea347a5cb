"""Pronunciations as a prefix tree in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class PrefixTree(NamedTuple):
    """Pronunciations that share their beginnings; node 0 is the empty one.

    Nodes are sorted by their depth, then by their symbols, so that the children of a node are neighbors and those of
    `node` end where those of `node + 1` begin.
    """

    first: np.ndarray
    """int32 `(nodes + 1,)`: the first child of each node."""
    symbols: np.ndarray
    """int32 `(nodes,)`: the last symbol of each node, 0 for the root."""
    parents: np.ndarray
    """int32 `(nodes,)`, 0 for the root."""
    ends: np.ndarray
    """int32 `(nodes + 1,)`: the first of the pronunciations that end at each node, in `order`."""
    order: np.ndarray
    """int64 `(pronunciations,)`: the pronunciations, sorted by their nodes."""
    nodes: np.ndarray
    """int32 `(pronunciations,)`: the node of each pronunciation, as they were given."""

    def paths(self, nodes: np.ndarray) -> np.ndarray:
        """The nodes, and all on the way to them, but the root: int32, sorted, each once."""
        found = [nodes]
        while len(nodes := np.unique(self.parents[nodes])) > 1 or (len(nodes) and nodes[0]):
            found.append(nodes)
        every = np.unique(np.concatenate(found))
        return every[every > 0]

    def maxima(self, values: np.ndarray) -> np.ndarray:
        """float64 `(nodes,)`: the highest value of a pronunciation at or below each node; -inf where there is none.

        Args:
            values: float `(pronunciations,)`, as they were given.
        """
        found = np.full(len(self.symbols), -np.inf)
        np.maximum.at(found, self.nodes, values)
        for low, high in reversed(self._levels()):
            np.maximum.at(found, self.parents[low:high], found[low:high])
        return found

    def _levels(self) -> list[tuple[int, int]]:
        """First node and end of each depth from 1."""
        levels, low, high = [], 1, int(self.first[1])
        while low < high:
            levels.append((low, high))
            low, high = high, int(self.first[high])
        return levels


def build(pronunciations: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of pronunciations, each a sequence of positive symbols that is not empty.

    Example:
    >>> tree = build([[1, 2], [1], [3]])
    >>> tree.symbols.tolist(), tree.parents.tolist(), tree.nodes.tolist()
    ([0, 1, 3, 2], [0, 0, 0, 1], [3, 1, 2])
    """
    lengths = np.fromiter(map(len, pronunciations), np.int64, len(pronunciations))
    most = int(lengths.max())
    table = np.zeros((len(lengths), most), np.int32)
    table[np.arange(most) < lengths[:, None]] = np.fromiter(
        (symbol for symbols in pronunciations for symbol in symbols), np.int32, int(lengths.sum())
    )
    ascending = np.lexsort(table.T[::-1])
    table, lengths = table[ascending], lengths[ascending]
    differs = np.ones(table.shape, bool)  # from the pronunciation before, in this symbol or an earlier one
    differs[1:] = np.logical_or.accumulate(table[1:] != table[:-1], axis=1)
    symbols, parents, ends = [np.zeros(1, np.int32)], [np.zeros(1, np.int64)], np.zeros(len(lengths), np.int64)
    at, count = np.zeros(len(lengths), np.int64), 1
    for depth in range(most):
        reached = lengths > depth
        new = differs[:, depth] & reached
        symbols.append(table[new, depth])
        parents.append(at[new])
        at = np.where(reached, count + np.cumsum(new) - 1, at)
        ends[lengths == depth + 1] = at[lengths == depth + 1]
        count += int(new.sum())
    above = np.concatenate(parents)
    first = 1 + np.searchsorted(above[1:], np.arange(count + 1))
    order = np.argsort(ends, kind="stable")
    nodes = np.empty(len(ends), np.int32)
    nodes[ascending] = ends
    return PrefixTree(
        first.astype(np.int32),
        np.concatenate(symbols),
        above.astype(np.int32),
        np.searchsorted(ends[order], np.arange(count + 1)).astype(np.int32),
        ascending[order],
        nodes,
    )
