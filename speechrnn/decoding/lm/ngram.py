"""n-gram language models with backoff, of any order, over words or characters."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from speechrnn.decoding.lm import arpa, binary, stepping

BEGIN, END, UNKNOWN, SPACE = "<s>", "</s>", "<unk>", "<space>"
_SPACES = (SPACE, "|", "▁")
"""Symbols for the space in models over characters."""


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of a model over a text."""

    perplexity: float
    """Perplexity per word, with the ends of sentences, and with unknown words scored as `<unk>`."""
    known: float
    """The same without the unknown words."""
    words: int
    """Number of words, with the ends of sentences."""
    unknown: int
    """Number of unknown words."""


class NGram:
    """Backoff model as a trie in arrays; node 0 is the empty context, node `1 + w` the unigram of word `w`.

    `P(w | context)` is that of the longest matching n-gram, times the backoff weights of the longer contexts (Katz
    1987, as in ARPA files). The node of a context is the state of a search.

    Args:
        words: The words by their indices.
        levels: The n-grams of each order from 1.

    Raises:
        ValueError: The context of an n-gram is not an n-gram itself, or an n-gram is repeated.

    Example:
    >>> unigrams = arpa.Level(np.array([[0], [1]]), np.log([0.25, 0.75]), np.log([0.5, 1.0]))
    >>> bigrams = arpa.Level(np.array([[0, 1]]), np.log([0.9]), np.zeros(1))
    >>> model = NGram(["a", "b"], [unigrams, bigrams])
    >>> [round(float(np.exp(model.log_probability(w, context=["a"]))), 3) for w in ("a", "b")]
    [0.125, 0.9]
    """

    def __init__(self, words: Sequence[str], levels: Sequence[arpa.Level]) -> None:
        words = tuple(words)
        self._set_arrays(words, [len(level.words) for level in levels], *_trie(words, levels))

    @classmethod
    def of_arrays(cls, words: Sequence[str], sizes: Sequence[int], ints: np.ndarray, floats: np.ndarray) -> NGram:
        """Make a model from its arrays.

        Args:
            words: The words by their indices.
            sizes: Number of n-grams of each order.
            ints: int32, concatenated: the last word of each node, -1 for node 0; the first child of each context, and
                the end; the node of the longest suffix of each context.
            floats: float32 or float64, concatenated: log-probabilities of the nodes, and logarithms of the contexts'
                backoff weights.
        """
        model = cls.__new__(cls)
        model._set_arrays(tuple(words), sizes, ints, floats)
        return model

    def _set_arrays(self, words: tuple[str, ...], sizes: Sequence[int], ints: np.ndarray, floats: np.ndarray) -> None:
        self.words, self.sizes, self.order = words, tuple(map(int, sizes)), len(sizes)
        self.ints, self.floats = ints, floats
        self.nodes = nodes = 1 + sum(self.sizes)
        """Number of nodes, with the empty context."""
        self.contexts = contexts = 1 + sum(self.sizes[:-1])
        """Number of nodes that can be contexts: all but those of the highest order, which are the last ones."""
        self.last_words, self.first_children = ints[:nodes], ints[nodes : nodes + contexts + 1]
        self.suffixes = ints[nodes + contexts + 1 :]
        self.log_probabilities, self.backoffs = floats[:nodes], floats[nodes:]
        outcomes = np.arange(len(words)) != self.indices.get(BEGIN, -1) if len(words) > 1 else np.ones(1, bool)
        logs = self.log_probabilities
        self.unknown_log_probability = float(
            logs[1 + self.indices[UNKNOWN]] if UNKNOWN in self.indices else logs[1 : 1 + len(words)][outcomes].min()
        )
        """Log-probability of an unknown word: that of `<unk>`, or else of the least probable word (without `<s>`)."""

    @cached_property
    def indices(self) -> dict[str, int]:
        """The index of each word."""
        return {word: i for i, word in enumerate(self.words)}

    @property
    def begin(self) -> int:
        """State at the start of a sentence."""
        return 1 + self.indices[BEGIN] if BEGIN in self.indices and self.order > 1 else 0

    @property
    def characters(self) -> bool:
        """Whether the model is over characters: it has a symbol for the space."""
        return any(space in self.indices for space in _SPACES)

    @property
    def space(self) -> str:
        """A character model's symbol for the space."""
        return next(space for space in _SPACES if space in self.indices)

    def advance(self, state: int, word: int) -> tuple[float, int]:
        """Log-probability of a word after a state, and the next state.

        Args:
            state: From `begin` or an earlier call.
            word: Index of the word; -1 for an unknown word.
        """
        if word < 0:
            if UNKNOWN not in self.indices:
                return self.unknown_log_probability, 0
            word = self.indices[UNKNOWN]
        log, after = stepping.advance(self.ints, self.floats, self.nodes, self.contexts, state, word)
        return float(log), int(after)

    def log_probability(self, word: str, *, context: Sequence[str] = ()) -> float:
        """Log-probability of a word after a context."""
        state = 0
        for earlier in context:
            _, state = self.advance(state, self.indices.get(earlier, -1))
        return self.advance(state, self.indices.get(word, -1))[0]

    def sentence(self, words: Sequence[str]) -> float:
        """Log-probability of a sentence, with its end."""
        return sum(log for log, _ in self._scored(words))

    def _scored(self, words: Sequence[str]) -> Iterable[tuple[float, bool]]:
        """Log-probability of each word and of the end, and whether it is known."""
        state = self.begin
        for word in [*words, *([END] if END in self.indices else [])]:
            index = self.indices.get(word, -1)
            log, state = self.advance(state, index)
            yield log, index >= 0 and word != UNKNOWN

    def perplexity(self, sentences: Iterable[str]) -> Perplexity:
        """Perplexity over a text.

        Args:
            sentences: The sentences; a model over characters splits them into characters.

        Raises:
            ValueError: There are no sentences.
        """
        total = known = 0.0
        words = unknown = 0
        for sentence in sentences:
            for log, is_known in self._scored(self.tokens(sentence)):
                total, words = total + log, words + 1
                known, unknown = (known + log, unknown) if is_known else (known, unknown + 1)
        if not words:
            raise ValueError("Perplexity needs a text with at least one sentence. Received none.")
        rest = words - unknown
        return Perplexity(math.exp(-total / words), math.exp(-known / rest) if rest else math.inf, words, unknown)

    def tokens(self, sentence: str) -> list[str]:
        """The words of a sentence, or its characters for a model over characters."""
        if self.characters:
            return [self.space if c == " " else c for c in " ".join(sentence.split())]
        return sentence.split()

    def write(self, path: str | os.PathLike[str], *, bits: int | None = None, overwrite: bool = False) -> None:
        """Write a binary file if the name ends in `.lm`, else an ARPA file, gzipped if it ends in `.gz`.

        Args:
            path: The file.
            bits: Bits of each probability in a binary file: 8, for the nearest of 256 values of each order, or 32, the
                default.
            overwrite: Replace a file that exists.

        Raises:
            FileExistsError: The file exists and `overwrite` is false.
            ValueError: `bits` is another number, or is given for an ARPA file.
        """
        if Path(path).suffix == ".lm":
            floats = self.floats.astype(np.float32)
            binary.write(path, self.words, self.sizes, self.ints, floats, bits=bits, overwrite=overwrite)
        elif bits is not None:
            raise ValueError(f"`bits` is for binary files, whose names end in .lm. Received: bits={bits} for {path}.")
        else:
            arpa.write(path, self.words, self.levels(), sizes=self.sizes, overwrite=overwrite)

    def levels(self) -> Iterator[arpa.Level]:
        """The n-grams of each order, sorted by their words."""
        grams, start = np.zeros((1, 0), np.int32), 1
        first = 0  # node of the first of `grams`
        for size in self.sizes:
            end = start + size
            children: Any = np.diff(self.first_children[first : first + len(grams) + 1].astype(np.int64))
            parents = np.repeat(np.arange(len(grams)), children)
            grams = np.column_stack([grams[parents], self.last_words[start:end]]).astype(np.int32)
            backoffs = self.backoffs[start:end] if end <= self.contexts else np.zeros(size)
            yield arpa.Level(grams, self.log_probabilities[start:end], backoffs)
            first, start = start, end


