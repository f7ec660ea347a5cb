"""Functions of machine code: what Python makes of them, kept whole or made again, and without numba once kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from speechrnn.decoding import compiling
from speechrnn.decoding.compiling import inner, outer

ROOT = Path(__file__).resolve().parents[1]


class Tables(NamedTuple):
    rows: np.ndarray
    scale: np.ndarray


@inner
def _softplus(tables: Any, row: int) -> float:
    total = 0.0
    for column in range(tables.rows.shape[1]):
        total += np.log1p(np.exp(tables.rows[row, column]))
    return total * tables.scale[0]


def filled(tables: Any, out: np.ndarray, twice: bool, added: float) -> int:
    count = 0
    for row in range(len(out)):
        out[row] = _softplus(tables, row) * (2 if twice else 1) + added
        count += out[row] > 0
    return count


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder beside the package that machine code is kept in, and the user's."""
    monkeypatch.setattr(compiling, "_HERE", tmp_path / "here")
    monkeypatch.setenv("SPEECHRNN_CACHE", str(tmp_path / "user"))
    return tmp_path / "here", tmp_path / "user"


def agrees(rng, rows=3):
    """Whether a function as another process would have it gives what Python does."""
    tables = Tables(rng.normal(size=(rows, 4)), np.array([0.5], np.float32))
    ours, theirs = np.zeros(rows), np.zeros(rows)
    count = outer(filled)(tables, ours, True, -1.5)
    assert count == filled(tables, theirs, True, -1.5)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_machine_code_is_kept_and_that_which_is_damaged_is_made_again(kept, rng, monkeypatch):
    agrees(rng)
    (place,) = kept[0].iterdir()
    whole = place.read_bytes()
    monkeypatch.setattr(outer, "_compile", None)  # which raises if it is called
    agrees(rng, rows=5)
    monkeypatch.undo()
    monkeypatch.setattr(compiling, "_HERE", kept[0])
    for damaged in (whole[:-100], whole[:50] + b"\x00" * 50 + whole[100:], b""):
        place.write_bytes(damaged)
        agrees(rng)
        again = place.read_bytes()
        assert hashlib.sha256(again[32:]).digest() == again[:32]


def test_where_the_package_cannot_be_written_the_users_folder_is_and_else_it_is_told(kept, rng, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(compiling, "_logged", set())
    kept[0].touch()  # no folder can be made there
    agrees(rng)
    assert len(list(kept[1].iterdir())) == 1 and "cannot be stored" not in caplog.text
    monkeypatch.setenv("SPEECHRNN_CACHE", str(kept[0]))
    agrees(rng)
    assert (
        "compiled functions cannot be stored, and are compiled in every process: set SPEECHRNN_CACHE to a folder"
        in caplog.text
    )


def test_what_cannot_become_machine_code_is_refused(kept):
    def makes_an_array(values: np.ndarray) -> float:
        return (values + 1)[0]

    with pytest.raises(RuntimeError, match="must make no arrays and call C alone. Received: .*NRT_"):
        outer(makes_an_array)(np.zeros(3))
    with pytest.raises(ValueError, match="contiguous"):
        outer(filled)(Tables(np.zeros((3, 4)), np.zeros(6)[::2]), np.zeros(3), True, 0.0)


def test_numbas_own_switch_is_heeded(rng, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setattr(outer, "_load", None)
    agrees(rng)


def test_other_types_sources_and_processors_have_code_of_their_own(monkeypatch):
    function = outer(filled)
    names = {function._digest(layout) for layout in ("<f8:1", "<f4:1", "<f4:2")}
    monkeypatch.setattr(compiling, "_environment", lambda: ("another processor",))
    names.add(function._digest("<f8:1"))
    assert len(names) == 4
    assert {"speechrnn.decoding.lm.stepping", "speechrnn.decoding.lexicon_models"} <= compiling._modules(_search())


def _search():
    from speechrnn.decoding import lexicon_search

    return lexicon_search.run


def test_a_kept_search_needs_no_numba():
    code = """
import sys
import numpy as np
from speechrnn.decoding import BeamSearch, LexiconSearch, align
from speechrnn.text import Vocabulary
logits, vocabulary = 9.0 * np.eye(4)[[2, 0, 1, 1, 3]], Vocabulary("ABR")
search = LexiconSearch(vocabulary, [("bar", [2, 1, 3], 0.0), ("a", [1], 0.0)])
stream = search.stream()
words = stream.advance(logits).words + stream.finish().words
print(search(logits).words, words, BeamSearch(vocabulary)(logits).ids, align(logits, [2, 1]).start_frames)
print("numba" in sys.modules, file=sys.stderr)
"""
    for _ in range(2):  # what is not kept yet is, after the first
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "('bar',) ('bar',) [2 1 3] [0 2]\n"
    assert done.stderr == "False\n"


def test_a_search_that_is_being_compiled_says_so_once(caplog, monkeypatch):
    compiling._numba()
    monkeypatch.setattr(compiling, "_logged", set())
    for number in (1, 1.5):  # two signatures, so compiled twice
        numba.njit(lambda x: x + 1)(number)
    assert [record.getMessage()[:20] for record in caplog.records if record.name.startswith("speechrnn")] == [
        "compiling the search"
    ]
