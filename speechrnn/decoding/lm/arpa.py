"""ARPA files: n-gram language models as text, the format of SRILM, KenLM and others."""

from __future__ import annotations

import array
import gzip
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

from speechrnn.faults import data_error, packed_format
from speechrnn.files import replacing

LN10 = float(np.log(10.0))
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_SPECIAL = ("<unk>", "<s>", "</s>")
_KENLM = b"mmap lm http://kheafield.com/code"
_LINES = 10_000
"""Lines written at once."""
_NUMBERS = frozenset("0123456789+-.eEinftyaINFTYA")
"""Characters of a number; Python reads `1_0` and digits of other scripts too."""
_HIGHEST = 1e-6
"""A log10 probability of 1, rounded upwards."""
_LOWEST = -99.0
"""Value in files for a log10 probability of minus infinity."""


class Level(NamedTuple):
    """The n-grams of one order."""

    words: np.ndarray
    """int32 `(ngrams, order)`: indices of the words."""
    log_probabilities: np.ndarray
    """float64 `(ngrams,)`: natural logarithms."""
    backoffs: np.ndarray
    """float64 `(ngrams,)`: natural logarithms; 0 if the file has none."""


def read(path: str | os.PathLike[str]) -> tuple[list[str], list[Level]]:
    """Read an ARPA file, which may be gzipped; fields are separated by tabs or spaces.

    Returns:
        The words in the order of the file's unigrams, and the n-grams of each order from 1. `<UNK>`, `<S>` and `</S>`
        are given as `<unk>`, `<s>` and `</s>`, and a probability of minus infinity as -99.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut off, holds other numbers of n-grams than it says, or is no ARPA file.
    """
    path = os.fspath(path)
    lines = _numbered(path)
    sizes = _header(path, lines)
    words: dict[str, int] = {}
    levels = []
    for order, size in enumerate(sizes, start=1):
        levels.append(_level(path, lines, words, order, size))
    for number, line in lines:
        if line == "\\end\\":
            for _ in lines:  # reads to the end, for the checksum of gzip data
                pass
            return _with_lower_case_marks(list(words)), levels
        raise _fault(path, number, f"expects \\end\\ after {sizes[-1]:,} {len(sizes)}-grams", line)
    raise _cut_off(path, "\\end\\")


def _with_lower_case_marks(words: list[str]) -> list[str]:
    """The words with `<UNK>`, `<S>` and `</S>` in lower case, unless the file has both."""
    return [word.lower() if word.lower() in _SPECIAL and word.lower() not in words else word for word in words]


