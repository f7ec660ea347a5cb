"""Reads sentences from text files and manifests."""

from __future__ import annotations

import gzip
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from speechrnn import text
from speechrnn.data import manifest


def read(paths: Iterable[str | os.PathLike[str]], *, normalize: bool = True) -> Iterator[str]:
    """Yield the sentences of text files and manifests; blank lines are skipped.

    Args:
        paths: Files in UTF-8 with one sentence per line, also compressed (.gz, .xz), or manifests (.jsonl).
        normalize: Convert to lower case and remove punctuation, by `text.normalize`.

    Raises:
        OSError, ValueError: A file cannot be read.
    """
    for path in paths:
        for line in _lines(os.fspath(path)):
            sentence = text.normalize(line) if normalize else line.strip()
            if sentence:
                yield sentence


def _opened(path: str) -> IO[str]:
    opens: Any = {".gz": gzip.open, ".xz": lzma.open}.get(os.path.splitext(path)[1], open)
    return opens(path, "rt", encoding="utf-8-sig")  # Windows editors write a byte order mark


def _lines(path: str) -> Iterator[str]:
    if path.endswith(".jsonl"):
        yield from (example.text or "" for example in manifest.read(path))
        return
    try:
        with _opened(path) as file:
            yield from file
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path}: must be text in UTF-8, one sentence per line. {error}") from error
