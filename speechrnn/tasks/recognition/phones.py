"""Convert texts to phones by a lexicon, for recognizers that learn phones instead of letters."""

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
from speechrnn.tasks.recognition.model_types import ctc_logits
from speechrnn.text import Lexicon, Phones, Vocabulary

WORDS = "words"
"""Key in an example's `extra` of the words, if its text is phones."""


class Words:
    """The words of a lexicon with the interface of a vocabulary, to check texts for a model of phones.

    Args:
        phones: The model's vocabulary.
        lexicon: The lexicon.
    """

    def __init__(self, phones: Phones, lexicon: Lexicon) -> None:
        self._phones, self._lexicon = phones, lexicon

    def missing(self, text: str) -> set[str]:
        """The words of `text` that are not in the lexicon."""
        return set(self._lexicon.unknown(text))

    def encode(self, text: str) -> list[int]:
        """Indices (from 1) of the phones of a text's words.

        Raises:
            ValueError: The lexicon lacks a word.
        """
        return self._phones.encode(self._lexicon.pronounce(text))


def pronounced(
    examples: Iterable[Example], lexicon: Lexicon, *, faults: Faults, model: Recognizer | None = None
) -> list[Example]:
    """Convert the texts of examples to phones; the words are stored in `extra["words"]`.

    Args:
        examples: Examples whose texts are written like the lexicon's words.
        lexicon: The pronunciations; by default the likeliest one of each word is used.
        faults: Collects examples with words that are not in the lexicon, which are dropped. Examples without a text are
            unchanged: training reports them.
        model: An earlier recognizer of these phones. With it the spoken pronunciation of each word is chosen, by forced
            alignment of the utterance with all of them.

    Raises:
        ValueError: No text can be converted, or `model` writes other symbols than phones.
    """
    if model is not None and not isinstance(model.vocabulary, Phones):
        raise ValueError(f"The first model must write phones. Received: {model.vocabulary!r}.")
    result, total, missing = [], 0, Counter[str]()
    for example in examples:
        total += 1
        text = example.text
        if text is None:
            result.append(example)
        elif unknown := lexicon.unknown(text):
            missing.update(unknown)
            message = f"{example.path}: the lexicon has no pronunciation of {unknown[0]!r}. Add it, or guess it."
            faults.add(example.id, "with words that the lexicon lacks", message)
        else:
            phones = lexicon.pronounce(text) if model is None else _spoken_phones(example, text, lexicon, model)
            result.append(replace(example, text=phones, extra={**example.extra, WORDS: text}))
    if total and not result:
        frequent = ", ".join(f"{word!r} ({times})" for word, times in missing.most_common(5))
        raise ValueError(
            f"All {total} texts have words that the lexicon lacks, most often {frequent}. "
            "Is it of another language, or are the texts in capitals? Prepare them with `speechrnn prepare`."
        )
    return result


def _spoken_phones(example: Example, text: str, lexicon: Lexicon, model: Recognizer) -> str:
    """The phones of a text by the spoken pronunciations, or by the likeliest ones if the audio cannot be aligned."""
    if all(len(lexicon[word]) == 1 for word in text.split()):
        return lexicon.pronounce(text)
    try:
        logits = ctc_logits(model, model.logits([read_whole(example, model.sample_rate)])[0])
        words = _best_pronunciations(logits, text, lexicon, model.vocabulary)
        return " ".join(phone for phones in words for phone in phones)
    except (OSError, ValueError):  # training reports what cannot be read or is too short
        return lexicon.pronounce(text)


def _best_pronunciations(
    logits: np.ndarray, text: str, lexicon: Lexicon, vocabulary: Vocabulary
) -> list[tuple[str, ...]]:
    """The phones of each word of a text, by the pronunciations that fit the logits best."""
    encode, words = vocabulary.encode, [lexicon[word] for word in text.split()]
    chosen = likeliest(logits, [[(encode(" ".join(p)), float(np.log(q))) for p, q in word] for word in words])
    return [word[index][0] for word, index in zip(words, chosen, strict=True)]


def align_words(
    logits: np.ndarray, text: str, lexicon: Lexicon, vocabulary: Vocabulary, *, blank_penalty: float = BLANK_PENALTY
) -> WordPath:
    """Align the words of a text with logits of phones, each word in the pronunciation that fits best.

    Args:
        logits: float `(frames, vocabulary)`, unnormalized, of a model of phones.
        text: Words of the lexicon, separated by spaces.
        lexicon: Their pronunciations.
        vocabulary: The model's vocabulary.
        blank_penalty: See `speechrnn.decoding.alignment.align`.

    Returns:
        The likeliest CTC path: the words, with the frames and confidences of their phones.

    Raises:
        ValueError: A word is not in the lexicon, or its phones are not in the vocabulary; or the text needs more frames
            than there are.
    """
    if unknown := lexicon.unknown(text):
        raise ValueError(
            f"The lexicon must have the words that are aligned. Received: {unknown[0]!r}, which it lacks. Give one "
            "that has it with --lexicon; `speechrnn lexicon build` guesses pronunciations with --guess."
        )
    words = _best_pronunciations(logits, text, lexicon, vocabulary)
    ids = vocabulary.encode(" ".join(phone for phones in words for phone in phones))
    path = align(logits, ids, blank_penalty=blank_penalty)
    lengths = np.array([len(phones) for phones in words], np.int32)
    return WordPath(path.ids, path.start_frames, path.end_frames, path.confidences, tuple(text.split()), lengths)


def words_of(examples: Sequence[Example]) -> list[Example]:
    """The examples with their words as texts again, the inverse of `pronounced`."""
    return [replace(e, text=e.extra[WORDS]) if WORDS in e.extra else e for e in examples]
