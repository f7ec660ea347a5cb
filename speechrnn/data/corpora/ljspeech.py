"""LJ Speech 1.1 (2017): 13,100 sentences read by one woman, 22.05 kHz.

https://keithito.com/LJ-Speech-Dataset/, public domain.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from speechrnn import text
from speechrnn.data.archives import Archive
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, find_audio, need_folder
from speechrnn.faults import Faults, read_lines

ARCHIVES = {
    "ljspeech": Archive(
        ("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",),
        "LJSpeech-1.1",
        "public domain",
        "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    )
}
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@corpus(ValidSplit, key=lambda example: example.id.partition("-")[0])
def prepare(folder: str | os.PathLike[str], *, options: ValidSplit) -> Splits:
    """Write `train.jsonl`; there is one speaker and no official split. Whole books (LJ001 to LJ050) are held out.

    Args:
        folder: The folder that holds `metadata.csv` and `wavs`.

    Returns:
        Examples by split; the texts are those with numbers and abbreviations written out, and `extra["written"]` are
        these with their punctuation.
    """
    root = need_folder(folder, "Download it with `speechrnn download ljspeech`.", "LJSpeech-1.1")
    return {"train": _drafts(root, options.collector)}


def _drafts(root: Path, faults: Faults) -> Iterator[Draft]:
    table = root / "metadata.csv"
    missing = "is missing. Give the folder that holds LJ Speech's `metadata.csv` and `wavs`."
    for number, line in enumerate(read_lines(table, missing=missing), start=1):
        if not line.strip():
            continue
        # Quotation marks are part of the texts, so Python's csv module cannot read this.
        name, *texts = line.rstrip("\r").split("|")
        if not 1 <= len(texts) <= 2:
            where = f"{table}:{number}"
            faults.add(where, "bad lines", f"{where}: should read `id|text|text written out`. Received: {line!r:.80}.")
            continue
        path = find_audio(root / "wavs" / name, _SUFFIXES, faults)
        if path is not None:
            yield Draft(path, text.normalize(texts[-1]), subject="LJ", id=name, extra={"written": texts[-1]})
