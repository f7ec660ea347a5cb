"""The normal form of texts: what Unicode places within words cuts none of them."""

import pytest

from speechrnn.text import normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0dc1\u0dca\u0dbb\u0dd3"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
        ("Wasser\u00adfall \ufeffb\u2060c", "wasserfall bc"),
        ("col\u00b7lecci\u00f3", "collecci\u00f3"),
        ("\u05e6\u05d4\u05f4\u05dc", "\u05e6\u05d4\u05dc"),
        ("\u056b\u0576\u0579\u057a\u0565\u055e\u057d", "\u056b\u0576\u0579\u057a\u0565\u057d"),
        ('\u05e6\u05d4"\u05dc \u05e6\u05d4\u201d\u05dc "\u05d0"', "\u05e6\u05d4\u05dc \u05e6\u05d4\u05dc \u05d0"),
        ("\u05e6'\u05e7 \u05d2'", "\u05e6\u05e7 \u05d2"),
        ("\u0574\u055a\u0578\u0582", "\u0574'\u0578\u0582"),
        ("\u0645\u0640\u0640\u062d\u0645\u062f \u1820\u180b\u1828", "\u0645\u062d\u0645\u062f \u1820\u1828"),
        ("don\u00b4t don\uff07t don\u2032t", "don't don't don't"),
        ("\u1ecd\u0300'r 'n'", "\u1ecd\u0300'r n"),
        ("\u0130ZM\u0130R I\u0307", "izmir i"),
        ("\u0e20\u0e32\u200b\u0e44\u0e17\u0e22", "\u0e20\u0e32 \u0e44\u0e17\u0e22"),
        ("love \u2764\ufe0f it", "love it"),
    ],
)
def test_words_stay_whole(text, expected):
    assert normalize(text) == expected
    assert normalize(expected) == expected
