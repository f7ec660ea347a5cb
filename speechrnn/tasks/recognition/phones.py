"""Words to phones: texts of examples by a lexicon, for a recognizer that learns sounds instead of spelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from speechrnn.data.examples import read_whole
from speechrnn.data.manifest import Example
from speechrnn.decoding.alignment import BLANK_PENALTY, align
from speechrnn.decoding.best_path import WordPath
from speechrnn.decoding.pronunciations import likeliest
from speechrnn.faults import Faults
from speechrnn.models.protocols import Recognizer
from speechrnn.tasks.recognition.joint import ctc_logits
from speechrnn.text import Lexicon, Phones, Vocabulary

WORDS = "words"
"""Where in `extra` an example of phones keeps the words that were said."""


class Words:
    """The words that a model of phones can write: those of its lexicon, checked like a vocabulary.

    Args:
        phones: The model's vocabulary.
        lexicon: The words.
    """

    def __init__(self, phones: Phones, lexicon: Lexicon) -> None:
        self._phones, self._lexicon = phones, lexicon

    def missing(self, text: str) -> set[str]:
        """The words of `text` that the lexicon lacks."""
        return set(self._lexicon.unknown(text))

    def encode(self, text: str) -> list[int]:
        """Indices (from 1) of the phones of the words of `text`.

        Raises:
            ValueError: The lexicon lacks a word.
        """
        return self._phones.encode(self._lexicon.pronounce(text))


def pronounced(
    examples: Iterable[Example], lexicon: Lexicon, *, faults: Faults, model: Recognizer | None = None
) -> list[Example]:
    """Examples whose texts are phones, the words kept in `extra["words"]`.

    Args:
        examples: With texts in the form of the lexicon's words.
        lexicon: Their pronunciations; the likeliest one of each word is taken.
        faults: Where examples with a word that the lexicon lacks are recorded, each under its first such word, and
            left out. Those without a text stay as they are: training names them.
        model: A first recognizer of these phones. With it the pronunciation that was said is taken, by forced
            alignment of the whole utterance with all of them.

    Raises:
        ValueError: No text can be pronounced, or `model` writes other symbols than phones.
    """
    if model is not None and not isinstance(model.vocabulary, Phones):
        raise ValueError(f"The first model must write phones. Received: {model.vocabulary!r}.")
    made, total, lacking = [], 0, Counter[str]()
    for example in examples:
        total += 1
        text = example.text
        if text is None:
            made.append(example)
        elif unknown := lexicon.unknown(text):
            lacking.update(unknown)
            message = f"{example.path}: the lexicon has no pronunciation of {unknown[0]!r}. Add it, or guess it."
            faults.add(example.id, "with words that the lexicon lacks", message)
        else:
            phones = lexicon.pronounce(text) if model is None else _said(example, text, lexicon, model, faults)
            made.append(replace(example, text=phones, extra={**example.extra, WORDS: text}))
    if total and not made:
        most = ", ".join(f"{word!r} ({times})" for word, times in lacking.most_common(5))
        raise ValueError(
            f"All {total} texts have words that the lexicon lacks, most often {most}. "
            "Is it of another language, or are the texts in capitals? Prepare them with `speechrnn prepare`."
        )
    return made


def _said(example: Example, text: str, lexicon: Lexicon, model: Recognizer, faults: Faults) -> str:
    """The phones of a text by the pronunciations that were said, or the likeliest ones if the audio does not fit."""
    if all(len(lexicon[word]) == 1 for word in text.split()):
        return lexicon.pronounce(text)
    try:
        logits = ctc_logits(model, model.logits([read_whole(example, model.sample_rate)])[0])
        return " ".join(phone for way in _ways(logits, text, lexicon, model.vocabulary) for phone in way)
    except (OSError, ValueError):  # training names what cannot be read or is too short
        return lexicon.pronounce(text)


def _ways(logits: np.ndarray, text: str, lexicon: Lexicon, vocabulary: Vocabulary) -> list[tuple[str, ...]]:
    """The phones of each word of a text, by the pronunciations that fit the logits best."""
    encode, ways = vocabulary.encode, [lexicon[word] for word in text.split()]
    chosen = likeliest(logits, [[(encode(" ".join(p)), float(np.log(q))) for p, q in each] for each in ways])
    return [each[place][0] for each, place in zip(ways, chosen, strict=True)]


def align_words(
    logits: np.ndarray, text: str, lexicon: Lexicon, vocabulary: Vocabulary, *, blank_penalty: float = BLANK_PENALTY
) -> WordPath:
    """The likeliest CTC path of one utterance that says the words of `text`, each in the pronunciation that fits best.

    Args:
        logits: float `(frames, vocabulary)`, unnormalized, of a model of phones.
        text: Words of the lexicon, with spaces between.
        lexicon: Their pronunciations.
        vocabulary: Of the model.
        blank_penalty: See `speechrnn.decoding.alignment.align`.

    Returns:
        The words with the frames and confidences of their phones.

    Raises:
        ValueError: The lexicon lacks a word, or phones of it are not in the vocabulary; or the text needs more frames
            than there are.
    """
    if unknown := lexicon.unknown(text):
        raise ValueError(
            f"The lexicon must have the words that are aligned. Received: {unknown[0]!r}, which it lacks. Give one "
            "that has it with --lexicon; `speechrnn lexicon build` guesses pronunciations with --guess."
        )
    ways = _ways(logits, text, lexicon, vocabulary)
    ids = vocabulary.encode(" ".join(phone for way in ways for phone in way))
    path = align(logits, ids, blank_penalty=blank_penalty)
    lengths = np.array([len(way) for way in ways], np.int32)
    return WordPath(path.ids, path.start_frames, path.end_frames, path.confidences, tuple(text.split()), lengths)


def words_of(examples: Sequence[Example]) -> list[Example]:
    """The examples as they were before `pronounced`."""
    return [replace(e, text=e.extra[WORDS]) if WORDS in e.extra else e for e in examples]
