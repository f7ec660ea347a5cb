"""Lexicons packed into models: what was packed, array for array; what is damaged or does not fit is refused."""

import itertools
import json
import zlib

import numpy as np
import pytest

from speechrnn.decoding.lexicon import LexiconSearch
from speechrnn.text import Lexicon, Phones, packed

HELD = Lexicon(
    {
        "the": [(("DH", "AH"), 1.0), (("DH", "IY"), 1.0)],  # equally likely, so that their order matters
        "thee": [(("DH", "IY"), 1.0)],
        "and": [(("N",), 0.4), (("AH", "N", "D"), 0.8)],
        "naïve": [(("N", "AH", "IY"), 1.0)],
    }
)
PHONES = Phones(["N", "D", "AH", "DH", "IY", "ZH"])  # another order than the lexicon's, and one more


def opened(content, name="m.onnx"):
    return packed.PackedLexicon(memoryview(content), name)


def test_a_packed_lexicon_is_what_was_packed():
    found = opened(packed.pack(HELD, PHONES))
    assert list(found.items()) == list(HELD.items()) and found.phones == HELD.phones and len(found) == 4
    assert found.pronounce("the and naïve") == HELD.pronounce("the and naïve") and found.unknown("the it") == ["it"]
    assert found.to_bytes() == HELD.to_bytes()
    wanted = list(HELD.pronunciations(PHONES))
    assert list(found.pronunciations(PHONES)) == wanted
    other = Phones(sorted(PHONES.symbols))
    assert list(found.pronunciations(other)) == list(HELD.pronunciations(other)) != wanted
    with pytest.raises(ValueError, match="phones that the model cannot write: DH"):
        list(found.pronunciations(Phones(["AH", "N", "D", "IY"])))


def test_a_search_by_a_packed_lexicon_is_that_by_its_text(rng):
    held = Lexicon(
        {
            f"w{i}": [
                (tuple(rng.choice(PHONES.symbols, int(rng.integers(1, 6))).tolist()), float(p))
                for p in 1 - rng.random(2)
            ]
            for i in range(60)
        }
    )
    found = opened(packed.pack(held, PHONES)).pronunciations(PHONES)
    assert isinstance(found, packed.Pronunciations)
    searches = [LexiconSearch(PHONES, pronunciations) for pronunciations in (list(held.pronunciations(PHONES)), found)]
    for ours, theirs in itertools.pairwise(search._models() for search in searches):
        for name, a, b in zip(ours._fields, ours, theirs, strict=True):
            parts = zip(*(each if isinstance(each, tuple) else (each,) for each in (a, b)), strict=True)
            for one, other in parts:
                np.testing.assert_array_equal(one, other, err_msg=name)
    logits = rng.normal(size=(30, len(PHONES)), scale=3)
    assert searches[0].n_best(logits, 5) == searches[1].n_best(logits, 5)


def test_what_is_damaged_is_refused_by_name():
    content = packed.pack(HELD, PHONES)
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 0x10
        with pytest.raises(ValueError, match=r"^m\.onnx: "):
            opened(bytes(broken))
    for length in (0, 10, len(packed.PACKED), len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError, match=r"^m\.onnx: "):
            opened(content[:length])


PARTS = ("children", "symbols", "ends", "order", "counts")


def parts_of(content):
    payload = zlib.decompress(content[len(packed.PACKED) :])
    head, _, rest = payload.partition(b"\n")
    said = json.loads(head)
    edges = list(itertools.accumulate((4 * size for size in said["sizes"]), initial=0))
    whole = {
        n: np.frombuffer(rest[a:b], "<i4").copy() for n, (a, b) in zip(PARTS, itertools.pairwise(edges), strict=True)
    }
    count = len(whole["order"])
    probabilities = np.frombuffer(rest, "<f8", count, edges[-1]).copy()
    return said, whole, probabilities, rest[edges[-1] + 8 * count :]


def joined(said, whole, probabilities, words):
    numbers = b"".join(part.astype("<i4").tobytes() for part in whole.values()) + probabilities.tobytes()
    return packed.PACKED + zlib.compress(json.dumps(said).encode() + b"\n" + numbers + words)


def put(name, place, value):
    def change(said, whole, probabilities, words):
        whole[name][place] = value
        return said, whole, probabilities, words

    return change


def swapped(name, a, b):
    def change(said, whole, probabilities, words):
        whole[name][[a, b]] = whole[name][[b, a]]
        return said, whole, probabilities, words

    return change


HOSTILE = {
    "a node that is its own child": swapped("children", 0, -1),
    "children that are not there": put("children", 0, 200),
    "fewer than none": put("children", 1, -1),
    "a symbol outside": put("symbols", 1, 99),
    "the blank": put("symbols", 1, 0),
    "siblings out of order": swapped("symbols", 1, 2),
    "a word at the root": put("ends", 0, 1),
    "an order outside": put("order", 0, 2_000_000_000),
    "one twice": put("order", 0, 1),
    "a negative one": put("order", 0, -1),
    "a word without a pronunciation": put("counts", 1, 0),
    "more than there are": put("counts", 0, 3),
    "a probability above 1": lambda said, whole, p, words: (said, whole, p + 1, words),
    "no number": lambda said, whole, p, words: (said, whole, p * np.nan, words),
    "a word twice": lambda said, whole, p, words: (said, whole, p, words.replace(b"thee", b"the")),
    "a word too few": lambda said, whole, p, words: (said, whole, p, words.replace(b"the\n", b"")),
    "white space": lambda said, whole, p, words: (said, whole, p, words.replace(b"thee", b"th e")),
    "no UTF-8": lambda said, whole, p, words: (said, whole, p, words + b"\xff"),
    "other sizes": lambda said, whole, p, words: (said | {"sizes": [1, 2]}, whole, p, words),
    "sizes that are none": lambda said, whole, p, words: (said | {"sizes": [-1, 1e9, 1, 1, 1]}, whole, p, words),
    "a phone twice": lambda said, whole, p, words: (said | {"phones": ["N", "N"]}, whole, p, words),
    "fewer phones": lambda said, whole, p, words: (said | {"phones": ["N", "D"]}, whole, p, words),
    "no object": lambda said, whole, p, words: ([1], whole, p, words),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_tree_that_does_not_fit_is_refused(how):
    content = packed.pack(HELD, PHONES)
    assert dict(opened(joined(*parts_of(content)))) == dict(HELD)
    with pytest.raises(ValueError, match=r"^m\.onnx: its lexicon is damaged"):
        opened(joined(*HOSTILE[how](*parts_of(content))))


def test_no_more_than_a_lexicon_is_inflated(monkeypatch):
    monkeypatch.setattr(packed, "_MAX_SIZE", 1000)
    with pytest.raises(ValueError, match="too large to be one"):
        opened(packed.PACKED + zlib.compress(bytes(1001)))
