"""n-gram language models with backoff, of any order, over words or characters."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechrnn.decoding.lm import arpa
from speechrnn.files import replacing

BEGIN, END, UNKNOWN, SPACE = "<s>", "</s>", "<unk>", "<space>"
_SPACES = (SPACE, "|", "▁")
"""What models over characters write for a space."""
_CACHE_VERSION = 2
_ARRAYS = ("keys", "logs", "backoffs", "suffixes")


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
        self.words, self.order = tuple(words), len(levels)
        self._set_arrays(_trie(self.words, levels), len(levels[-1].words))

    def _set_arrays(self, arrays: Sequence[np.ndarray], longest: int) -> None:
        """Take what `_trie` made; `longest` n-grams are of the highest order."""
        keys, logs, backoffs, suffixes = arrays
        width = len(self.words)
        self._keys, self._longest = keys, longest
        self.log_probabilities, self.backoffs, self.suffixes = logs, backoffs, suffixes
        self.next_states = np.arange(len(logs), dtype=np.int32)
        if longest:  # n-grams of the highest order are no contexts
            self.next_states[-longest:] = suffixes[-longest:]
        self.last_words = np.concatenate([[-1], keys % width]).astype(np.int32)
        self.first_children = np.searchsorted(keys, np.arange(len(keys) + 2, dtype=np.int64) * width) + 1
        self.indices = {word: i for i, word in enumerate(self.words)}
        words = np.arange(width) != self.indices.get(BEGIN, -1) if width > 1 else np.ones(width, bool)
        self.unknown_log_probability = float(
            logs[1 + self.indices[UNKNOWN]] if UNKNOWN in self.indices else logs[1 : 1 + width][words].min()
        )
        """Of a word the model does not know: that of `<unk>`, or else of the least likely word, `<s>` being none."""

    @property
    def whole_arrays(self) -> np.ndarray:
        """int32 `(4, nodes + 1)`: last words, first children, next states and suffixes of the nodes, for a search."""
        arrays: tuple[np.ndarray, ...] = self.last_words, self.first_children, self.next_states, self.suffixes
        found = np.zeros((4, len(self.first_children)), np.int32)
        for i, values in enumerate(arrays):
            found[i, : len(values)] = values
        return found

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
        total = 0.0
        while True:
            node = self._child(state, word)
            if node >= 0:
                return total + float(self.log_probabilities[node]), int(self.next_states[node])
            total += float(self.backoffs[state])
            state = int(self.suffixes[state])

    def _child(self, state: int, word: int) -> int:
        if state == 0:
            return 1 + word
        low, high = self.first_children[state], self.first_children[state + 1]
        place = int(low + np.searchsorted(self.last_words[low:high], word))
        return place if place < high and self.last_words[place] == word else -1

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

    def levels(self) -> list[arpa.Level]:
        """The n-grams by order, as they were given, sorted by their words."""
        width, found, start = len(self.words), [], 0
        grams = np.zeros((1, 0), np.int32)
        first = 0  # node of the first of `grams`
        while start < len(self._keys):
            end = int(np.searchsorted(self._keys, (first + len(grams)) * width))
            parents = self._keys[start:end] // width - first
            grams = np.column_stack([grams[parents], self._keys[start:end] % width]).astype(np.int32)
            first = start + 1
            nodes = slice(start + 1, end + 1)
            found.append(arpa.Level(grams, self.log_probabilities[nodes], self.backoffs[nodes]))
            start = end
        return found


def _trie(words: Sequence[str], levels: Sequence[arpa.Level]) -> tuple[np.ndarray, ...]:
    """Keys (context's node times words, plus last word), ascending, and the nodes' values and suffixes."""
    width = len(words)
    keys = np.arange(width, dtype=np.int64)
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
        contexts, last = contexts[ascending], level.words[ascending, -1].astype(np.int64)
        shorter = suffixes[contexts].astype(np.int64)
        found = _find(keys, shorter * width + last)
        while (found < 0).any():  # a pruned model may lack the n-gram without its first word
            missing = found < 0
            shorter[missing] = suffixes[shorter[missing]]
            found[missing] = _find(keys, shorter[missing] * width + last[missing])
        keys = np.concatenate([keys, new[ascending]])
        logs = np.concatenate([logs, level.log_probabilities[ascending]])
        backoffs = np.concatenate([backoffs, level.backoffs[ascending]])
        suffixes = np.concatenate([suffixes, found.astype(np.int32)])
    return keys, np.concatenate([[0.0], logs]), np.concatenate([[0.0], backoffs]), suffixes


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Nodes of keys; -1 where there is none."""
    places = np.searchsorted(keys, wanted)
    there = keys[np.minimum(places, len(keys) - 1)] == wanted
    return np.where(there, places + 1, -1)


def load(path: str | os.PathLike[str], *, cache: bool = True) -> NGram:
    """Read a model from an ARPA file (plain or gzipped), or from the binary cache of an earlier call.

    Args:
        path: The ARPA file.
        cache: Keep the arrays in `PATH.cache.npz` beside the file, and read them from there as long as the file's
            size and time of change are those it was made from. A folder that cannot be written goes without.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: See `speechrnn.decoding.lm.arpa.read`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such language model.")
    kept = path.with_name(path.name + ".cache.npz")
    mark = _mark(path)
    model = _from_cache(kept, mark) if cache else None
    if model is None:
        words, levels = arpa.read(path)
        try:
            model = NGram(words, levels)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if cache:
            _to_cache(kept, mark, model)
    return model


def _mark(path: Path) -> str:
    status = path.stat()
    return hashlib.sha256(f"{_CACHE_VERSION} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()


def _to_cache(kept: Path, mark: str, model: NGram) -> None:
    arrays = {
        **dict(zip(_ARRAYS, (model._keys, model.log_probabilities, model.backoffs, model.suffixes), strict=True)),
        "sizes": np.array([model.order, model._longest]),
        "mark": np.array(mark),
        "words": np.frombuffer("\n".join(model.words).encode(), np.uint8),
    }
    with contextlib.suppress(OSError), replacing(kept, overwrite=True) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _from_cache(kept: Path, mark: str) -> NGram | None:
    """The model in a cache, or None where it is absent, damaged, or of another file."""
    try:
        with open(kept, "rb") as file, np.load(file, allow_pickle=False) as found:
            if str(found["mark"]) != mark:
                return None
            model = NGram.__new__(NGram)
            model.words = tuple(found["words"].tobytes().decode().split("\n"))
            model.order, longest = map(int, found["sizes"])
            model._set_arrays([found[name] for name in _ARRAYS], longest)
            return model
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
