"""Pack a lexicon and a language model into a recognizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

from speechrnn.cli.verb import Verb


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("lexicon pack", pack)


def pack(
    *,
    model: Annotated[str, "MODEL"],
    lexicon: Annotated[str, "FILE"],
    out: Annotated[str, "FILE"],
    lm: Annotated[str | None, "FILE"] = None,
    beam: int | None = None,
    lm_weight: float | None = None,
    word_bonus: float | None = None,
    unknown_score: float | None = None,
    overwrite: bool = False,
) -> int:
    """Pack a lexicon and a language model into a recognizer, so that it writes words without further options.

    Args:
        model: An .onnx recognizer, or the name of an included model.
        lexicon: `cmudict`, or a file of pronunciations.
        out: The new model, ending in .onnx.
        lm: A binary language model of words, ending in .lm.
        beam: Default width of its beam search.
        lm_weight: Default weight of its language model.
        word_bonus: Default score added for each word.
        unknown_score: Default score added for each word that the language model does not know.
        overwrite: Replace a file that exists.
    """
    from speechrnn.models import loading
    from speechrnn.tasks.recognition.carried import carry

    search = {"beam": beam, "lm_weight": lm_weight, "word_bonus": word_bonus, "unknown_score": unknown_score}
    given = {name: value for name, value in search.items() if value is not None}
    carry(loading.file_of(model), out, lexicon=lexicon, lm=lm, overwrite=overwrite, **given)
    print(f"{out}: {os.path.getsize(out) / 1e6:.1f} MB")
    return 0
