"""Letters paired with phones by expectation maximization, compiled by numba; see `speechrnn.decoding.letters`.

A pair is one letter with no phone, one or two, or two letters with one phone (Jiampojamarn, Kondrak and Sherif 2007).
"""

from __future__ import annotations

import numpy as np

from speechrnn.decoding.compiling import inner, outer

SIZES = ((1, 0), (1, 1), (1, 2), (2, 1))
"""Letters and phones of a pair of each kind."""
_SIZES = np.array(SIZES)


@inner
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


@outer
def _add_expected(
    letters: np.ndarray, phones: np.ndarray, ends: np.ndarray, table: np.ndarray, many: np.ndarray, sizes: np.ndarray,
    forward: np.ndarray, backward: np.ndarray, sums: np.ndarray,
) -> None:  # fmt: skip
    """Add to `sums` how often each pair is expected in all words; `forward` and `backward` are room for one word."""
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
                        place = _index(kind, letters, first + i, phones, last + j, many)
                        forward[a, b] += forward[i, j] * table[place]
        if forward[n, m] <= 0:
            continue
        for i in range(n, -1, -1):
            for j in range(m, -1, -1):
                for kind in range(4):
                    a, b = i + sizes[kind, 0], j + sizes[kind, 1]
                    if a <= n and b <= m:
                        place = _index(kind, letters, first + i, phones, last + j, many)
                        part = table[place] * backward[a, b]
                        backward[i, j] += part
                        sums[place] += forward[i, j] * part / forward[n, m]


@outer
def _best(
    letters: np.ndarray, phones: np.ndarray, table: np.ndarray, many: np.ndarray, sizes: np.ndarray,
    score: np.ndarray, kinds: np.ndarray, found: np.ndarray,
) -> int:  # fmt: skip
    """Fill in `found` from its end; gives where it begins. `score`, zeros, and `kinds` are room."""
    n, m, used = len(letters), len(phones), len(found)
    score[0, 0] = 1.0
    for i in range(n + 1):
        for j in range(m + 1):
            for kind in range(4):
                a, b = i + sizes[kind, 0], j + sizes[kind, 1]
                if score[i, j] > 0 and a <= n and b <= m:
                    value = score[i, j] * table[_index(kind, letters, i, phones, j, many)]
                    if value > score[a, b]:
                        score[a, b], kinds[a, b] = value, kind
    i, j = n, m
    while score[n, m] > 0 and i > 0:
        used -= 1
        kind = found[used] = kinds[i, j]
        i, j = i - sizes[kind, 0], j - sizes[kind, 1]
    return used


def best_kinds(letters: np.ndarray, phones: np.ndarray, table: np.ndarray, many: np.ndarray) -> np.ndarray:
    """The kinds of the pairs of a word on its likeliest segmentation, int64; empty where there is none."""
    shape, found = (len(letters) + 1, len(phones) + 1), np.zeros(len(letters), np.int64)
    return found[_best(letters, phones, table, many, _SIZES, np.zeros(shape), np.zeros(shape, np.int64), found) :]


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
    room = np.diff(ends, axis=0).max(axis=0) + 1
    for _ in range(rounds):
        sums = np.zeros(len(table))
        _add_expected(letters, phones, ends, table, many, _SIZES, np.empty(room), np.empty(room), sums)
        table = sums / max(float(sums.sum()), 1e-300)
    return table
