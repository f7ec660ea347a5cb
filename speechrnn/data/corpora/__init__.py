"""Corpora: converts published folders to manifests; one module per corpus, with everything about it.

A module has a function `prepare`, and `ARCHIVES` by name if the corpus can be downloaded. To add a corpus, add its
module and a line in `CORPORA`.
"""

import importlib
import inspect
import os
from collections.abc import Callable
from typing import Any

from speechrnn.data.archives import Archive
from speechrnn.faults import check_options, suggestion

CORPORA = {
    "an4": "CMU AN4: spelled letters, numbers, dates, commands",
    "bonn": "Bonn EEG: segments of five sets, one of them seizures",
    "cinc2017": "PhysioNet/CinC Challenge 2017: rhythm of short single-lead ECGs",
    "common_voice": "Common Voice: train.tsv, dev.tsv, test.tsv and clips/ of one language",
    "csv": "any folder of CSV tables of sensors, with classes in a column",
    "esc10": "ESC-10, or its part of ESC-50: environmental sounds",
    "ett": "ETT: load and oil temperature of transformers, to be forecast",
    "fsdd": "Free Spoken Digit Dataset",
    "hapt": "HAPT: activities and transitions from a smartphone's motion",
    "kaldi": "a data folder of Kaldi: wav.scp, text, utt2spk, segments; speechocean762 is one",
    "librispeech": "LibriSpeech, or any subset of it",
    "ljspeech": "LJ Speech: one voice, metadata.csv and wavs/",
    "mitdb": "MIT-BIH Arrhythmia: heartbeats in context, AAMI classes",
    "nab": "Numenta Anomaly Benchmark: series with windows of anomalies",
    "series": "any folder of CSV tables to be forecast, split by time",
    "sleep_edf": "Sleep-EDF: nights with a stage of sleep for every 30 s",
    "speech_commands": "Speech Commands: single words, one folder per word",
    "table": "any CSV or TSV with a column of paths",
    "texts": "any CSV or TSV with a column of texts and one of classes",
    "ucr": "a data set of the UCR archive: _TRAIN.tsv and _TEST.tsv",
    "uea": "a data set of the UEA archive: _TRAIN.ts and _TEST.ts",
}
"""Name of each corpus, which is also the name of its module, and a description."""


def prepare_function(name: str) -> Callable[..., Any]:
    """The `prepare` function of a corpus.

    Raises:
        ValueError: There is no such corpus.
    """
    if name not in CORPORA:
        raise ValueError(f"There is no corpus {name!r}.{suggestion(name, CORPORA, 'Known')}")
    return _module(name).prepare


def prepare(corpus: str, folder: str | os.PathLike[str], *, out: str | os.PathLike[str], **options: Any) -> Any:
    """Turn the folder of a corpus, as its authors publish it, into manifests.

    Args:
        corpus: Name of the corpus, see `CORPORA`.
        folder: The corpus.
        out: Folder for the manifests, one `.jsonl` file for each split.
        **options: Options of the corpus's own `prepare` function, such as `valid_fraction`.

    Returns:
        The examples of each split, by its name.

    Raises:
        TypeError: The corpus has no such option.
        ValueError: The corpus is unknown, or none of it can be read.
    """
    function = prepare_function(corpus)
    check_options(options, list(inspect.signature(function).parameters)[2:], corpus)
    return function(folder, out, **options)


def archives() -> dict[str, Archive]:
    """All archives that can be downloaded, by name: the `ARCHIVES` of all corpora."""
    return {name: archive for corpus in CORPORA for name, archive in getattr(_module(corpus), "ARCHIVES", {}).items()}


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
