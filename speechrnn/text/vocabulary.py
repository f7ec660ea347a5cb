"""Normalization of texts, and vocabularies of characters."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘‛ʼ`´′＇｀՚", "'"))
_WITHIN_WORDS = dict.fromkeys(map(ord, "·\u0387\u2027\u05f3\u05f4\u055b\u055c\u055e\u055f"))
"""Marks within words (UAX 29, MidLetter): Catalan and Greek dots, Hebrew geresh and gershayim, Armenian intonation."""
_HEBREW = re.compile("(?<=[\u05d0-\u05ea])[\"'“”„](?=[\u05d0-\u05ea])")
"""Typists' geresh and gershayim (UAX 29, rules 7b and 7c)."""
_INVISIBLE = dict.fromkeys([0x34F, 0x640, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
"""Marks that only affect how a character or a word is drawn, such as the stroke that lengthens Arabic words."""
_DASHES = re.compile(r"[\u2010-\u2015\-_/]+")
_RUNS = re.compile("'+")
_SPACES = re.compile(r"\s+")
_NORMAL = re.compile(r"[a-z0-9]+(?:'+[a-z0-9]+)*(?: [a-z0-9]+(?:'+[a-z0-9]+)*)*")
"""Texts that are normalized already, such as millions of sentences for a language model."""


def normalize(text: str, *, lowercase: bool = True, punctuation: bool = False) -> str:
    """Normalize a transcript for training and scoring.

    Unicode is composed (NFC), letters become lower case, dashes become spaces, apostrophes within words are kept, other
    punctuation is removed, and white space becomes single spaces. Letters and digits of any script are kept. Characters
    that Unicode allows within words do not split them: joiners, soft hyphens and other invisible characters are
    removed, and so are the marks of some scripts.

    Args:
        text: A transcript.
        lowercase: Convert to lower case.
        punctuation: Keep punctuation.

    Returns:
        The normalized text; it may be empty.

    Example:
    >>> normalize("  It’s TWENTY-ONE, please! ")
    "it's twenty one please"
    """
    text = text.strip()
    if _NORMAL.fullmatch(text):
        return text
    text = unicodedata.normalize("NFC", text.translate(_APOSTROPHES))  # before NFC, which changes the acute accent
    text = text.translate(_INVISIBLE).replace("\u200b", " ")  # between the words of scripts without spaces
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    if lowercase:
        text = text.replace("İ", "i").lower()  # Python would add a combining dot
    if not punctuation:
        text = _DASHES.sub(" ", _HEBREW.sub("", text.translate(_WITHIN_WORDS)))
        text = "".join(c if c == "'" or c.isspace() or _in_word(c) else " " for c in text)
        text = _RUNS.sub(_apostrophes_within, text)
    return _SPACES.sub(" ", text).strip()


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _apostrophes_within(run: re.Match[str]) -> str:
    """Keeps apostrophes between letters, marks and digits; others become spaces."""
    text, start, stop = run.string, run.start(), run.end()
    within = start > 0 and stop < len(text) and _in_word(text[start - 1]) and _in_word(text[stop])
    return run[0] if within else " "


class Vocabulary:
    """The characters that a recognizer can write; index 0 is the CTC blank.

    Args:
        symbols: The characters in order, without the blank; symbol `i` has index `i + 1`.

    Raises:
        ValueError: A symbol is repeated, or is not a single character.

    Example:
    >>> vocabulary = Vocabulary(" abc")
    >>> vocabulary.encode("cab a")
    [4, 2, 3, 1, 2]
    >>> vocabulary.decode([4, 2, 3, 1, 2]), len(vocabulary)
    ('cab a', 5)
    """

    CONFIG_KEY: ClassVar[str] = "symbols"
    """A key of `get_config` that identifies this class."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._set_symbols(symbols, "A vocabulary's symbols must be different single characters", lambda s: len(s) == 1)

    def _set_symbols(self, symbols: Sequence[str], requirement: str, is_valid: Callable[[str], bool]) -> None:
        """Set the symbols, which must be valid and differ."""
        self.symbols = tuple(symbols)
        self._indices = {symbol: i + 1 for i, symbol in enumerate(self.symbols)}
        wrong = [repr(symbol) for symbol in self.symbols if not is_valid(symbol)]
        repeated = [f"{symbol!r} twice" for symbol, times in Counter(self.symbols).items() if times > 1]
        if wrong or repeated:
            raise ValueError(f"{requirement}. Received: {[*wrong, *repeated][0]}.")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Vocabulary":
        """The sorted characters that occur in `texts`.

        Raises:
            ValueError: The texts have no characters.
        """
        symbols = sorted(set().union(*texts))
        if not symbols:
            raise ValueError("A vocabulary needs at least one character. Received texts without any.")
        return cls(symbols)

    def __len__(self) -> int:
        """Number of indices, the blank counted."""
        return len(self.symbols) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(self.symbols)

    def __repr__(self) -> str:
        if self.letters is self:
            return f"Vocabulary({''.join(self.symbols)!r})"
        listed = " ".join(self.symbols[:10]) + (" ..." if len(self.symbols) > 10 else "")
        return f"{type(self).__name__}({len(self.symbols)}: {listed})"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The text of each index; empty for the blank."""
        return ("", *self.symbols)

    @property
    def letters(self) -> "Vocabulary":
        """The characters of texts: this vocabulary, unless its symbols are longer than a character."""
        return self

    def missing(self, text: str) -> set[str]:
        """The characters of `text` that this vocabulary lacks."""
        return set(text) - self._indices.keys()

    def encode(self, text: str) -> list[int]:
        """Indices (from 1) of the characters of `text`.

        Raises:
            ValueError: `text` has characters that the vocabulary lacks; they are named.
        """
        missing = self.missing(text)
        if missing:
            raise ValueError(
                f"The vocabulary {''.join(self.symbols)!r} lacks {sorted(missing)}. Received: {text!r}. "
                "Normalize the text, or train with a vocabulary that has these characters."
            )
        return [self._indices[c] for c in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of indices; blanks (0) are skipped.

        Symbols that begin with a space lose it at the start of the text; a space that is a symbol itself is kept.

        Raises:
            ValueError: An index is outside the vocabulary.
        """
        ids = [int(i) for i in ids]
        outside = [i for i in ids if not 0 <= i < len(self)]
        if outside:
            raise ValueError(f"Indices must lie in [0, {len(self)}). Received: {outside[0]}.")
        spellings = self.spellings
        text = "".join(spellings[i] for i in ids)
        return text if self.letters is self else text.removeprefix(" ")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in a form that JSON can hold."""
        return {"symbols": list(self.symbols)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Vocabulary":
        """The vocabulary of a `get_config`, of the class that wrote it."""
        for kind in cls.__subclasses__():
            if kind.CONFIG_KEY in config:
                return kind(**config)
        return cls(**config)
