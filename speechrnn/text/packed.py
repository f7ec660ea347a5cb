"""Lexicons packed into models: words, and their pronunciations as a tree that a search takes as it is.

To read a lexicon's text and to sort it takes over a second for a language; this takes some hundredths of one. A file is
a mark, and deflated: a line of JSON, whole numbers of 32 bits, probabilities of 64, and the words, each in its line. A
tree that does not fit is refused.
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
_LARGEST = 1 << 28
"""Bytes of a lexicon, inflated."""

Pronunciation = tuple[str, Sequence[int], float]
"""A word, the symbols of a way to say it, and the natural logarithm of that way's probability, 0 at most."""


@dataclass(frozen=True, eq=False)
class Pronunciations(Iterable[Pronunciation]):
    """The pronunciations of words, as arrays."""

    words: tuple[str, ...]
    """All of them, each once."""
    word_of: np.ndarray
    """int32 `(pronunciations,)`: places of their words."""
    logs: np.ndarray
    """float64 `(pronunciations,)`: logarithms of their probabilities."""
    tree: prefix_tree.PrefixTree

    @classmethod
    def of(cls, given: Iterable[Pronunciation]) -> Pronunciations:
        """At least one pronunciation, of symbols from 1.

        Example:
        >>> list(Pronunciations.of([("a", [1], 0.0), ("bar", [2, 1, 3], 0.0)]))
        [('a', [1], 0.0), ('bar', [2, 1, 3], 0.0)]
        """
        places: dict[str, int] = {}
        words, symbols, logs = zip(*given, strict=True)
        word_of = np.array([places.setdefault(word, len(places)) for word in words], np.int32)
        return cls(tuple(places), word_of, np.array(logs, np.float64), prefix_tree.build(symbols))

    def __iter__(self) -> Iterator[Pronunciation]:
        paths: list[list[int]] = [[]]
        for parent, symbol in zip(self.tree.parents[1:].tolist(), self.tree.symbols[1:].tolist(), strict=True):
            paths.append([*paths[parent], symbol])
        for word, node, log in zip(self.word_of.tolist(), self.tree.nodes.tolist(), self.logs.tolist(), strict=True):
            yield self.words[word], paths[node], log


class PackedLexicon(Lexicon):
    """A lexicon in a file that `pack` made; its entries are made when one asks for them.

    Args:
        content: Of the file.
        name: Of the file, for errors.

    Raises:
        ValueError: It is no such file, or damaged.
    """

    def __init__(self, content: memoryview, name: str = "The lexicon") -> None:
        if content[: len(PACKED)] != PACKED:
            raise data_error(name, "no lexicon", "must have a lexicon of this version. Pack the model again.")
        payload = inflated(content[len(PACKED) :], name)
        try:
            self._symbols, self._probabilities, self._held = _opened(payload)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"its lexicon is damaged: {error}. Copy it again, or pack it again."
            raise data_error(name, "damaged", message) from error
        used = np.flatnonzero(np.bincount(self._held.tree.symbols))
        self.phones = tuple(sorted(self._symbols[i - 1] for i in used[1:]))

    def __len__(self) -> int:
        """Number of words."""
        return len(self._held.words)

    def __iter__(self) -> Iterator[str]:
        """The words, in the order given."""
        return iter(self._held.words)

    @cached_property
    def _entries(self) -> dict[str, tuple[lexicon.Pronunciation, ...]]:  # type: ignore[override]
        found: dict[str, list[lexicon.Pronunciation]] = {}
        for (word, symbols, _), probability in zip(self._held, self._probabilities.tolist(), strict=True):
            found.setdefault(word, []).append((tuple(self._symbols[i - 1] for i in symbols), probability))
        return {word: tuple(each) for word, each in found.items()}

    def pronunciations(self, vocabulary: Phones) -> Iterable[Pronunciation]:
        """See `Lexicon`; for the vocabulary that it was packed for as `Pronunciations`, which take no time."""
        return self._held if vocabulary.symbols == self._symbols else super().pronunciations(vocabulary)


def pack(held: Lexicon, vocabulary: Phones) -> bytes:
    """The content of a packed lexicon.

    Args:
        held: Has no other phones than the vocabulary.
        vocabulary: Of the model that it is packed for.

    Raises:
        ValueError: The vocabulary lacks a phone.
    """
    made = Pronunciations.of(held.pronunciations(vocabulary))
    tree, counts = made.tree, [len(each) for each in held.values()]
    whole = [np.diff(tree.first), tree.symbols, np.diff(tree.ends), tree.order, np.array(counts)]
    probabilities = np.array([probability for each in held.values() for _, probability in each])
    sizes = [len(part) for part in whole]
    head = json.dumps({"phones": vocabulary.symbols, "sizes": sizes}).encode() + b"\n"
    numbers = b"".join(part.astype("<i4").tobytes() for part in whole) + probabilities.astype("<f8").tobytes()
    return PACKED + zlib.compress(head + numbers + "\n".join(made.words).encode(), 9)


def inflated(content: memoryview, name: str) -> bytes:
    """What was deflated.

    Raises:
        ValueError: It is damaged, cut off, or too large.
    """
    try:
        unpacker = zlib.decompressobj()
        found = unpacker.decompress(content, _LARGEST)
    except zlib.error as error:
        raise data_error(name, "damaged", f"its lexicon is damaged: {error}. Copy it again.") from error
    if not unpacker.eof:
        message = "its lexicon is cut off, or too large to be one. Copy it again."
        raise data_error(name, "damaged", message)
    return found


def _opened(payload: bytes) -> tuple[tuple[str, ...], np.ndarray, Pronunciations]:
    """Phones, probabilities and pronunciations.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: They are none.
    """
    head, _, _ = payload.partition(b"\n")
    said = json.loads(head)
    symbols = Phones(said["phones"]).symbols
    edges = list(accumulate((4 * size for size in said["sizes"]), initial=len(head) + 1))
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
    ]  # as of a lexicon's text, to the last bit
    return symbols, probabilities, Pronunciations(words, word_of, logs, prefix_tree.joined(children, last, ends, order))
