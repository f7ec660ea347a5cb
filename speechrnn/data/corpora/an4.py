"""CMU AN4 (1991): census answers, spelled letters, numbers, dates and commands, 948 + 130 recordings of 84 speakers.

http://www.speech.cs.cmu.edu/databases/an4/, free for any use.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from speechrnn import text
from speechrnn.data.archives import Archive
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, find_audio, need_folder
from speechrnn.faults import Faults, check_choice, read_lines

_SITE = "http://www.speech.cs.cmu.edu/databases/an4"
_MIRROR = "https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz"
ARCHIVES = {
    "an4": Archive((f"{_SITE}/an4_sphere.tar.gz", _MIRROR), "an4", "CMU, free for any use"),
    "an4-raw": Archive((f"{_SITE}/an4_raw.bigendian.tar.gz",), "an4", "CMU, free for any use"),
}
SPLITS = ("train", "test")
_SUFFIXES = (".flac", ".wav", ".sph", ".raw")
_LINE = re.compile(r"(?P<text>.*?)\s*\((?P<id>[^()\s]+)\)\s*")
_MARKUP = re.compile(r"</?s>|<sil>|\+\+\S+?\+\+", re.IGNORECASE)  # sentence ends and noises, in SphinxTrain's notation


@corpus(ValidSplit)
def prepare(
    folder: str | os.PathLike[str], *, options: ValidSplit, byte_order: Literal["big", "little"] = "big"
) -> Splits:
    """Write `train.jsonl` and `test.jsonl` for the official tree (`etc/` and `wav/`).

    Args:
        folder: The `an4` folder, or the one that holds it. Recordings may be .flac, .wav, .sph or .raw (16-bit, 16
            kHz, without a header).
        byte_order: Byte order of .raw files, `big` or `little`: CMU publishes both.

    Returns:
        Examples by split; texts in lower case, `subject` is the speaker's folder.
    """
    check_choice("byte_order", byte_order, ("big", "little"))
    root = need_folder(folder, "Download AN4 with `speechrnn download an4`.", "an4")
    encoding = "s16be@16000" if byte_order == "big" else "s16le@16000"
    return {split: _drafts(root, split, encoding, options.collector) for split in SPLITS}


def _drafts(root: Path, split: str, encoding: str, faults: Faults) -> Iterator[Draft]:
    transcripts = dict(_transcripts(root / "etc" / f"an4_{split}.transcription", faults))
    for line in _lines(root / "etc" / f"an4_{split}.fileids"):
        file_id = line.strip()
        name = Path(file_id).name
        if name not in transcripts:
            faults.add(name, "without a transcript", f"{name}: is not in etc/an4_{split}.transcription.")
            continue
        path = find_audio(root / "wav" / file_id, _SUFFIXES, faults)
        if path is not None:
            extra = {"encoding": encoding} if path.suffix == ".raw" else {}
            yield Draft(path, transcripts[name], subject=Path(file_id).parent.name, id=name, extra=extra)


def _transcripts(path: Path, faults: Faults) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(path), start=1):
        match = _LINE.fullmatch(line)
        if match:
            yield match["id"], text.normalize(_MARKUP.sub(" ", match["text"]))
        else:
            faults.add(
                f"{path}:{number}", "bad lines", f"{path}:{number}: should read `TEXT (id)`. Received: {line!r}."
            )


def _lines(path: Path) -> list[str]:
    missing = "is missing. Give the folder that holds AN4's `etc` and `wav`."
    return [line for line in read_lines(path, missing=missing) if line.strip()]
