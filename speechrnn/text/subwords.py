"""Vocabularies of subwords, trained by SentencePiece and used without it."""

import io
import math
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from speechrnn.text.vocabulary import Vocabulary

MARK = "\N{LOWER ONE EIGHTH BLOCK}"
"""Prefix of the first piece of a word, as in SentencePiece."""


class Subwords(Vocabulary):
    """The subwords that a recognizer can write; index 0 is the CTC blank.

    A unigram model (Kudo 2018): a word is split into the pieces with the highest sum of scores. The first piece of a
    word begins with the mark `▁`; any white space counts as one space.

    Args:
        symbols: The pieces in order, without the blank; piece `i` has index `i + 1`. Every character of a piece, and
            the mark itself, must be a piece too, so that any text of these characters can be encoded.
        scores: Log-probability of each piece.

    Raises:
        ValueError: A piece is empty, repeated or has the mark within, a score is not finite, or a character is not a
            piece.

    Example:
    >>> vocabulary = Subwords(["▁", "a", "b", "c", "ab", "▁c"], [-3, -3, -3, -3, -2, -2])
    >>> vocabulary.encode("cab a"), vocabulary.decode([6, 5, 1, 2])
    ([6, 5, 1, 2], 'cab a')
    """

    CONFIG_KEY = "scores"

    def __init__(self, symbols: Sequence[str], scores: Sequence[float]) -> None:
        requirement = f"Subwords must differ, and have no white space and no {MARK} but at their beginning"
        self._set_symbols(symbols, requirement, lambda s: s.split() == [s] and MARK not in s[1:])
        self.scores = tuple(map(float, scores))
        if len(self.scores) != len(self.symbols) or not all(map(math.isfinite, self.scores)):
            raise ValueError(
                f"`scores` must be a number for each of {len(self.symbols)} subwords. "
                f"Received: {len(self.scores)}, of which {sum(map(math.isfinite, self.scores))} are finite."
            )
        missing = {MARK, *"".join(self.symbols)} - self._indices.keys()
        if missing:
            raise ValueError(
                f"Each character must be a subword of its own, and {MARK} too. Lacking: {sorted(missing)}."
            )
        self._longest = max(map(len, self.symbols))
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def from_texts(cls, texts: Iterable[str], size: int = 200) -> "Subwords":
        """Train subwords on `texts`; the same texts in the same order give the same subwords.

        Args:
            texts: Normalized texts.
            size: Number of subwords, without the blank.

        Raises:
            ModuleNotFoundError: sentencepiece, which trains them, is not installed. To use them it is not needed.
            ValueError: `size` is smaller than the number of characters, or larger than the texts allow.
        """
        texts = [cleaned for text in texts if (cleaned := " ".join(text.split()))]
        characters = set("".join(texts)) - {" "}
        if not characters or MARK in characters:
            received = f"the mark {MARK} in them" if characters else "texts without any"
            raise ValueError(f"Subwords need texts of at least one character, and no {MARK}. Received: {received}.")
        if size <= len(characters):
            raise ValueError(
                f"`size` must be at least {len(characters) + 1}, for each character of the texts and {MARK}. "
                f"Received: {size}."
            )
        model = _train(texts, size)
        pieces = range(1, len(model))  # 0 is <unk>, which is not used
        return cls([model.id_to_piece(i) for i in pieces], [model.get_score(i) for i in pieces])

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """See `Vocabulary`; the first piece of a word begins with a space."""
        return ("", *(symbol.replace(MARK, " ") for symbol in self.symbols))

    @cached_property
    def letters(self) -> Vocabulary:
        """The characters of the pieces, the space first."""
        return Vocabulary([" ", *sorted(set("".join(self.symbols)) - {MARK})])

    def missing(self, text: str) -> set[str]:
        """The characters of `text` that no piece has; white space is never missing."""
        return {c for c in set(text) if c == MARK or (c not in self._indices and not c.isspace())}

    def encode(self, text: str) -> list[int]:
        """Indices (from 1) of the pieces of `text` with the highest sum of scores.

        Raises:
            ValueError: `text` has characters that the pieces lack; they are named.
        """
        if self.missing(text):
            self.letters.encode("".join(text.split()))  # raises
        return [index for word in text.split() for index in self._pieces(word)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in a form that JSON can hold."""
        return {"symbols": list(self.symbols), "scores": list(self.scores)}

    def _pieces(self, word: str) -> list[int]:
        """The best pieces of one word (Viterbi); of equally good ones those with the longest first piece.

        That is SentencePiece's choice too. No piece crosses words, so words can be split independently.
        """
        if word not in self._cache:
            text = MARK + word
            best, last = [0.0, *[-math.inf] * len(text)], [0] * (len(text) + 1)
            for start in range(len(text)):
                for end in range(start + 1, min(start + self._longest, len(text)) + 1):
                    index = self._indices.get(text[start:end], 0)
                    if index and best[start] + self.scores[index - 1] > best[end]:
                        best[end], last[end] = best[start] + self.scores[index - 1], index
            pieces, end = [], len(text)
            while end:
                pieces.append(last[end])
                end -= len(self.symbols[last[end] - 1])
            self._cache[word] = pieces[::-1]
        return self._cache[word]


def _train(texts: Sequence[str], size: int) -> Any:
    """A SentencePiece unigram model of `size` pieces and `<unk>`."""
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
            num_threads=1,  # with more threads sums are not reproducible
            minloglevel=2,
        )
    except RuntimeError as error:
        limit = re.search(r"too high.*<= (\d+)", str(error))
        if not limit:
            raise
        raise ValueError(
            f"`size` must be at most {int(limit[1]) - 1}: the texts give no more subwords. Received: {size}."
        ) from error
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
