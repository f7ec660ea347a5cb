"""Subwords: a vocabulary of pieces of words, learned by SentencePiece and written without it."""

import io
import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from speechrnn.text.vocabulary import Vocabulary

MARK = "\N{LOWER ONE EIGHTH BLOCK}"
"""Stands before the first piece of a word, as SentencePiece writes it."""


class Subwords(Vocabulary):
    """The pieces of words a recognizer can write; index 0 is the CTC blank.

    A unigram model (Kudo 2018): of all ways to write a word, the one whose pieces have the highest sum of scores is
    taken. A piece that begins a word begins with the mark `▁`; runs of white space count as one space.

    Args:
        symbols: The pieces in order, without the blank; piece `i` has index `i + 1`. Every character of a piece, and
            the mark alone, must be a piece as well, so that any text of these characters can be written.
        scores: Natural logarithm of each piece's probability.

    Raises:
        ValueError: A piece is empty, repeated or has the mark within, a score is no number, or a character is no piece.

    Example:
    >>> vocabulary = Subwords(["▁", "a", "b", "c", "ab", "▁c"], [-3, -3, -3, -3, -2, -2])
    >>> vocabulary.encode("cab a"), vocabulary.decode([6, 5, 1, 2])
    ([6, 5, 1, 2], 'cab a')
    """

    CONFIG_KEY = "scores"

    def __init__(self, symbols: Sequence[str], scores: Sequence[float]) -> None:
        requirement = f"Subwords must differ, and have no white space and no {MARK} but at their beginning"
        self._take(symbols, requirement, lambda s: s.split() == [s] and MARK not in s[1:])
        self.scores = tuple(map(float, scores))
        if len(self.scores) != len(self.symbols) or not all(map(math.isfinite, self.scores)):
            raise ValueError(
                f"`scores` must be a number for each of {len(self.symbols)} subwords. "
                f"Received: {len(self.scores)}, of which {sum(map(math.isfinite, self.scores))} are finite."
            )
        lacking = {MARK, *"".join(self.symbols)} - self._indices.keys()
        if lacking:
            raise ValueError(
                f"Each character must be a subword of its own, and {MARK} too. Lacking: {sorted(lacking)}."
            )
        self._longest = max(map(len, self.symbols))
        self._written: dict[str, list[int]] = {}

    @classmethod
    def from_texts(cls, texts: Iterable[str], size: int = 200) -> "Subwords":
        """Learn the pieces that write `texts` best; the same texts in the same order give the same pieces.

        Args:
            texts: In the form the recognizer is trained on.
            size: How many pieces, the blank not counted.

        Raises:
            ModuleNotFoundError: sentencepiece, which learns them, is not installed. To use them it is not needed.
            ValueError: There are fewer pieces than characters, or more than the texts can give.
        """
        texts = [folded for text in texts if (folded := " ".join(text.split()))]
        characters = set("".join(texts)) - {" "}
        if not characters or MARK in characters:
            received = f"the mark {MARK} in them" if characters else "texts without any"
            raise ValueError(f"Subwords need texts of at least one character, and no {MARK}. Received: {received}.")
        if size <= len(characters):
            raise ValueError(
                f"`size` must be at least {len(characters) + 1}, for each character of the texts and {MARK}. "
                f"Received: {size}."
            )
        learned = _learned(texts, size)
        pieces = range(1, len(learned))  # 0 is <unk>, which nothing needs here
        return cls([learned.id_to_piece(i) for i in pieces], [learned.get_score(i) for i in pieces])

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """As of any vocabulary; a piece that begins a word begins with a space."""
        return ("", *(symbol.replace(MARK, " ") for symbol in self.symbols))

    @cached_property
    def letters(self) -> Vocabulary:
        """The characters that the pieces are made of, the space first."""
        return Vocabulary([" ", *sorted(set("".join(self.symbols)) - {MARK})])

    def missing(self, text: str) -> set[str]:
        """The characters of `text` that no piece has; white space is never missing."""
        return {c for c in set(text) if c == MARK or (c not in self._indices and not c.isspace())}

    def encode(self, text: str) -> list[int]:
        """Indices (from 1) of the pieces that write `text` with the highest sum of scores.

        Raises:
            ValueError: `text` has characters that the pieces lack; they are named.
        """
        if self.missing(text):
            self.letters.encode("".join(text.split()))  # says what is missing
        return [index for word in text.split() for index in self._pieces(word)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        return {"symbols": list(self.symbols), "scores": list(self.scores)}

    def _pieces(self, word: str) -> list[int]:
        """The best pieces of one word (Viterbi); of equal ones the longest first piece is taken, as SentencePiece does.

        No piece goes beyond a word, so the best of a text are the best of its words.
        """
        if word not in self._written:
            text = MARK + word
            best, last = [0.0, *[-math.inf] * len(text)], [0] * (len(text) + 1)
            for start in range(len(text)):
                for end in range(start + 1, min(start + self._longest, len(text)) + 1):
                    index = self._indices.get(text[start:end], 0)
                    if index and best[start] + self.scores[index - 1] > best[end]:
                        best[end], last[end] = best[start] + self.scores[index - 1], index
            found, end = [], len(text)
            while end:
                found.append(last[end])
                end -= len(self.symbols[last[end] - 1])
            self._written[word] = found[::-1]
        return self._written[word]


def _learned(texts: Sequence[str], size: int) -> Any:
    """A SentencePiece unigram model of so many pieces, after `<unk>`."""
    try:
        import sentencepiece
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Learning subwords needs the package sentencepiece; using them does not. "
            "Install it: pip install 'speechrnn[subwords]'."
        ) from error
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size + 1,
            model_type="unigram",
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=4 * max(map(len, texts)) + 4,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,  # more would add up in another order each time
            minloglevel=2,
        )
    except RuntimeError as error:
        most = re.search(r"too high.*<= (\d+)", str(error))
        if not most:
            raise
        raise ValueError(
            f"`size` must be at most {int(most[1]) - 1}: the texts give no more subwords. Received: {size}."
        ) from error
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