def constants(model: NGram | None) -> tuple[int, int, int, int, int]:
    """A model's constants for compiled searches: initial state, indices of `<unk>` and `</s>` (-1: none), numbers of
    nodes and of contexts.
    """
    if model is None:
        return 0, -1, -1, 0, 0
    return model.begin, model.indices.get(UNKNOWN, -1), model.indices.get(END, -1), model.nodes, model.contexts


def _trie(words: Sequence[str], levels: Sequence[arpa.Level]) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of `NGram.of_arrays`."""
    width = len(words)
    keys = np.arange(width, dtype=np.int64)  # context's node times number of words, plus last word; ascending
    logs, backoffs = np.empty(width), np.empty(width)
    logs[levels[0].words[:, 0]], backoffs[levels[0].words[:, 0]] = levels[0].log_probabilities, levels[0].backoffs
    suffixes = np.zeros(width + 1, np.int32)
    for order, level in enumerate(levels[1:], start=2):
        contexts = np.zeros(len(level.words), np.int64)
        for column in range(order - 1):
            contexts = _find(keys, contexts * width + level.words[:, column])
            if (contexts < 0).any():
                gram = " ".join(words[i] for i in level.words[int((contexts < 0).argmax())])
                raise ValueError(f"The context of every n-gram must be an n-gram. Received: `{gram}` without its own.")
        new = contexts * width + level.words[:, -1]
        ascending = np.argsort(new)
        if (np.diff(new[ascending]) == 0).any():
            raise ValueError(f"Every n-gram must be there once. Received: {order}-grams that are there twice.")
        if order < len(levels):
            contexts, last = contexts[ascending], level.words[ascending, -1].astype(np.int64)
            shorter = suffixes[contexts].astype(np.int64)
            nodes = _find(keys, shorter * width + last)
            while (nodes < 0).any():  # a pruned model may lack the n-gram without its first word
                missing = nodes < 0
                shorter[missing] = suffixes[shorter[missing]]
                nodes[missing] = _find(keys, shorter[missing] * width + last[missing])
            suffixes = np.concatenate([suffixes, nodes.astype(np.int32)])
        keys = np.concatenate([keys, new[ascending]])
        logs = np.concatenate([logs, level.log_probabilities[ascending]])
        backoffs = np.concatenate([backoffs, level.backoffs[ascending]])
    num_contexts = 1 + len(keys) - len(levels[-1].words)
    return pack(keys % width, keys // width, suffixes[:num_contexts], logs, backoffs[: num_contexts - 1])


def pack(
    last_words: np.ndarray, contexts: np.ndarray, suffixes: np.ndarray, logs: np.ndarray, backoffs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of `NGram.of_arrays` from those of n-grams; only the suffixes include node 0.

    Args:
        last_words: Last words of all n-grams, sorted by order, then by the node of the context, then by last word.
        contexts: Node of each n-gram's context.
        suffixes: Suffixes of node 0 and of each n-gram that can be a context.
        logs: Log-probabilities of all n-grams.
        backoffs: Logarithms of the backoff weights of the n-grams that can be contexts.
    """
    first_children = np.searchsorted(contexts, np.arange(len(suffixes) + 1)) + 1
    ints = np.concatenate([[-1], last_words, first_children, suffixes]).astype(np.int32)
    return ints, np.concatenate([[0.0], logs, [0.0], backoffs])


