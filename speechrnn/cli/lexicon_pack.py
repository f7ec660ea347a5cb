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
    """Pack a lexicon and a language model into a recognizer, so that it writes words without being asked to.

    Args:
        model: An .onnx recognizer.
        lexicon: `cmudict`, or a file of pronunciations.
        out: The new model, ending in .onnx.
        lm: A binary language model of words, which ends in .lm.
        beam: Width of its beam search, unless another is given when it is used.
        lm_weight: Weight of its language model, unless another is given when it is used.
        word_bonus: Added for each word, unless another bonus is given when it is used.
        unknown_score: Added for each word that the language model does not know, unless another is given.
        overwrite: Replace a file that exists.
    """
    from speechrnn.tasks.recognition.carried import carry

    search = {"beam": beam, "lm_weight": lm_weight, "word_bonus": word_bonus, "unknown_score": unknown_score}
    given = {name: value for name, value in search.items() if value is not None}
    carry(model, out, lexicon=lexicon, lm=lm, overwrite=overwrite, **given)
    print(f"{out}: {os.path.getsize(out) / 1e6:.1f} MB")
    return 0
