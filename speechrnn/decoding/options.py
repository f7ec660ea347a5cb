"""How logits become text, from options that a command line can say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

import numpy as np

from speechrnn.decoding.automata import Boost, Grammar
from speechrnn.decoding.beam import BeamSearch
from speechrnn.decoding.greedy import Path, greedy
from speechrnn.decoding.lm import ngram
from speechrnn.text import Vocabulary

Decoder = Callable[[np.ndarray], Path]
"""Float logits `(frames, vocabulary)` to symbols."""

_WIDTH = 64


def decoder(
    vocabulary: Vocabulary,
    *,
    beam: int | None = None,
    lm: str | os.PathLike[str] | None = None,
    lm_weight: float = 0.5,
    word_bonus: float = 1.5,
    unknown_score: float = -8.0,
    hotwords: Sequence[str] = (),
    hotword_bonus: float = 6.0,
    words: str | os.PathLike[str] | None = None,
    grammar: str | os.PathLike[str] | None = None,
) -> Decoder:
    """Beam search, or the best path where nothing asks for a search.

    Args:
        vocabulary: Of the model.
        beam: Width of the beam search; without it the best path is taken, or a width of 64 if another option needs
            a search.
        lm: An ARPA language model, over words or characters; `speechrnn lm train` makes one.
        lm_weight: Weight of the language model.
        word_bonus: Added for each word, beside the language model.
        unknown_score: Added for each word that the language model does not know.
        hotwords: Words or phrases that are made likelier; quote a phrase of several words.
        hotword_bonus: Added for each of them in a text, in nats.
        words: A file of words or phrases, one a line; nothing else is recognised, in any order and number.
        grammar: A file of rules; nothing else is recognised.

    Raises:
        ValueError: A file cannot be read, or does not fit the vocabulary; or there are words and a grammar.
    """
    if words is not None and grammar is not None:
        raise ValueError("Either words or a grammar say what may be recognised. Received both; add the words to it.")
    if beam is None and lm is None and not hotwords and words is None and grammar is None:
        return greedy
    allowed = None
    if words is not None:
        allowed = _allowed(words, lambda text: Grammar.words(vocabulary, text.splitlines()))
    elif grammar is not None:
        allowed = _allowed(grammar, lambda text: Grammar.parse(vocabulary, text))
    return BeamSearch(
        vocabulary,
        width=_WIDTH if beam is None else beam,
        language_model=None if lm is None else ngram.load(lm),
        lm_weight=lm_weight,
        word_bonus=0.0 if lm is None else word_bonus,
        unknown_score=unknown_score,
        grammar=allowed,
        boost=Boost.phrases(vocabulary, hotwords, hotword_bonus) if hotwords else None,
    )


def _allowed(path: str | os.PathLike[str], made: Callable[[str], Grammar]) -> Grammar:
    try:
        lines = FilePath(path).read_text(encoding="utf-8-sig").splitlines()
        return made("\n".join(line for line in lines if line.strip()))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be text in UTF-8. {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
