"""LibriSpeech (2015): read English from audio books, 16 kHz; also mini LibriSpeech and any subset of either.

https://www.openslr.org/12/ and https://www.openslr.org/31/, CC BY 4.0. Panayotov, Chen, Povey and Khudanpur,
"LibriSpeech: an ASR corpus based on public domain audio books", ICASSP 2015.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechrnn import text
from speechrnn.data.archives import Archive
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, find_audio, folders_with, need_folder
from speechrnn.faults import Faults, check_choice, read_lines

_CHECKSUMS = {
    (31, "train-clean-5"): "md5:5df7d4e78065366204ca6845bb08f490",
    (31, "dev-clean-2"): "md5:6d7ab67ac6a1d2c993d050e16d61080d",
    (12, "dev-clean"): "sha256:76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    (12, "dev-other"): "sha256:12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    (12, "test-clean"): "sha256:39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    (12, "test-other"): "sha256:d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    (12, "train-clean-100"): "sha256:d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    (12, "train-clean-360"): "sha256:146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    (12, "train-other-500"): "sha256:ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}
"""Published checksums by OpenSLR's number of the corpus (31 is mini LibriSpeech) and subset."""
ARCHIVES = {
    f"{'mini-' if number == 31 else ''}librispeech-{subset}": Archive(
        (f"https://www.openslr.org/resources/{number}/{subset}.tar.gz",), f"LibriSpeech/{subset}", "CC BY 4.0", checksum
    )
    for (number, subset), checksum in _CHECKSUMS.items()
}
_SUFFIXES = (".flac", ".ogg", ".opus", ".wav", ".mp3")


@corpus(ValidSplit)
def prepare(folder: str | os.PathLike[str], *, options: ValidSplit, subsets: Sequence[str] = ()) -> Splits:
    """Write one manifest per subset, named as its folder: `train-clean-5.jsonl`, `dev-clean.jsonl`.

    Args:
        folder: The `LibriSpeech` folder, the one that holds it, or one subset (`speaker/chapter/*.flac` with
            `*.trans.txt`).
        subsets: Names of the subsets to prepare; by default all that are there.

    Returns:
        Examples by subset; texts in lower case, `subject` is the speaker's number.
    """
    root = need_folder(folder, "Download it with `speechrnn download`.", "LibriSpeech")
    message = "has no speaker/chapter/*.trans.txt, in it or one folder down. Give LibriSpeech's folder."
    folders = folders_with(root, "*/*/*.trans.txt", message)
    for name in subsets:
        check_choice("a subset", name, folders, where=root)
    return {name: _drafts(folders[name], options.collector) for name in subsets or folders}


def _drafts(subset: Path, faults: Faults) -> Iterator[Draft]:
    for transcripts in sorted(subset.glob("*/*/*.trans.txt")):
        chapter = transcripts.parent
        for line in read_lines(transcripts):
            name, _, transcript = line.strip().partition(" ")
            if not name:
                continue
            path = find_audio(chapter / name, _SUFFIXES, faults)
            if path is not None:
                yield Draft(path, text.normalize(transcript), subject=chapter.parent.name, id=name)
