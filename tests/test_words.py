"""The package speaks the field's plain words, in one spelling."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT = {
    r"\banew\b": "again, over, rebuilt",
    r"passed over": "skipped",
    r"held against": "checked against",
    r"g(?:o|one) on with": "continue, resumed",
    r"\ba class a frame\b": "one class per frame",
    r"\b(?:or|is) said[;:,.]? (?:in the log|to be)\b|what to do is said": "reported, logged",
    r"\b(?:badness|foreign|stand_in)\b": "monitored_value, unreadable, placeholder",
    r"\b(?:at hand|in earnest|without a word|one behind the other)\b": "available, really, silently, concatenated",
    r"\b(?:white lines?|[Ww]hoever)\b": "blank lines, the caller",
    r"\b(?:recogniser|optimiser|normalis\w*|behaviours?|colour\w*|licence[sd]?|neighbour\w*|labell\w+)\b": "American",
}
"""What is not written, and what is instead."""


def test_words_and_spelling():
    files = [path for folder in ("speechrnn", "pipelines", "docs") for path in (ROOT / folder).rglob("*.py")]
    files += [path for path in (ROOT / "docs").rglob("*.md") if not {"_build", "generated"} & set(path.parts)]
    files += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile")]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]!r}, write {instead}"
        for path in files
        for words, instead in NOT.items()
        for match in re.finditer(words, path.read_text(encoding="utf-8"))
    ]
    assert found == []
