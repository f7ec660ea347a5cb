"""Pronunciation lexicons."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from speechrnn.files import replacing
from speechrnn.text.phones import Phones

HEADER = "#speechrnn-lexicon"
"""First word of a file in our own format, before the number of the format and the phones."""

FORMAT = "1"

Pronunciation = tuple[tuple[str, ...], float]
"""Phones, and their probability relative to the word's most probable pronunciation."""

Guess = Callable[[str], Sequence[str] | None]
"""Function from a word to its phones, for words that a lexicon lacks; None if it does not know them."""


class Lexicon(Mapping[str, tuple[Pronunciation, ...]]):
    """Immutable mapping from words to their pronunciations, the most probable first.

    Args:
        entries: For each word its pronunciations with their probabilities. The probabilities of a word are divided by
            the highest one, as in Kaldi, so that words with several pronunciations are not penalized; a repeated
            pronunciation counts once, with the higher probability.

    Raises:
        ValueError: A word or a phone is empty or has white space in it; a word has no pronunciation, or one without
            phones; or a probability is not in (0, 1].

    Example:
    >>> lexicon = Lexicon({"the": [(("DH", "AH"), 0.8), (("DH", "IY"), 0.4)], "end": [(("EH", "N", "D"), 1.0)]})
    >>> lexicon["the"]
    ((('DH', 'AH'), 1.0), (('DH', 'IY'), 0.5))
    >>> lexicon.pronounce("the end"), lexicon.unknown("the ends"), lexicon.phones
    ('DH AH EH N D', ['ends'], ('AH', 'D', 'DH', 'EH', 'IY', 'N'))
    """

    def __init__(self, entries: Mapping[str, Iterable[Pronunciation]]) -> None:
        self._entries = {word: _by_probability(word, pronunciations) for word, pronunciations in entries.items()}
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
        """The words, in the order of the entries."""
        return iter(self._entries)

    def __getitem__(self, word: str) -> tuple[Pronunciation, ...]:
        return self._entries[word]

    def __repr__(self) -> str:
        return f"Lexicon({len(self)} words of {len(self.phones)} phones)"

    def unknown(self, text: str) -> list[str]:
        """The words of `text` without a pronunciation, in order."""
        return [word for word in text.split() if word not in self._entries]

    def pronounce(self, text: str) -> str:
        """The phones of a text, separated by spaces, by the most probable pronunciation of each word.

        Raises:
            ValueError: A word has no pronunciation.
        """
        if missing := self.unknown(text):
            raise ValueError(
                f"The lexicon lacks {missing[0]!r}. Received: {text!r:.80}. Add it, or leave the text out."
            )
        return " ".join(phone for word in text.split() for phone in self._entries[word][0][0])

    def vocabulary(self) -> Phones:
        """The vocabulary of a recognizer with these phones as outputs."""
        return Phones(self.phones)

    def pronunciations(self, vocabulary: Phones) -> Iterable[tuple[str, Sequence[int], float]]:
        """All pronunciations for a search: the word, the indices of its phones, and the log-probability.

        Raises:
            ValueError: The vocabulary lacks a phone.
        """
        index = {phone: i + 1 for i, phone in enumerate(vocabulary.symbols)}
        missing = [phone for phone in self.phones if phone not in index]
        if missing:
            word = next(w for w, each in self._entries.items() if any(missing[0] in phones for phones, _ in each))
            raise ValueError(
                f"The lexicon has phones that the model cannot write: {' '.join(missing[:10])}, the first in {word!r}. "
                f"The model has {' '.join(vocabulary.symbols[:60])}. Take the lexicon that it was trained with."
            )
        for word, each in self._entries.items():
            for phones, probability in each:
                yield word, [index[phone] for phone in phones], math.log(probability)

    def only(self, words: Iterable[str]) -> "Lexicon":
        """The lexicon reduced to these words; words that it lacks are ignored."""
        return Lexicon({word: self._entries[word] for word in words if word in self._entries})

    def joined(self, other: "Lexicon") -> "Lexicon":
        """The union of two lexicons, with all pronunciations of each word; of a probability given twice the higher."""
        return Lexicon(
            {word: [*self.get(word, ()), *other.get(word, ())] for word in {**self._entries, **other._entries}}
        )

    def guessed(self, words: Iterable[str], guess: Guess) -> "Lexicon":
        """The words that this lexicon lacks, with the pronunciations of `guess`; words without one are left out.

        Raises:
            ValueError: `guess` gives a phone that this lexicon does not have.
        """
        guesses: dict[str, list[Pronunciation]] = {}
        for word in dict.fromkeys(words):
            phones = tuple(guess(word) or ()) if word not in self._entries else ()
            if wrong := set(phones) - set(self.phones):
                raise ValueError(
                    f"{word!r} was given phones that the lexicon does not have: {' '.join(sorted(wrong))}."
                )
            if phones:
                guesses[word] = [(phones, 1.0)]
        return Lexicon(guesses)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the lexicon in our own format, UTF-8 text that `lexicons.read` reads.

        The first line is `#speechrnn-lexicon 1` and all phones, separated by spaces. Every other line is a
        pronunciation: the word, a tab, its probability, a tab, and its phones separated by spaces.

        Raises:
            FileExistsError: The file exists and `overwrite` is false.
        """
        with replacing(path, overwrite=overwrite) as file:
            file.write(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file of `write`."""
        lines = [f"{HEADER} {FORMAT} {' '.join(self.phones)}\n"]
        for word, each in self._entries.items():
            lines += [f"{word}\t{probability:.6g}\t{' '.join(phones)}\n" for phones, probability in each]
        return "".join(lines).encode()


def _by_probability(word: str, pronunciations: Iterable[Pronunciation]) -> tuple[Pronunciation, ...]:
    if word.split() != [word]:
        raise ValueError(f"A lexicon's words must have no white space and not be empty. Received: {word!r}.")
    probabilities: dict[tuple[str, ...], float] = {}
    for phones, probability in pronunciations:
        phones = tuple(phones)
        if not phones:
            raise ValueError(f"A pronunciation must have phones. Received: {word!r} without any.")
        if not 0 < probability <= 1:
            raise ValueError(f"A probability must be above 0 and at most 1. Received: {word!r} {probability}.")
        probabilities[phones] = max(probability, probabilities.get(phones, 0.0))
    if not probabilities:
        raise ValueError(f"The word {word!r} has no pronunciation.")
    if len(probabilities) == 1:  # the most frequent case
        return ((next(iter(probabilities)), 1.0),)
    highest = max(probabilities.values())
    return tuple((phones, p / highest) for phones, p in sorted(probabilities.items(), key=lambda item: -item[1]))
