"""Pairs of a source and its target, on which encoder-decoders are trained and evaluated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, data_error, read_lines
from speechrnn.text import Vocabulary


@dataclass(frozen=True)
class Pair:
    """A source and its target.

    Example:
    >>> Pair("hello", "HH AH L OW").target
    'HH AH L OW'
    """

    source: str
    target: str
    id: str = ""
    """Name in faults; by default the pair's number."""
    weight: float = 1.0
    """How much it counts in training."""

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not isinstance(self.target, str):
            raise ValueError(f"A pair must be two texts. Received: {self.source!r:.80} and {self.target!r:.80}.")
        if not self.weight >= 0:
            raise ValueError(f"`weight` must be zero or positive. Received: {self.weight!r}.")


def is_pair(value: Any) -> bool:
    """Whether something is a pair: a `Pair`, two texts, or an `Example`."""
    two = isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)
    return two or isinstance(value, Pair | Example)


def pairs_of(examples: Iterable[Any]) -> list[Pair]:
    """Convert examples to pairs.

    Args:
        examples: Pairs; tuples of two texts; or examples of a manifest, whose `text` is the source and whose `target`
            in `extra` the target.

    Raises:
        ValueError: Something is none of these; its number is named.
    """
    pairs = []
    for number, example in enumerate(examples, 1):
        name = f"pair {number}"
        if isinstance(example, Pair):
            pairs.append(example if example.id else Pair(example.source, example.target, name, example.weight))
        elif isinstance(example, Example):
            if example.text is None or not isinstance(example.extra.get("target"), str):
                raise data_error(
                    example.id, "without a target", "must have a `text`, the source, and a `target` in `extra`."
                )
            pairs.append(Pair(example.text, example.extra["target"], example.id))
        elif is_pair(example):
            source, target = example
            pairs.append(Pair(source, target, name))
        else:
            raise data_error(
                name, "no pair", f"must be a Pair, or a tuple (source, target). Received: {example!r:.80}."
            )
    return pairs


def read(path: str | os.PathLike[str], *, faults: Faults | None = None) -> list[Pair] | list[Example]:
    """Read pairs from a file.

    Args:
        path: UTF-8 text with a pair on every line, a tab between source and target; or a manifest, ending in .jsonl.
        faults: Collects bad lines, which are then left out. Without it the first one is an error.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is no pair, or there is none at all.
    """
    if os.fspath(path).endswith(".jsonl"):
        return manifest.read(path, faults=faults)
    name, collected = os.fspath(path), Faults() if faults is None else faults
    try:
        lines = read_lines(path)
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{name}: is a folder. Give a file of pairs.") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        parts = line.rstrip("\r").split("\t")
        if len(parts) == 2:
            pairs.append(Pair(parts[0], parts[1], f"{name}:{number}"))
        elif line.strip():
            message = f"must be a source, a tab and a target. Received: {line!r:.80}."
            collected.add(f"{name}:{number}", "no pair", message)
            if faults is None:
                collected.raise_first()
    if not pairs:
        raise data_error(name, "empty", "has no pair. A line should read source<TAB>target.")
    return pairs


def encoded(vocabulary: Vocabulary, text: str, *, what: str, where: str, limit: int | None = None) -> list[int]:
    """The indices of a source or a target.

    Args:
        vocabulary: Of the side.
        text: The source or the target.
        what: Which of these it is.
        where: Which pair.
        limit: Most symbols that the decoder writes, for a target.

    Raises:
        ValueError: It is empty, has symbols that the vocabulary lacks, or more than the limit.
    """
    if not text.strip():
        raise data_error(where, "empty", f"the {what} is empty. Leave it out.")
    missing = sorted(vocabulary.missing(text))
    if missing:
        raise data_error(
            where, "with unknown symbols", f"the {what} {text!r:.80} has symbols that the model never saw: "
            f"{' '.join(map(repr, missing[:10]))}. Leave it out, or train with them.",
        )  # fmt: skip
    ids = vocabulary.encode(text)
    if limit is not None and len(ids) > limit:
        raise data_error(
            where, "too long", f"the {what} has {len(ids)} symbols, more than the decoder's limit "
            f"max_length={limit}. Leave it out, or build the model with a higher limit.",
        )  # fmt: skip
    return ids


def padded(sequences: Sequence[Sequence[int]], *, fill: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pad sequences to a batch: int32 `(batch, symbols)`, right-padded with `fill`, and lengths int32 `(batch,)`."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int32)
    batch = np.full((len(sequences), max(lengths, default=0)), fill, np.int32)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch, lengths
