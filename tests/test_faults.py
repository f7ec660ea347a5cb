import threading
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from speechrnn.faults import (
    CheckedOptions,
    Count,
    Fault,
    Faults,
    Fraction,
    check_choice,
    data_error,
    file_faults,
    kind_of,
    suggestion,
)


def test_summary_counts_kinds_and_names_the_first():
    faults = Faults()
    faults.add("an251-fash-b", "too short for their text", "needs 12 frames")
    for i in range(399):
        faults.add(f"u{i}", "too short for their text", "needs 12 frames")
    for i in range(12):
        faults.add(f"e{i}", "empty", "is empty")
    expected = "412 of 9,000 examples dropped: 400 too short for their text, 12 empty. First: an251-fash-b."
    assert faults.summary(9000) == expected
    assert faults.counts() == {"too short for their text": 400, "empty": 12}
    assert len(faults) == 412


def test_nothing_wrong_reads_so():
    assert Faults().summary(3, noun="files") == "0 of 3 files dropped."
    Faults().raise_first()


def test_threads_lose_no_fault():
    faults = Faults()
    threads = [threading.Thread(target=lambda: [faults.add("w", "k", "m") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) == 4000 == len(list(faults))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError("a"), "missing"),
        (IsADirectoryError("a"), "not a file"),
        (PermissionError("a"), "unreadable"),
        (ValueError("a"), "invalid"),
        (data_error("a.wav", "truncated", "is cut off."), "truncated"),
    ],
)
def test_kind_of_an_error(error, kind):
    faults = Faults()
    faults.add_error("a.wav", error)
    assert kind_of(error) == kind == next(iter(faults)).kind


def test_an_error_names_its_place_once():
    assert str(data_error("a.wav", "empty", "is empty.")) == "a.wav: is empty."
    assert str(data_error("a.wav", "empty", "a.wav: is empty.")) == "a.wav: is empty."
    assert str(Fault("a.wav", "empty", "a.wav: is empty.")) == "a.wav: is empty."
    assert str(Fault("u1", "empty", "is empty.")) == "u1: is empty."


def test_raise_first_says_how_many_follow():
    faults = Faults()
    for i in range(3):
        faults.add(f"m:{i}", "bad lines", f"m:{i}: broken.")
    with pytest.raises(ValueError, match=r"^m:0: broken\. \(and 2 more\)$"):
        faults.raise_first()


def test_suggestion():
    assert suggestion("--epoch", ["--epochs", "--units"]) == " Did you mean `--epochs`?"
    assert suggestion("zzz", ["epochs"]) == ""


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (KeyError("17"), "undecodable", "a.hea: cannot be read: KeyError: '17'."),
        (ValueError("no header"), "undecodable", "a.hea: cannot be read: no header."),
        (OSError("thrift"), "undecodable", "a.hea: cannot be read: thrift."),
        (OSError(22, "Invalid argument"), "undecodable", "a.hea: cannot be read: [Errno 22] Invalid argument."),
        (MemoryError(), "too large", "a.hea: asks for more memory than there is"),
        (ModuleNotFoundError("No module named 'wfdb'"), "lacking a library", 'pip install "speechrnn[signals]"'),
        (FileNotFoundError(2, "No such file", "a.dat"), "missing", "a.dat"),
        (data_error("a.hea", "empty", "is empty."), "empty", "a.hea: is empty."),
        (data_error("b.hea", "empty", "is empty."), "undecodable", "a.hea: cannot be read: b.hea: is empty."),
    ],
)
def test_whatever_a_reader_raises_is_the_fault_of_its_file(raised, kind, message):
    with pytest.raises((ValueError, OSError)) as caught, file_faults("a.hea", extra="signals"):
        raise raised
    assert kind_of(caught.value) == kind and message in str(caught.value)
    with pytest.raises(KeyboardInterrupt), file_faults("a.hea"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "value", "other", "message"),
    [
        ("cell", "ltsm", "", "here: `cell` must be one of lstm, gru. Received: cell='ltsm'. Did you mean `lstm`?"),
        ("cell", ["gru"], "", "here: `cell` must be one of lstm, gru. Received: cell=['gru']. Did you mean `gru`?"),
        ("cell", None, "a layer", "here: `cell` must be one of lstm, gru, or a layer. Received: cell=None."),
        ("the cell", "x" * 99, "", f"here: the cell must be one of lstm, gru. Received: '{'x' * 79}."),
    ],
)
def test_a_choice_that_there_is_not_is_named_beside_those_there_are(name, value, other, message):
    for known in (("lstm", "gru"), {"lstm": 1, "gru": 2}):
        check_choice(name, "gru", known)
        with pytest.raises(LookupError) as caught:
            check_choice(name, value, known, other=other, where="here", error=LookupError)
        assert str(caught.value) == message


@dataclass(frozen=True)
class _Kitchen(CheckedOptions):
    eggs: Count | None = None
    salt: Fraction = 0.0
    heat: Literal["low", "high"] | None = "low"


@dataclass(frozen=True)
class _Cellar(CheckedOptions):
    bottles: Count = 1


@dataclass(frozen=True)
class _House(_Kitchen, _Cellar):
    """What one base has is no less checked than what the other one has."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eggs": 0}, "`eggs` must be at least 1. Received: eggs=0."),
        ({"salt": 1.0}, "`salt` must be in [0, 1). Received: salt=1.0."),
        ({"salt": float("nan")}, "`salt` must be in [0, 1). Received: salt=nan."),
        ({"heat": "hihg"}, "`heat` must be one of low, high, None. Received: heat='hihg'. Did you mean `high`?"),
        ({"bottles": 0}, "`bottles` must be at least 1. Received: bottles=0."),
    ],
)
def test_options_are_checked_by_their_ranges(given, message):
    assert _House(eggs=1, heat=None).heat is None
    with pytest.raises(ValueError) as caught:
        _House(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value"), [("eggs", "1"), ("eggs", 1.5), ("salt", "0"), ("salt", None), ("eggs", True)]
)
def test_options_are_checked_by_their_types(name, value):
    assert _House(eggs=np.int64(1), salt=np.float32(0)).eggs == 1
    with pytest.raises(TypeError, match=rf"`{name}` must be a .*number\. Received: {value!r}"):
        _House(**{name: value})