def _find(keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Nodes of keys, or -1."""
    indices = np.searchsorted(keys, queries)
    exists = keys[np.minimum(indices, len(keys) - 1)] == queries
    return np.where(exists, indices + 1, -1)


def load(path: str | os.PathLike[str] | NGram, *, cache: bool = True) -> NGram:
    """Read a model from a binary file (`.lm`) or an ARPA file (plain or gzipped).

    Args:
        path: The file; its format is detected from the content. A model is returned as it is.
        cache: Cache the arrays of an ARPA file in `PATH.cache.lm`, and use them while the file's size and modification
            time are unchanged. If the folder is not writable there is no cache.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: See `speechrnn.decoding.lm.arpa.read` and `speechrnn.decoding.lm.binary.read`.
    """
    if isinstance(path, NGram):
        return path
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such language model.")
    if binary.is_binary(path):
        return NGram.of_arrays(*binary.read(path))
    cached, mark = path.with_name(path.name + ".cache.lm"), _mark(path)
    if cache:
        with contextlib.suppress(OSError, ValueError):
            return NGram.of_arrays(*binary.read(cached, mark=mark))
    words, levels = arpa.read(path)
    try:
        model = NGram(words, levels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if cache:
        with contextlib.suppress(OSError):
            binary.write(cached, model.words, model.sizes, model.ints, model.floats, mark=mark, overwrite=True)
    return model


def _mark(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
