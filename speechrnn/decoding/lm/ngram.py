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
"""What models over characters write for a space."""


@dataclass(frozen=True)
class Perplexity:
    """How well a model foretells a text."""

    perplexity: float
    """Of a word, each sentence's end counted, unknown words scored as `<unk>`."""
    known: float
    """The same without the unknown words."""
    words: int
    """Words in the text, ends of sentences counted."""
    unknown: int
    """How many of them the model does not know."""


class NGram:
    """A backoff model as a trie of arrays; node 0 is the empty context, node `1 + w` the unigram of word `w`.

    `P(w | context)` is that of the longest n-gram the model has, times the backoff weights of the contexts given up
    (Katz 1987, as ARPA files hold it). A context's node serves as the state of a search.

    Args:
        words: The words by their indices.
        levels: The n-grams of each order from 1.

    Raises:
        ValueError: There is an n-gram whose context is none of the n-grams, or one is there twice.

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
        """A model whose arrays are made already.

        Args:
            words: By their indices.
            sizes: Number of n-grams of each order.
            ints: int32, one after the other: the last word of each node, -1 for node 0; the first child of each
                context, and one more; the longest shorter context of each context that is a node.
            floats: float32 or float64, one after the other: natural logarithms of the nodes' probabilities, and of the
                contexts' backoff weights.
        """
        model = cls.__new__(cls)
        model._set_arrays(tuple(words), sizes, ints, floats)
        return model

    def _set_arrays(self, words: tuple[str, ...], sizes: Sequence[int], ints: np.ndarray, floats: np.ndarray) -> None:
        self.words, self.sizes, self.order = words, tuple(map(int, sizes)), len(sizes)
        self.ints, self.floats = ints, floats
        self.nodes = nodes = 1 + sum(self.sizes)
        """Number of nodes, the empty context counted."""
        self.contexts = contexts = 1 + sum(self.sizes[:-1])
        """Number of nodes that can be contexts: all but those of the highest order. They are the first ones."""
        self.last_words, self.first_children = ints[:nodes], ints[nodes : nodes + contexts + 1]
        self.suffixes = ints[nodes + contexts + 1 :]
        self.log_probabilities, self.backoffs = floats[:nodes], floats[nodes:]
        outcomes = np.arange(len(words)) != self.indices.get(BEGIN, -1) if len(words) > 1 else np.ones(1, bool)
        logs = self.log_probabilities
        self.unknown_log_probability = float(
            logs[1 + self.indices[UNKNOWN]] if UNKNOWN in self.indices else logs[1 : 1 + len(words)][outcomes].min()
        )
        """Of a word the model does not know: that of `<unk>`, or else of the least likely word, `<s>` being none."""

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
        """Natural logarithm of the probability of a word after a state, and the state after it.

        Args:
            state: From `begin` or an earlier call.
            word: Index of the word; -1 for one that the model does not know.
        """
        if word < 0:
            if UNKNOWN not in self.indices:
                return self.unknown_log_probability, 0
            word = self.indices[UNKNOWN]
        log, after = stepping.advance(self.ints, self.floats, self.nodes, self.contexts, state, word)
        return float(log), int(after)

    def log_probability(self, word: str, *, context: Sequence[str] = ()) -> float:
        """Natural logarithm of the probability of a word after others."""
        state = 0
        for earlier in context:
            _, state = self.advance(state, self.indices.get(earlier, -1))
        return self.advance(state, self.indices.get(word, -1))[0]

    def sentence(self, words: Sequence[str]) -> float:
        """Natural logarithm of the probability of a sentence, its end counted."""
        return sum(log for log, _ in self._scored(words))

    def _scored(self, words: Sequence[str]) -> Iterable[tuple[float, bool]]:
        """Log probability of each word and of the end, and whether it is known."""
        state = self.begin
        for word in [*words, *([END] if END in self.indices else [])]:
            index = self.indices.get(word, -1)
            log, state = self.advance(state, index)
            yield log, index >= 0 and word != UNKNOWN

    def perplexity(self, sentences: Iterable[str]) -> Perplexity:
        """Perplexity over a text.

        Args:
            sentences: One sentence each; a model over characters reads their characters.

        Raises:
            ValueError: There is nothing to score.
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
        """The words of a sentence, or its characters where the model is over those."""
        if self.characters:
            return [self.space if c == " " else c for c in " ".join(sentence.split())]
        return sentence.split()

    def write(self, path: str | os.PathLike[str], *, bits: int | None = None, overwrite: bool = False) -> None:
        """Write a binary file if the name ends in `.lm`, else an ARPA file, gzipped if it ends in `.gz`.

        Args:
            path: Where to.
            bits: Of each probability in a binary file: 8, the nearest of 256 values for each order, or 32,
                which is what is taken unless it is given.
            overwrite: Replace a file that exists.

        Raises:
            FileExistsError: There is a file already and `overwrite` is false.
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
        """The n-grams by order, as they were given, sorted by their words."""
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
    """What compiled searches take of a model: its state at the start, the indices of `<unk>` and `</s>` (-1: none), and
    how many nodes and contexts there are.
    """
    if model is None:
        return 0, -1, -1, 0, 0
    return model.begin, model.indices.get(UNKNOWN, -1), model.indices.get(END, -1), model.nodes, model.contexts


def _trie(words: Sequence[str], levels: Sequence[arpa.Level]) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of `NGram.of_arrays`."""
    width = len(words)
    keys = np.arange(width, dtype=np.int64)  # context's node times words, plus last word; ascending
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
            found = _find(keys, shorter * width + last)
            while (found < 0).any():  # a pruned model may lack the n-gram without its first word
                missing = found < 0
                shorter[missing] = suffixes[shorter[missing]]
                found[missing] = _find(keys, shorter[missing] * width + last[missing])
            suffixes = np.concatenate([suffixes, found.astype(np.int32)])
        keys = np.concatenate([keys, new[ascending]])
        logs = np.concatenate([logs, level.log_probabilities[ascending]])
        backoffs = np.concatenate([backoffs, level.backoffs[ascending]])
    contexts_in_all = 1 + len(keys) - (len(levels[-1].words))
    return joined(keys % width, keys // width, suffixes[:contexts_in_all], logs, backoffs[: contexts_in_all - 1])


def joined(
    last_words: np.ndarray, contexts: np.ndarray, suffixes: np.ndarray, logs: np.ndarray, backoffs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of `NGram.of_arrays` from what is known of each n-gram, node 0 left out of all but the suffixes.

    Args:
        last_words: Of all n-grams, sorted by their order, then their context's node, then their last word.
        contexts: The context's node of each.
        suffixes: Of node 0 and of each n-gram that can be a context.
        logs: Of all n-grams.
        backoffs: Of those that can be contexts.
    """
    first_children = np.searchsorted(contexts, np.arange(len(suffixes) + 1)) + 1
    ints = np.concatenate([[-1], last_words, first_children, suffixes]).astype(np.int32)
    return ints, np.concatenate([[0.0], logs, [0.0], backoffs])


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Nodes of keys; -1 where there is none."""
    places = np.searchsorted(keys, wanted)
    there = keys[np.minimum(places, len(keys) - 1)] == wanted
    return np.where(there, places + 1, -1)


def load(path: str | os.PathLike[str] | NGram, *, cache: bool = True) -> NGram:
    """Read a model from a binary file (`.lm`) or an ARPA file (plain or gzipped).

    Args:
        path: The file. What it holds decides, not its name. A model is given back.
        cache: Keep the arrays of an ARPA file in `PATH.cache.lm` beside it, and read them from there as long as the
            file's size and time of change are those it was made from. A folder that cannot be written goes without.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: See `speechrnn.decoding.lm.arpa.read` and `speechrnn.decoding.lm.binary.read`.
    """
    if isinstance(path, NGram):
        return path
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such language model.")
    if binary.is_binary(path):
        return NGram.of_arrays(*binary.read(path))
    kept, mark = path.with_name(path.name + ".cache.lm"), _mark(path)
    if cache:
        with contextlib.suppress(OSError, ValueError):
            return NGram.of_arrays(*binary.read(kept, mark=mark))
    words, levels = arpa.read(path)
    try:
        model = NGram(words, levels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if cache:
        with contextlib.suppress(OSError):
            binary.write(kept, model.words, model.sizes, model.ints, model.floats, mark=mark, overwrite=True)
    return model


def _mark(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
