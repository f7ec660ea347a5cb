"""Pairs letters with phones by expectation maximization, compiled by numba; see `speechrnn.decoding.letters`.

A pair is one letter with no phone, one or two, or two letters with one phone (Jiampojamarn, Kondrak and Sherif 2007).
"""

from __future__ import annotations

import numpy as np

from speechrnn.decoding.compiling import inner, outer

SIZES = ((1, 0), (1, 1), (1, 2), (2, 1))
"""Letters and phones of a pair of each kind."""
_SIZES = np.array(SIZES)


@inner
def _index(kind: int, letters: np.ndarray, i: int, phones: np.ndarray, j: int, counts: np.ndarray) -> int:
    """Index in the table of the pair that begins at letter `i` and phone `j`; `counts`: of letters and of phones."""
    num_letters, num_phones = counts
    if kind == 0:
        return letters[i]
    start = num_letters
    if kind == 1:
        return start + letters[i] * num_phones + phones[j]
    start += num_letters * num_phones
    if kind == 2:
        return start + (letters[i] * num_phones + phones[j]) * num_phones + phones[j + 1]
    start += num_letters * num_phones * num_phones
    return start + (letters[i] * num_letters + letters[i + 1]) * num_phones + phones[j]


@outer
def _add_expected(
    letters: np.ndarray, phones: np.ndarray, ends: np.ndarray, table: np.ndarray, counts: np.ndarray, sizes: np.ndarray,
    forward: np.ndarray, backward: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Add to `sums` the expected count of each pair in all words; `forward` and `backward` are buffers for one word."""
    for word in range(len(ends) - 1):
        first, last = ends[word, 0], ends[word, 1]
        n, m = ends[word + 1, 0] - first, ends[word + 1, 1] - last
        for i in range(n + 1):
            for j in range(m + 1):
                forward[i, j], backward[i, j] = 0.0, 0.0
        forward[0, 0] = backward[n, m] = 1.0
        for i in range(n + 1):
            for j in range(m + 1):
                for kind in range(4):
                    a, b = i + sizes[kind, 0], j + sizes[kind, 1]
                    if forward[i, j] > 0 and a <= n and b <= m:
                        pair = _index(kind, letters, first + i, phones, last + j, counts)
                        forward[a, b] += forward[i, j] * table[pair]
        if forward[n, m] <= 0:
            continue
        for i in range(n, -1, -1):
            for j in range(m, -1, -1):
                for kind in range(4):
                    a, b = i + sizes[kind, 0], j + sizes[kind, 1]
                    if a <= n and b <= m:
                        pair = _index(kind, letters, first + i, phones, last + j, counts)
                        part = table[pair] * backward[a, b]
                        backward[i, j] += part
                        sums[pair] += forward[i, j] * part / forward[n, m]


@outer
def _best(
    letters: np.ndarray, phones: np.ndarray, table: np.ndarray, counts: np.ndarray, sizes: np.ndarray,
    score: np.ndarray, kinds: np.ndarray, best: np.ndarray,
) -> int:  # fmt: skip
    """Fill in `best` from its end, and return where it begins. `score`, zeros, and `kinds` are buffers."""
    n, m, start = len(letters), len(phones), len(best)
    score[0, 0] = 1.0
    for i in range(n + 1):
        for j in range(m + 1):
            for kind in range(4):
                a, b = i + sizes[kind, 0], j + sizes[kind, 1]
                if score[i, j] > 0 and a <= n and b <= m:
                    value = score[i, j] * table[_index(kind, letters, i, phones, j, counts)]
                    if value > score[a, b]:
                        score[a, b], kinds[a, b] = value, kind
    i, j = n, m
    while score[n, m] > 0 and i > 0:
        start -= 1
        kind = best[start] = kinds[i, j]
        i, j = i - sizes[kind, 0], j - sizes[kind, 1]
    return start


def best_kinds(letters: np.ndarray, phones: np.ndarray, table: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The kinds of the pairs of a word in its most probable segmentation, int64; empty if there is none."""
    shape, best = (len(letters) + 1, len(phones) + 1), np.zeros(len(letters), np.int64)
    return best[_best(letters, phones, table, counts, _SIZES, np.zeros(shape), np.zeros(shape, np.int64), best) :]


def train(letters: np.ndarray, phones: np.ndarray, ends: np.ndarray, counts: np.ndarray, rounds: int) -> np.ndarray:
    """Estimate the probability of each pair, float64 `(pairs,)`, from uniform initial values.

    Args:
        letters: int64, the letters of all words.
        phones: int64, the phones of all words.
        ends: int64 `(words + 1, 2)`: where each word's letters and phones begin.
        counts: int64 `(2,)`: numbers of different letters and phones.
        rounds: Rounds of expectation maximization.
    """
    num_letters, num_phones = map(int, counts)
    table = np.ones(num_letters + num_letters * num_phones + num_letters * num_phones**2 + num_letters**2 * num_phones)
    table /= len(table)
    shape = np.diff(ends, axis=0).max(axis=0) + 1
    for _ in range(rounds):
        sums = np.zeros(len(table))
        _add_expected(letters, phones, ends, table, counts, _SIZES, np.empty(shape), np.empty(shape), sums)
        table = sums / max(float(sums.sum()), 1e-300)
    return table
