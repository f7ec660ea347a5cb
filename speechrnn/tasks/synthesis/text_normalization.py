"""Normalize English texts for synthesis: numbers, abbreviations and signs as words, and split into sentences."""

from __future__ import annotations

import re
import unicodedata

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_LARGE = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "st": "saint", "co": "company", "jr": "junior",
    "sr": "senior", "prof": "professor", "gen": "general", "col": "colonel", "capt": "captain", "lieut": "lieutenant",
    "sgt": "sergeant", "rev": "reverend", "hon": "honorable", "ltd": "limited", "vs": "versus", "etc": "et cetera",
    "no": "number", "e.g": "for example", "i.e": "that is",
}  # fmt: skip
_SIGNS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "°": "degrees"}
_MONEY = {"$": "dollar", "£": "pound", "€": "euro"}

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\w.])\.\d+"
_ABBREVIATED = re.compile(
    r"\b(" + "|".join(re.escape(short) for short in sorted(_ABBREVIATIONS, key=len, reverse=True) if short != "no")
    + r")\.(?!\w)|\b(no)\.(?=\s*\d)", re.IGNORECASE,
)  # fmt: skip
_MULTIPLES = {"k": "thousand", "m": "million", "bn": "billion", "tn": "trillion"}
_PAID = re.compile(
    rf"([$£€])\s?({_NUMBER})(?:\s?(thousand|million|billion|trillion|{'|'.join(_MULTIPLES)})\b)?", re.IGNORECASE
)
_NTH = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_COUNTED = re.compile(_NUMBER)
_CLOCK = re.compile(r"(?<![\w:.,])([01]?\d|2[0-3]):([0-5]\d)(?![\w:])")
_APART = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])(?!s\b)")
"""Between a number and letters, as in 5kg and H2O, but not in the 1990s."""
_MINUS = re.compile(r"(?<![\w.])[-−](?=[$£€]?\.?\d)")
_FRACTION = re.compile(r"(\d ?)?([¼-¾⅐-⅞↉])")
_RAISED = re.compile(r"(?<=\d)⁻?[⁰¹²³⁴-⁹]+|(?<=[^\W\d_])[²³](?![⁰¹²³⁴-⁹])")
_POWERS = {"²": "squared", "³": "cubed"}
_ENDS = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=\S)|\n\s*\n")


def spelled_out(text: str) -> str:
    """Write numbers, abbreviations and signs as words; punctuation is kept.

    Example:
    >>> spelled_out("Mr. Fox paid $3.50 for 21 eggs on the 2nd of May, 1987.")
    'mister Fox paid three dollars fifty for twenty one eggs on the second of May, nineteen eighty seven.'
    """
    text = _RAISED.sub(_power, _FRACTION.sub(_fraction, text))  # of which NFKC makes plain digits
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"(?<=\w)(?=[$£€])", " ", _MINUS.sub("minus ", text))
    text = _ABBREVIATED.sub(lambda found: _ABBREVIATIONS[(found[1] or found[2]).lower()], text)
    text = _PAID.sub(lambda found: _money(*found.groups()), text)
    text = _NTH.sub(lambda found: ordinal(int(found[1])), text)
    text = _CLOCK.sub(lambda found: _time(found[1], found[2]), text)
    text = _COUNTED.sub(lambda found: _read(found[0]), _APART.sub(" ", text))
    for sign, word in _SIGNS.items():
        text = text.replace(sign, f" {word} ")
    return re.sub(r"[^\S\n]+", " ", re.sub(r" +(?=[,.;:!?)])", "", text)).strip()


def sentences(text: str) -> list[str]:
    """Split a text into sentences, with numbers and signs as words.

    Example:
    >>> sentences("Dr. No came at 5. Why? Nobody knows.")
    ['doctor No came at five.', 'Why?', 'Nobody knows.']
    """
    return [part.strip() for part in _ENDS.split(spelled_out(text)) if part and part.strip()]


def number(value: int) -> str:
    """A whole number from 0 in words.

    Example:
    >>> number(1_000_203)
    'one million two hundred three'
    """
    if value < 20:
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    if value >= 10**15:
        return " ".join(_ONES[int(digit)] for digit in str(value))
    size, word = next(each for each in _LARGE if value >= each[0])
    many, rest = divmod(value, size)
    return f"{number(many)} {word}" + (f" {number(rest)}" if rest else "")


def ordinal(value: int) -> str:
    """An ordinal number in words.

    Example:
    >>> ordinal(1), ordinal(20), ordinal(122)
    ('first', 'twentieth', 'one hundred twenty second')
    """
    *before, last = number(value).split()
    last = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return " ".join([*before, last])


def _read(written: str) -> str:
    whole, _, fraction = written.replace(",", "").partition(".")
    if fraction:
        return " ".join([*([_whole(whole)] if whole else []), "point", *(_ONES[int(digit)] for digit in fraction)])
    if "," not in written and len(whole) == 4 and (1100 <= int(whole) <= 1999 or 2010 <= int(whole) <= 2099):
        century, years = divmod(int(whole), 100)  # as years are read
        return f"{number(century)} " + (
            f"oh {number(years)}" if 0 < years < 10 else number(years) if years else "hundred"
        )
    return _whole(whole)


def _whole(digits: str) -> str:
    """A whole number in words; digit by digit if it begins with a zero, like a telephone number."""
    if len(digits) > 1 and digits.startswith("0"):
        return " ".join(_ONES[int(digit)] for digit in digits)
    return number(int(digits))


def _fraction(found: re.Match[str]) -> str:
    """A fraction that is one character, as `2 and one half`."""
    spoken = unicodedata.name(found[2]).removeprefix("VULGAR FRACTION ").lower()
    return f"{found[1].strip()} and {spoken} " if found[1] else f" {spoken} "


def _power(found: re.Match[str]) -> str:
    return " " + (_POWERS.get(found[0]) or f"to the power of {found[0]}")


def _time(hours: str, minutes: str) -> str:
    """A time of day, as `ten thirty`, `ten oh five` and `ten`."""
    spoken = number(int(minutes)) if int(minutes) > 9 else f"oh {number(int(minutes))}"
    return number(int(hours)) + (f" {spoken}" if int(minutes) else "")


def _money(sign: str, written: str, multiple: str | None) -> str:
    whole, _, cents = written.replace(",", "").partition(".")
    if multiple:
        return f"{_read(written)} {_MULTIPLES.get(multiple.lower(), multiple)} {_MONEY[sign]}s"
    if cents and len(cents) != 2:
        return f"{_read(written)} {_MONEY[sign]}s"
    amount = int(whole or 0)
    name = _MONEY[sign] + ("" if amount == 1 else "s")
    return f"{number(amount)} {name}" + (f" {number(int(cents))}" if cents and int(cents) else "")
