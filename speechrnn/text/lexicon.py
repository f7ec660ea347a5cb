"""Lexicons: how words are pronounced."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from speechrnn.files import replacing
from speechrnn.text.phones import Phones

HEADER = "#speechrnn-lexicon"
"""Begins a lexicon's own file, before the number of the format and the phones."""

FORMAT = "1"

Pronunciation = tuple[tuple[str, ...], float]
"""Phones in order, and how likely they are: 1 for a word's likeliest ones."""

Guess = Callable[[str], Sequence[str] | None]
"""A word to its phones, for words that a lexicon lacks; None where it cannot tell."""


class Lexicon(Mapping[str, tuple[Pronunciation, ...]]):
    """Words and their pronunciations, several a word if need be, the likeliest first: a mapping that does not change.

    Args:
        entries: For each word its pronunciations with their probabilities. Those of a word are divided by the highest
            one, as Kaldi has them, so that a word with several pronunciations is not a less likely one; the same
            pronunciation given twice counts once, with the higher probability.

    Raises:
        ValueError: A word is empty or has white space in it; a word has no pronunciation, or one without phones or
            with a phone that is no name; or a probability is not in (0, 1].

    Example:
    >>> lexicon = Lexicon({"the": [(("DH", "AH"), 0.8), (("DH", "IY"), 0.4)], "end": [(("EH", "N", "D"), 1.0)]})
    >>> lexicon["the"]
    ((('DH', 'AH'), 1.0), (('DH', 'IY'), 0.5))
    >>> lexicon.pronounce("the end"), lexicon.unknown("the ends"), lexicon.phones
    ('DH AH EH N D', ['ends'], ('AH', 'D', 'DH', 'EH', 'IY', 'N'))
    """

    def __init__(self, entries: Mapping[str, Iterable[Pronunciation]]) -> None:
        self._entries = {word: _ordered(word, pronunciations) for word, pronunciations in entries.items()}
        self.phones = tuple(sorted({p for each in self._entries.values() for phones, _ in each for p in phones}))
        """All phones, sorted."""
        for phone in self.phones:
            if phone.split() != [phone]:
                word = next(w for w, each in self._entries.items() if any(phone in phones for phones, _ in each))
                raise ValueError(f"A phone must be a name without white space. Received: {phone!r} in {word!r}.")

    def __len__(self) -> int:
        """Number of words."""
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        """The words, in the order given."""
        return iter(self._entries)

    def __getitem__(self, word: str) -> tuple[Pronunciation, ...]:
        return self._entries[word]

    def __repr__(self) -> str:
        return f"Lexicon({len(self)} words of {len(self.phones)} phones)"

    def unknown(self, text: str) -> list[str]:
        """The words of `text` without a pronunciation, in order."""
        return [word for word in text.split() if word not in self._entries]

    def pronounce(self, text: str) -> str:
        """The phones of a text by each word's likeliest pronunciation, with spaces between, as `Phones` reads them.

        Raises:
            ValueError: A word has no pronunciation.
        """
        if lacking := self.unknown(text):
            raise ValueError(
                f"The lexicon lacks {lacking[0]!r}. Received: {text!r:.80}. Add it, or leave the text out."
            )
        return " ".join(phone for word in text.split() for phone in self._entries[word][0][0])

    def vocabulary(self) -> Phones:
        """The vocabulary of a recognizer that writes these phones."""
        return Phones(self.phones)

    def pronunciations(self, vocabulary: Phones) -> Iterable[tuple[str, Sequence[int], float]]:
        """What a search for words takes: a word, the indices of its phones, the logarithm of their probability.

        Raises:
            ValueError: The vocabulary lacks a phone.
        """
        index = {phone: i + 1 for i, phone in enumerate(vocabulary.symbols)}
        lacking = [phone for phone in self.phones if phone not in index]
        if lacking:
            word = next(w for w, each in self._entries.items() if any(lacking[0] in phones for phones, _ in each))
            raise ValueError(
                f"The lexicon has phones that the model cannot write: {' '.join(lacking[:10])}, the first in {word!r}. "
                f"The model has {' '.join(vocabulary.symbols[:60])}. Take the lexicon that it was trained with."
            )
        for word, each in self._entries.items():
            for phones, probability in each:
                yield word, [index[phone] for phone in phones], math.log(probability)

    def only(self, words: Iterable[str]) -> "Lexicon":
        """The part for these words; those that are not in it are left out."""
        return Lexicon({word: self._entries[word] for word in words if word in self._entries})

    def joined(self, other: "Lexicon") -> "Lexicon":
        """Both: a word of both has all its pronunciations, the same one with the higher probability."""
        return Lexicon(
            {word: [*self.get(word, ()), *other.get(word, ())] for word in {**self._entries, **other._entries}}
        )

    def guessed(self, words: Iterable[str], guess: Guess) -> "Lexicon":
        """Those of `words` that this lexicon lacks, as `guess` pronounces them; what it cannot tell is left out.

        Raises:
            ValueError: It gives a phone that this lexicon does not have.
        """
        made: dict[str, list[Pronunciation]] = {}
        for word in dict.fromkeys(words):
            phones = tuple(guess(word) or ()) if word not in self._entries else ()
            if wrong := set(phones) - set(self.phones):
                raise ValueError(
                    f"{word!r} was given phones that the lexicon does not have: {' '.join(sorted(wrong))}."
                )
            if phones:
                made[word] = [(phones, 1.0)]
        return Lexicon(made)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the lexicon to its own format: UTF-8 text that `lexicons.read` reads.

        The first line is `#speechrnn-lexicon 1` and all phones, with spaces between. Every other line is a
        pronunciation: the word, a tab, its probability, a tab, and its phones with spaces between.

        Raises:
            FileExistsError: There is a file already and `overwrite` is false.
        """
        with replacing(path, overwrite=overwrite) as file:
            file.write(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file that `write` writes."""
        lines = [f"{HEADER} {FORMAT} {' '.join(self.phones)}\n"]
        for word, each in self._entries.items():
            lines += [f"{word}\t{probability:.6g}\t{' '.join(phones)}\n" for phones, probability in each]
        return "".join(lines).encode()


def _ordered(word: str, pronunciations: Iterable[Pronunciation]) -> tuple[Pronunciation, ...]:
    if word.split() != [word]:
        raise ValueError(f"A lexicon's words must have no white space and not be empty. Received: {word!r}.")
    found: dict[tuple[str, ...], float] = {}
    for phones, probability in pronunciations:
        phones = tuple(phones)
        if not phones:
            raise ValueError(f"A pronunciation must have phones. Received: {word!r} without any.")
        if not 0 < probability <= 1:
            raise ValueError(f"A probability must be above 0 and at most 1. Received: {word!r} {probability}.")
        found[phones] = max(probability, found.get(phones, 0.0))
    if not found:
        raise ValueError(f"The word {word!r} has no pronunciation.")
    if len(found) == 1:  # as most words are
        return ((next(iter(found)), 1.0),)
    highest = max(found.values())
    return tuple((phones, p / highest) for phones, p in sorted(found.items(), key=lambda item: -item[1]))
