"""What is said while a search is compiled."""

import numba

from speechrnn.decoding import compiling


def test_a_search_that_is_being_compiled_says_so_once(caplog, monkeypatch):
    monkeypatch.setattr(compiling, "_told", set())
    for number in (1, 1.5):  # two signatures, so compiled twice
        numba.njit(lambda x: x + 1)(number)
    assert [record.getMessage()[:20] for record in caplog.records if record.name.startswith("speechrnn")] == [
        "compiling the search"
    ]
