"""Vocabularies of phones."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from speechrnn.text.vocabulary import Vocabulary


class Phones(Vocabulary):
    """The phones that a recognizer can write; index 0 is the CTC blank.

    The phones of a text are separated by spaces, as in `HH AH L OW`, without word boundaries. A lexicon converts words
    to such texts (`Lexicon.pronounce`), and recognized phones to words.

    Args:
        phones: Names in order, without the blank; phone `i` has index `i + 1`.

    Raises:
        ValueError: There are no phones, or a name is empty, repeated or has white space in it.

    Example:
    >>> vocabulary = Phones(["AH", "HH", "L", "OW"])
    >>> vocabulary.encode("HH AH L OW"), vocabulary.decode([2, 1, 3, 4]), len(vocabulary)
    ([2, 1, 3, 4], 'HH AH L OW', 5)
    """

    CONFIG_KEY: ClassVar[str] = "phones"

    def __init__(self, phones: Sequence[str]) -> None:
        requirement = "Phones must be different names without white space"
        self._set_symbols(phones, requirement, lambda symbol: symbol.split() == [symbol])
        if not self.symbols:
            raise ValueError(f"{requirement}. Received: none.")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Phones":
        """The sorted phones that occur in `texts`.

        Raises:
            ValueError: The texts have no phones.
        """
        return cls(sorted({phone for text in texts for phone in text.split()}))

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """See `Vocabulary`; each phone begins with a space, so that without a lexicon each counts as a word."""
        return ("", *(f" {symbol}" for symbol in self.symbols))

    @cached_property
    def letters(self) -> Vocabulary:
        """The characters of the names, the space first."""
        return Vocabulary([" ", *sorted(set("".join(self.symbols)))])

    def missing(self, text: str) -> set[str]:
        """The phones of `text` that this vocabulary lacks."""
        return set(text.split()) - self._indices.keys()

    def encode(self, text: str) -> list[int]:
        """Indices (from 1) of the phones of `text`.

        Raises:
            ValueError: `text` has something other than the vocabulary's phones, such as words.
        """
        missing = sorted(self.missing(text))
        if missing:
            raise ValueError(
                f"The vocabulary has {len(self.symbols)} symbols, and lacks {missing[:5]}. Received: {text!r:.80}. "
                "Leave them out. If it has phones, make phones of words with a lexicon (`Lexicon.pronounce`)."
            )
        return [self._indices[phone] for phone in text.split()]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in a form that JSON can hold."""
        return {"phones": list(self.symbols)}
