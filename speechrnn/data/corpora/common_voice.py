"""Common Voice: sentences read by volunteers, one folder per language, MP3 at 32 or 48 kHz.

https://commonvoice.mozilla.org/, CC0. Ardila et al., "Common Voice: a massively-multilingual speech corpus", LREC 2020.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from speechrnn import text
from speechrnn.data.building import Draft, Splits, ValidSplit, corpus, need_folder
from speechrnn.data.corpora import table
from speechrnn.faults import suggestion


@corpus(ValidSplit)
def prepare(
    folder: str | os.PathLike[str], *, options: ValidSplit, splits: Sequence[str] = ("train", "dev", "test")
) -> Splits:
    """Write one manifest per table: `train.jsonl`, `dev.jsonl`, `test.jsonl`.

    Args:
        folder: The folder of one language, with `train.tsv`, `dev.tsv`, `test.tsv` and `clips/`.
        splits: Tables to prepare; `validated` has all checked recordings, including those of the other three.

    Returns:
        Examples by split; `subject` is the anonymous `client_id`.
    """
    root = need_folder(folder, "Download a language from https://commonvoice.mozilla.org/.")
    drafts: dict[str, list[Draft]] = {}
    for split in splits:
        path = root / f"{split}.tsv"
        if not path.is_file():
            hint = suggestion(split, sorted(p.stem for p in root.glob("*.tsv")), "Tables there")
            raise FileNotFoundError(f"{path}: is missing.{hint} Name those you want in `splits`.")
        # Quotation marks are part of the sentences, and are not doubled.
        rows = table.rows(path, delimiter="\t", quoted=False, faults=options.collector, needed=("path", "sentence"))
        drafts[split] = [_draft(root / "clips", row) for _, row in rows]
    return drafts


def _draft(clips: Path, row: dict[str, str]) -> Draft:
    path = clips / (row["path"] if Path(row["path"]).suffix else f"{row['path']}.mp3")
    return Draft(path, text.normalize(row["sentence"]), subject=row.get("client_id") or None)
