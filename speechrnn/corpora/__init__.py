"""Corpora: a folder as its authors publish it becomes manifests, one short module a corpus."""

import importlib
from collections.abc import Callable
from typing import Any

from speechrnn.faults import suggestion

CORPORA = {
    "an4": "CMU AN4: spelled letters, numbers, dates, commands",
    "common_voice": "Common Voice: train.tsv, dev.tsv, test.tsv and clips/ of one language",
    "fsdd": "Free Spoken Digit Dataset",
    "librispeech": "LibriSpeech, or any subset of it",
    "ljspeech": "LJ Speech: one voice, metadata.csv and wavs/",
    "table": "any CSV or TSV with a column of paths",
}
"""Name of each corpus that can be prepared, which is also that of its module here, and what it is."""


def prepare_function(name: str) -> Callable[..., Any]:
    """The `prepare` function of a corpus.

    Raises:
        ValueError: There is no such corpus.
    """
    if name not in CORPORA:
        raise ValueError(f"There is no corpus {name!r}.{suggestion(name, CORPORA)} Known: {', '.join(CORPORA)}.")
    return importlib.import_module(f"{__name__}.{name}").prepare