def _numbered(path: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; blank lines are skipped."""
    with open(path, "rb") as file:
        head = file.read(64)
    zipped = head.startswith(b"\x1f\x8b")
    kenlm = "KenLM's binary form: give the ARPA file that it was made from" if head.startswith(_KENLM) else ""
    other_format = kenlm or packed_format(head)
    if other_format and not zipped:
        raise data_error(path, "no ARPA file", f"is no ARPA file but {other_format}.")
    try:
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r\n")
                if text:
                    yield number, text
    except UnicodeDecodeError as error:
        raise data_error(path, "not text", f"is no ARPA file: it is not UTF-8 text ({error.reason}).") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _cut_off(path, f"the end of its gzip data ({error})") from error


def _header(path: str, lines: Iterator[tuple[int, str]]) -> list[int]:
    """Numbers of n-grams by order; reads up to the heading of the unigrams."""
    for _, line in lines:
        if line == "\\data\\":
            break
    else:
        raise data_error(path, "no ARPA file", "has no \\data\\ line, so it is no ARPA file.")
    sizes: list[int] = []
    for number, line in lines:
        match = _COUNT.fullmatch(line)
        if match and int(match[1]) == 1 and not int(match[2]):
            raise _fault(path, number, "expects one word or more", line)
        if match and int(match[1]) == len(sizes) + 1:
            sizes.append(int(match[2]))
        elif line == "\\1-grams:" and sizes:
            return sizes
        else:
            raise _fault(path, number, f"expects `ngram {len(sizes) + 1}=COUNT` or \\1-grams:", line)
    raise _cut_off(path, "\\1-grams:")


def _level(path: str, lines: Iterator[tuple[int, str]], words: dict[str, int], order: int, size: int) -> Level:
    """The n-grams of one order; the next section's heading is consumed first for orders above 1."""
    if order > 1:
        number, line = next(lines, (0, ""))
        if not number:
            raise _cut_off(path, f"\\{order}-grams:")
        if line != f"\\{order}-grams:":
            raise _fault(path, number, f"expects \\{order}-grams: after as many {order - 1}-grams as it promised", line)
    ids, values = array.array("i"), array.array("d")  # they grow, since `size` is a promise that may be wrong
    for row in range(size):
        number, line = next(lines, (0, ""))
        if not number:
            raise _cut_off(path, f"{size - row:,} of {size:,} {order}-grams")
        fields = [field for field in line.replace("\t", " ").split(" ") if field]  # words may have other white space
        gram, rest = fields[1 : order + 1], fields[order + 1 :]
        try:
            if len(gram) != order or len(rest) > 1 or not _NUMBERS.issuperset(fields[0] + "".join(rest)):
                raise ValueError
            log, backoff = float(fields[0]), float(rest[0]) if rest else 0.0
        except ValueError:
            promised = f"expects one of {size:,} {order}-grams: log10 probability, {order} words, backoff"
            raise _fault(path, number, promised, line) from None
        if not (log <= _HIGHEST and backoff < math.inf):  # NaN is neither
            raise _fault(path, number, "log10 probabilities must be at most 0, and backoffs finite", line)
        values.extend((_LOWEST if math.isinf(log) else log, _LOWEST if math.isinf(backoff) else backoff))
        if order == 1:
            if words.setdefault(gram[0], row) != row:
                raise _fault(path, number, "expects each unigram once", line)
            ids.append(row)
        else:
            try:
                ids.extend([words[word] for word in gram])
            except KeyError as error:
                raise _fault(path, number, f"has the word {error} that is no unigram", line) from None
    numbers = np.array(values).reshape(size, 2)
    return Level(np.array(ids, np.int32).reshape(size, order), numbers[:, 0] * LN10, numbers[:, 1] * LN10)


def write(
    path: str | os.PathLike[str],
    words: Sequence[str],
    levels: Iterable[Level],
    *,
    sizes: Sequence[int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write an ARPA file, gzipped if its name ends in `.gz`.

    Args:
        path: Where to.
        words: By their indices.
        levels: The n-grams of each order, which need not all be in memory if their numbers are given.
        sizes: Numbers of n-grams by order.
        overwrite: Replace a file that exists.

    Raises:
        FileExistsError: There is a file already and `overwrite` is false.
    """
    if sizes is None:
        levels = list(levels)
        sizes = [len(level.words) for level in levels]
    with replacing(path, overwrite=overwrite) as file:
        if os.fspath(path).endswith(".gz"):
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
                _write(zipped, words, levels, sizes)
        else:
            _write(file, words, levels, sizes)


def _write(
    file: IO[bytes] | gzip.GzipFile, words: Sequence[str], levels: Iterable[Level], sizes: Sequence[int]
) -> None:
    head = ["\\data\\", *(f"ngram {n}={size}" for n, size in enumerate(sizes, 1)), ""]
    file.write("\n".join([*head, ""]).encode())
    for order, level in enumerate(levels, start=1):
        file.write(f"\\{order}-grams:\n".encode())
        for start in range(0, len(level.words), _LINES):
            rows = slice(start, start + _LINES)
            logs, backoffs = level.log_probabilities[rows] / LN10, level.backoffs[rows] / LN10
            lines = []
            for ids, log, backoff in zip(level.words[rows].tolist(), logs.tolist(), backoffs.tolist(), strict=True):
                end = f"\t{backoff:.9g}" if order < len(sizes) else ""
                lines.append(f"{log:.9g}\t{' '.join([words[i] for i in ids])}{end}\n")
            file.write("".join(lines).encode())
        file.write(b"\n")
    file.write(b"\\end\\\n")


def _fault(path: str, number: int, what: str, line: str) -> ValueError:
    return data_error(path, "invalid", f"{path}:{number}: {what}. Received: {line!r:.100}.")


def _cut_off(path: str, missing: str) -> ValueError:
    return data_error(path, "cut off", f"is cut off: it ends before {missing}. Copy or write it again.")
