"""Batched beam search with a step-by-step decoder, in NumPy, with length normalization and a coverage penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from speechrnn.decoding.alignment import log_softmax
from speechrnn.tasks.sequence_to_sequence.options import SearchOptions

BOUNDARY = 0
"""Index that begins and ends a sequence; symbols are counted from 1, as in every `Vocabulary`."""

ATTENTION_STATE = "looked"
"""Name of the state with the previous step's attention, one number for each source symbol."""

Arrays = Mapping[str, np.ndarray]
"""Arrays by name, a row for each sequence."""

Step = Callable[[np.ndarray, Arrays, Arrays], tuple[np.ndarray, np.ndarray, Arrays]]
"""`step(previous, memory, states) -> (logits, attention, states)`: from the last symbol of each row, int32 `(rows,)`,
what is constant in a sequence and what changes, to logits `(rows, vocabulary)` of the next symbol, attention `(rows,
source symbols)`, and the states after it."""


class Hypothesis(NamedTuple):
    """A sequence of the beam search."""

    symbols: tuple[int, ...]
    """Indices from 1, without the end."""
    score: float
    """Log probability divided by the length's penalty, with the coverage penalty."""
    log_probability: float
    """Natural logarithm of the sequence's probability, its end counted."""
    attention: np.ndarray
    """float32 `(symbols + 1, source symbols)`; the last row is of the end."""
    complete: bool
    """Whether the end was likely enough for the beam, and not forced by the limit."""


def beam_search(
    step: Step,
    memory: Arrays,
    states: Arrays,
    lengths: np.ndarray,
    *,
    max_length: int,
    options: SearchOptions,
    logs_of: Callable[[np.ndarray], np.ndarray] = log_softmax,
) -> list[list[Hypothesis]]:
    """The likeliest sequences for each source, the best first.

    `log P / ((5 + n) / 6)**length_penalty + coverage_penalty * sum_i log(min(sum_j attention_ij, 1))`, where `n` counts
    symbols and end, is what ranks them (Wu et al. 2016, equation 14). A source is done once none of its unfinished
    sequences can still become better; in a beam that holds all sequences the search is exact.

    Args:
        step: See `Step`.
        memory: What is constant, a row for each source.
        states: What changes, a row for each source.
        lengths: int32 `(sources,)`: symbols of each.
        max_length: Most symbols of an answer; there its end is forced.
        options: How to search.
        logs_of: Turns what a step gives into log probabilities, or into scores that are never positive.
    """
    count, width = len(lengths), options.beam
    finished: list[list[Hypothesis]] = [[] for _ in range(count)]
    alive = np.arange(count)
    memory, states = _gather_rows(memory, np.repeat(alive, width)), _gather_rows(states, np.repeat(alive, width))
    totals = np.full((count, width), -np.inf)
    totals[:, 0] = 0.0
    symbols = np.zeros((count, width, 0), np.int32)
    attention: np.ndarray | None = None
    for length in range(max_length + 1):
        previous = symbols[:, :, -1] if length else np.full((len(alive), width), BOUNDARY, np.int32)
        logits, weights, states = step(np.ascontiguousarray(previous.reshape(-1)), memory, states)
        logs = totals[:, :, None] + logs_of(logits).reshape(len(alive), width, -1)
        weights = weights.reshape(len(alive), width, 1, -1)
        attention = weights if attention is None else np.concatenate([attention, weights], axis=2)
        flat = logs.reshape(len(alive), -1)
        top = _largest(flat, width)
        in_beam = np.zeros(flat.shape, bool)
        np.put_along_axis(in_beam, top, True, axis=1)
        in_beam = in_beam.reshape(logs.shape)[:, :, BOUNDARY]
        ended = logs[:, :, BOUNDARY]
        for row, column in np.argwhere((in_beam | (length == max_length)) & np.isfinite(ended)):
            source = alive[row]
            seen = attention[row, column, :, : lengths[source]]
            score = _score(ended[row, column], length + 1, seen, options)
            sequence = tuple(symbols[row, column].tolist())
            complete = bool(in_beam[row, column])
            finished[source].append(Hypothesis(sequence, score, float(ended[row, column]), seen, complete))
            finished[source] = sorted(finished[source], key=lambda one: -one.score)[: options.best]
        if length == max_length:
            break
        logs[:, :, BOUNDARY] = -np.inf
        flat = logs.reshape(len(alive), -1)
        top = _largest(flat, width)
        parents, chosen = top // logs.shape[2], top % logs.shape[2]
        totals = np.take_along_axis(flat, top, axis=1)
        # Log probabilities only fall, and no length divides them by more than the longest.
        reachable = totals.max(axis=1) / _divisor(max_length + 1, options)
        worst = [finished[s][-1].score if len(finished[s]) == options.best else -np.inf for s in alive]
        going = np.flatnonzero(reachable > np.array(worst))
        if not len(going):
            break
        rows = (going[:, None] * width + parents[going]).reshape(-1)
        memory, states = _gather_rows(memory, rows), _gather_rows(states, rows)
        line = going[:, None]
        symbols = np.concatenate([symbols[line, parents[going]], chosen[going, :, None]], axis=2, dtype=np.int32)
        attention, totals, alive = attention[line, parents[going]], totals[going], alive[going]
    return finished


def initial_states(names: Sequence[str], first: np.ndarray, source_size: int) -> dict[str, np.ndarray]:
    """The states of a decoder before the first symbol.

    Args:
        names: Names of the states, "output" first.
        first: Initial value of "output", float32 `(rows, units)`.
        source_size: Number of source symbols.
    """
    states = {name: np.zeros_like(first) for name in names}
    if ATTENTION_STATE in states:
        states[ATTENTION_STATE] = np.zeros((len(first), source_size), np.float32)
    return {**states, names[0]: first}


def _score(total: float, length: int, attention: np.ndarray, options: SearchOptions) -> float:
    covered = np.clip(attention.sum(axis=0, dtype=np.float64), np.finfo(np.float32).tiny, 1.0)
    return float(total / _divisor(length, options) + options.coverage_penalty * np.log(covered).sum())


def _divisor(length: int, options: SearchOptions) -> float:
    return ((5.0 + length) / 6.0) ** options.length_penalty


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest values of each row, the largest first; of equal ones the first."""
    count = min(count, values.shape[1])
    candidates = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(values, candidates, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def _gather_rows(arrays: Arrays, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[rows] for name, values in arrays.items()}
