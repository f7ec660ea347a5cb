"""Letters paired with phones by expectation maximization, compiled by numba; see `speechrnn.decoding.letters`.

A pair is one letter with no phone, one or two, or two letters with one phone (Jiampojamarn, Kondrak and Sherif 2007).
"""

from __future__ import annotations

import numpy as np

from speechrnn.decoding.compiling import compiled

SIZES = ((1, 0), (1, 1), (1, 2), (2, 1))
"""Letters and phones of a pair of each kind."""
_SIZES = np.array(SIZES)


@compiled()
def _index(kind: int, letters: np.ndarray, i: int, phones: np.ndarray, j: int, many: np.ndarray) -> int:
    """Place in the table of the pair that begins at letter `i` and phone `j`; `many`: how many letters and phones."""
    count, sounds = many
    if kind == 0:
        return letters[i]
    place = count
    if kind == 1:
        return place + letters[i] * sounds + phones[j]
    place += count * sounds
    if kind == 2:
        return place + (letters[i] * sounds + phones[j]) * sounds + phones[j + 1]
    return place + count * sounds * sounds + (letters[i] * count + letters[i + 1]) * sounds + phones[j]


@compiled()
def _add_expected(
    letters: np.ndarray, phones: np.ndarray, table: np.ndarray, many: np.ndarray, sums: np.ndarray
) -> float:
    """Adds to `sums` how often each pair is expected in one word; gives the word's probability."""
    n, m = len(letters), len(phones)
    forward, backward = np.zeros((n + 1, m + 1)), np.zeros((n + 1, m + 1))
    forward[0, 0] = backward[n, m] = 1.0
    for i in range(n + 1):
        for j in range(m + 1):
            if forward[i, j] > 0:
                for kind in range(4):
                    a, b = i + _SIZES[kind, 0], j + _SIZES[kind, 1]
                    if a <= n and b <= m:
                        forward[a, b] += forward[i, j] * table[_index(kind, letters, i, phones, j, many)]
    whole = forward[n, m]
    if whole <= 0:
        return 0.0
    for i in range(n, -1, -1):
        for j in range(m, -1, -1):
            for kind in range(4):
                a, b = i + _SIZES[kind, 0], j + _SIZES[kind, 1]
                if a <= n and b <= m:
                    place = _index(kind, letters, i, phones, j, many)
                    part = table[place] * backward[a, b]
                    backward[i, j] += part
                    sums[place] += forward[i, j] * part / whole
    return whole


@compiled()
def _expected(
    letters: np.ndarray, phones: np.ndarray, ends: np.ndarray, table: np.ndarray, many: np.ndarray
) -> np.ndarray:
    """float64 `(pairs,)`: how often each pair is expected in all words."""
    sums = np.zeros(len(table))
    for word in range(len(ends) - 1):
        said = letters[ends[word, 0] : ends[word + 1, 0]], phones[ends[word, 1] : ends[word + 1, 1]]
        _add_expected(said[0], said[1], table, many, sums)
    return sums


@compiled()
def best_kinds(letters: np.ndarray, phones: np.ndarray, table: np.ndarray, many: np.ndarray) -> np.ndarray:
    """The kinds of the pairs of a word on its likeliest segmentation, int64; empty where there is none."""
    n, m = len(letters), len(phones)
    score, kinds = np.zeros((n + 1, m + 1)), np.full((n + 1, m + 1), -1)
    score[0, 0] = 1.0
    for i in range(n + 1):
        for j in range(m + 1):
            if score[i, j] > 0:
                for kind in range(4):
                    a, b = i + _SIZES[kind, 0], j + _SIZES[kind, 1]
                    if a <= n and b <= m:
                        value = score[i, j] * table[_index(kind, letters, i, phones, j, many)]
                        if value > score[a, b]:
                            score[a, b], kinds[a, b] = value, kind
    found = np.zeros(n if score[n, m] > 0 else 0, np.int64)
    i, j, used = n, m, len(found)
    while used and i > 0:
        kind = kinds[i, j]
        used -= 1
        found[used] = kind
        i, j = i - _SIZES[kind, 0], j - _SIZES[kind, 1]
    return found[used:]


def learned(letters: np.ndarray, phones: np.ndarray, ends: np.ndarray, many: np.ndarray, rounds: int) -> np.ndarray:
    """float64 `(pairs,)`: the probability of each pair, after some rounds from even ones.

    Args:
        letters: int64, of all words, one after the other.
        phones: The same for their phones.
        ends: int64 `(words + 1, 2)`: where each word's begin.
        many: int64 `(2,)`: how many letters and phones there are.
        rounds: Of expectation maximization.
    """
    count, sounds = map(int, many)
    table = np.ones(count + count * sounds + count * sounds**2 + count**2 * sounds)
    table /= len(table)
    for _ in range(rounds):
        sums = _expected(letters, phones, ends, table, many)
        table = sums / max(float(sums.sum()), 1e-300)
    return table
