"""The notebooks are written with what a user types first, and the site shows a picture of each; nbmake runs them."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BEHIND_THE_DOOR = r"export\.writing|\w+Session\b|evaluate_\w+|evaluation as|\.models\.loading"
"""What `load`, `export` and `evaluate` of a model are for."""


def test_they_are_numbered_from_one():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{number:02d}_" for number in range(1, len(NOTEBOOKS) + 1)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_go_through_the_front_door(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert re.findall(BEHIND_THE_DOOR, "\n".join("".join(cell["source"]) for cell in cells)) == []


def test_the_gallery_shows_a_picture_of_each_under_its_title():
    pytest.importorskip("sphinx")
    found = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    generated = importlib.util.module_from_spec(found)
    found.loader.exec_module(generated)
    files = generated.gallery()
    assert [name for name in files if name.endswith(".png")] == [f"{path.stem}.png" for path in NOTEBOOKS]
    assert all(content[:4] == b"\x89PNG" for name, content in files.items() if name.endswith(".png"))
    page = files["notebooks.md"]
    assert page.count("\n## ") == len(NOTEBOOKS) and "## How good is a recognizer" in page
    assert "![Training in detail](03_train_a_recognizer.png)\n\nThe first notebook trains once" in page
