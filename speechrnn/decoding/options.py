"""Makes the decoder for a set of options, which are those of the command line."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from speechrnn.faults import check_types, read_lines
from speechrnn.text import Lexicon, Phones, Vocabulary, lexicons, normalize

if TYPE_CHECKING:  # the searches are imported by the functions that make them, so that `--help` needs no NumPy
    import numpy as np

    from speechrnn.decoding.automata import Grammar
    from speechrnn.decoding.best_path import Path
    from speechrnn.text.packed import Pronunciation


class Decoder(Protocol):
    """Converts the float logits `(frames, vocabulary)` of a recording to symbols."""

    def __call__(self, logits: np.ndarray, /) -> Path:
        """Decode one recording."""


_WIDTH = 64
_LM_WEIGHT, _WORD_BONUS = 0.5, 1.5
_WITH_LEXICON = 0.8, 0.0


def decoder(
    vocabulary: Vocabulary,
    *,
    beam: int | None = None,
    lexicon: str | os.PathLike[str] | None = None,
    lm: str | os.PathLike[str] | None = None,
    lm_weight: float | None = None,
    word_bonus: float | None = None,
    unknown_score: float = -8.0,
    hotwords: Sequence[str] = (),
    hotword_bonus: float = 6.0,
    words: str | os.PathLike[str] | None = None,
    grammar: str | os.PathLike[str] | None = None,
) -> Decoder:
    """Decoding: a beam search if any option needs one, otherwise greedy.

    Args:
        vocabulary: Of the model.
        beam: Number of texts that the beam search keeps. By default decoding is greedy, or the width is 64 if another
            option needs a search.
        lexicon: Lexicon of words and their pronunciations. A model of phones then writes its words, and a model of
            characters or subwords only these; `speechrnn lexicon build` makes one.
        lm: Language model of n-grams: a .lm or ARPA file, over words or characters; `speechrnn lm train` makes
            one.
        lm_weight: Weight of the language model; by default 0.5, or 0.8 with a lexicon.
        word_bonus: Score added for each word; with a language model 1.5 by default, or 0 with a lexicon.
        unknown_score: Score added for each word that the language model does not know.
        hotwords: Words or phrases to prefer; put quotation marks around a phrase of several words.
        hotword_bonus: Score added for each hotword in a text, in nats.
        words: A file with one word or phrase per line; only these are recognized, in any order and number.
        grammar: A file of grammar rules; only texts that follow them are recognized.

    Raises:
        ValueError: A file cannot be read, or does not fit the vocabulary or the lexicon; there are words and a grammar;
            or an option has nothing to act on.
        TypeError: A value is of another type.
    """
    given: dict[str, Any] = {
        "beam": beam,
        "lm_weight": lm_weight,
        "word_bonus": word_bonus,
        "unknown_score": unknown_score,
    }
    given |= {"hotwords": hotwords, "hotword_bonus": hotword_bonus}
    check_types(given, inspect.get_annotations(decoder))
    from speechrnn.decoding.automata import Boost, Grammar
    from speechrnn.decoding.beam import BeamSearch
    from speechrnn.decoding.best_path import greedy
    from speechrnn.decoding.lexicon import LexiconSearch, letters_of
    from speechrnn.decoding.lm import ngram

    if words is not None and grammar is not None:
        raise ValueError("Words or a grammar say what may be recognized. Received both; add the words to the grammar.")
    if lm_weight is not None and lm is None:
        raise ValueError("`lm_weight` (--lm-weight) is that of a language model. Give one: `lm` (--lm).")
    options = beam, lexicon, lm, words, grammar
    if not hotwords and all(option is None for option in options):
        if word_bonus is not None:
            raise ValueError("`word_bonus` (--word-bonus) is for a beam search. Ask for one: `beam` (--beam).")
        return greedy
    pronunciations = None if lexicon is None else _pronunciations(lexicon, vocabulary)
    letters = vocabulary
    if pronunciations is not None and (hotwords or words is not None or grammar is not None):
        letters = letters_of(word for word, _, _ in pronunciations)
        _check_hotwords(hotwords, pronunciations)
    allowed = None
    with _explain_phones(vocabulary, pronunciations is None):
        if words is not None:
            allowed = _read_grammar(words, lambda text: Grammar.words(letters, text.splitlines()))
        elif grammar is not None:
            allowed = _read_grammar(grammar, lambda text: Grammar.parse(letters, text))
        boost = Boost.phrases(letters, hotwords, hotword_bonus) if hotwords else None
    weight, bonus = (_LM_WEIGHT, _WORD_BONUS) if pronunciations is None else _WITH_LEXICON
    shared: dict[str, Any] = {
        "width": _WIDTH if beam is None else beam,
        "language_model": None if lm is None else ngram.load(lm),
        "lm_weight": weight if lm_weight is None else lm_weight,
        "word_bonus": (0.0 if lm is None else bonus) if word_bonus is None else word_bonus,
        "unknown_score": unknown_score,
        "grammar": allowed,
        "boost": boost,
    }
    if pronunciations is None:
        with _explain_phones(vocabulary, lm is not None):
            return BeamSearch(vocabulary, **shared)
    if " " in vocabulary.symbols:
        shared |= {"separator": vocabulary.encode(" ")[0], "separated": True}
    return LexiconSearch(vocabulary, pronunciations, **shared)


@contextmanager
def _explain_phones(vocabulary: Vocabulary, without_lexicon: bool) -> Iterator[None]:
    """Adds to an error about words that a model of phones needs a lexicon."""
    try:
        yield
    except ValueError as error:
        if without_lexicon and isinstance(vocabulary, Phones):
            hint = "The model writes phones, and words need a lexicon: `lexicon` (--lexicon)."
            raise ValueError(f"{hint} {error}") from error
        raise


def _pronunciations(lexicon: str | os.PathLike[str] | Lexicon, vocabulary: Vocabulary) -> Iterable[Pronunciation]:
    """The words of a lexicon in a model's symbols: phones, or their spelling."""
    entries = lexicons.read(lexicon)
    if isinstance(vocabulary, Phones):
        pronunciations = entries.pronunciations(vocabulary)
        return list(pronunciations) if isinstance(pronunciations, Iterator) else pronunciations
    spelled: list[Pronunciation] = [
        (word, vocabulary.encode(word), 0.0) for word in entries if not vocabulary.missing(word)
    ]
    if not spelled:
        raise ValueError(
            f"The words of a lexicon must be written with the model's characters. Received: none that is; the first is "
            f"{next(iter(entries))!r}. Bring both to the same form."
        )
    return spelled


def _check_hotwords(hotwords: Sequence[str], pronunciations: Iterable[Pronunciation]) -> None:
    known = {word for word, _, _ in pronunciations}
    missing = [word for phrase in hotwords for word in phrase.split() if word not in known]
    if missing:
        normalized = normalize(missing[0])
        hint = "Add its pronunciation, as `speechrnn lexicon build` does with --guess."
        hint = f"Did you mean {normalized!r}?" if normalized in known else hint
        raise ValueError(f"Hotwords must be in the lexicon. Received: {missing[0]!r}, which it lacks. {hint}")


def _read_grammar(path: str | os.PathLike[str], compile: Callable[[str], Grammar]) -> Grammar:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"`words` and `grammar` are paths of text files. Received: {path!r:.80}.")
    lines = read_lines(path, missing="there is no such file. `words` and `grammar` are paths of text files.")
    try:
        return compile("\n".join(line for line in lines if line.strip()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
