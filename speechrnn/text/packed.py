"""Binary format of lexicons within models: words, and their pronunciations as the prefix tree that a search needs.

Loading it takes some hundredths of a second, while parsing and sorting the text of a whole language's lexicon takes
more than a second. The content is a signature and, compressed by zlib, a line of JSON, 32-bit integers, 64-bit
probabilities, and the words, one per line. An inconsistent tree is refused.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from speechrnn.faults import data_error
from speechrnn.text import lexicon, prefix_tree
from speechrnn.text.lexicon import Lexicon
from speechrnn.text.phones import Phones

PACKED = b"\x89SpeechRNN lexicon 1\r\n"
_MAX_SIZE = 1 << 28
"""Maximum number of bytes of a decompressed lexicon."""

Pronunciation = tuple[str, Sequence[int], float]
"""A word, the symbols of its pronunciation, and the log-probability of the pronunciation, at most 0."""


@dataclass(frozen=True, eq=False)
class Pronunciations(Iterable[Pronunciation]):
    """The pronunciations of words, as arrays."""

    words: tuple[str, ...]
    """All words, each once."""
    word_of: np.ndarray
    """int32 `(pronunciations,)`: the index of each pronunciation's word."""
    logs: np.ndarray
    """float64 `(pronunciations,)`: log-probabilities."""
    tree: prefix_tree.PrefixTree

    @classmethod
    def of(cls, pronunciations: Iterable[Pronunciation]) -> Pronunciations:
        """The arrays of one or more pronunciations, whose symbols are positive.

        Example:
        >>> list(Pronunciations.of([("a", [1], 0.0), ("bar", [2, 1, 3], 0.0)]))
        [('a', [1], 0.0), ('bar', [2, 1, 3], 0.0)]
        """
        indices: dict[str, int] = {}
        words, symbols, logs = zip(*pronunciations, strict=True)
        word_of = np.array([indices.setdefault(word, len(indices)) for word in words], np.int32)
        return cls(tuple(indices), word_of, np.array(logs, np.float64), prefix_tree.build(symbols))

    def __iter__(self) -> Iterator[Pronunciation]:
        paths: list[list[int]] = [[]]
        for parent, symbol in zip(self.tree.parents[1:].tolist(), self.tree.symbols[1:].tolist(), strict=True):
            paths.append([*paths[parent], symbol])
        for word, node, log in zip(self.word_of.tolist(), self.tree.nodes.tolist(), self.logs.tolist(), strict=True):
            yield self.words[word], paths[node], log


class PackedLexicon(Lexicon):
    """A lexicon in the format of `pack`; its mapping of words is made on first use.

    Args:
        content: The content of the file.
        name: The name of the file, for errors.

    Raises:
        ValueError: The content has another format, or is damaged.
    """

    def __init__(self, content: memoryview, name: str = "The lexicon") -> None:
        if content[: len(PACKED)] != PACKED:
            raise data_error(name, "no lexicon", "must have a lexicon of this version. Pack the model again.")
        payload = decompress(content[len(PACKED) :], name)
        try:
            self._symbols, self._probabilities, self._packed = _parse(payload)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"its lexicon is damaged: {error}. Copy it again, or pack it again."
            raise data_error(name, "damaged", message) from error
        used = np.flatnonzero(np.bincount(self._packed.tree.symbols))
        self.phones = tuple(sorted(self._symbols[i - 1] for i in used[1:]))

    def __len__(self) -> int:
        """Number of words."""
        return len(self._packed.words)

    def __iter__(self) -> Iterator[str]:
        """The words, in the order of the entries."""
        return iter(self._packed.words)

    @cached_property
    def _entries(self) -> dict[str, tuple[lexicon.Pronunciation, ...]]:  # type: ignore[override]
        entries: dict[str, list[lexicon.Pronunciation]] = {}
        for (word, symbols, _), probability in zip(self._packed, self._probabilities.tolist(), strict=True):
            entries.setdefault(word, []).append((tuple(self._symbols[i - 1] for i in symbols), probability))
        return {word: tuple(each) for word, each in entries.items()}

    def pronunciations(self, vocabulary: Phones) -> Iterable[Pronunciation]:
        """See `Lexicon`; for the vocabulary that it was packed for, the stored `Pronunciations`."""
        return self._packed if vocabulary.symbols == self._symbols else super().pronunciations(vocabulary)


def pack(source: Lexicon, vocabulary: Phones) -> bytes:
    """Pack a lexicon for the vocabulary of a model.

    Raises:
        ValueError: The vocabulary lacks a phone of the lexicon.
    """
    pronunciations = Pronunciations.of(source.pronunciations(vocabulary))
    tree, counts = pronunciations.tree, [len(each) for each in source.values()]
    integers = [np.diff(tree.first), tree.symbols, np.diff(tree.ends), tree.order, np.array(counts)]
    probabilities = np.array([probability for each in source.values() for _, probability in each])
    sizes = [len(part) for part in integers]
    header = json.dumps({"phones": vocabulary.symbols, "sizes": sizes}).encode() + b"\n"
    numbers = b"".join(part.astype("<i4").tobytes() for part in integers) + probabilities.astype("<f8").tobytes()
    return PACKED + zlib.compress(header + numbers + "\n".join(pronunciations.words).encode(), 9)


def decompress(content: memoryview, name: str) -> bytes:
    """Decompress a lexicon.

    Raises:
        ValueError: It is damaged, cut off, or too large.
    """
    try:
        unpacker = zlib.decompressobj()
        payload = unpacker.decompress(content, _MAX_SIZE)
    except zlib.error as error:
        raise data_error(name, "damaged", f"its lexicon is damaged: {error}. Copy it again.") from error
    if not unpacker.eof:
        message = "its lexicon is cut off, or too large to be one. Copy it again."
        raise data_error(name, "damaged", message)
    return payload


def _parse(payload: bytes) -> tuple[tuple[str, ...], np.ndarray, Pronunciations]:
    """Phones, probabilities and pronunciations.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: The payload is inconsistent.
    """
    line, _, _ = payload.partition(b"\n")
    header = json.loads(line)
    symbols = Phones(header["phones"]).symbols
    edges = list(accumulate((4 * size for size in header["sizes"]), initial=len(line) + 1))
    children, last, ends, order, counts = (np.frombuffer(payload[a:b], "<i4") for a, b in pairwise(edges))
    probabilities = np.frombuffer(payload, "<f8", len(order), edges[-1])
    text = payload[edges[-1] + probabilities.nbytes :].decode()
    words = tuple(text.split())
    if len(words) != len(counts) or "\n".join(words) != text or len(set(words)) != len(words):
        raise ValueError("its words are not those that it says")
    if (counts < 1).any() or counts.sum() != len(order) or not ((probabilities > 0) & (probabilities <= 1)).all():
        raise ValueError("its words' pronunciations are not those that it says")
    if last.max() > len(symbols) or order.max() >= len(order):
        raise ValueError("its phones or its order are not those that it says")
    word_of = np.repeat(np.arange(len(words), dtype=np.int32), counts)
    logs = np.zeros(len(order))
    uncertain = probabilities < 1
    logs[uncertain] = [
        math.log(p) for p in probabilities[uncertain].tolist()
    ]  # exactly as `Lexicon.pronunciations` computes them
    return (
        symbols,
        probabilities,
        Pronunciations(words, word_of, logs, prefix_tree.from_counts(children, last, ends, order)),
    )
