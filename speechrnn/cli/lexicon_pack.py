"""Pack a lexicon and a language model into a recognizer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli.options import Group
from speechrnn.cli.verb import Verb

_SKIP = ("lexicon", "lm", "hotwords", "hotword_bonus", "words", "grammar")


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    search = Group("speechrnn.decoding.options:decoder", "search, unless something else is asked for", _SKIP)
    return Verb("lexicon pack", pack, {"search": (search,)})


def pack(
    *,
    model: Annotated[str, "MODEL"],
    lexicon: Annotated[str, "FILE"],
    out: Annotated[str, "FILE"],
    search: Mapping[str, Any],
    lm: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Pack a lexicon and a language model into a recognizer, so that it writes words without further options.

    Args:
        model: An .onnx recognizer, or the name of an included model.
        lexicon: Lexicon of words and their pronunciations: `cmudict`, or a file of pronunciations.
        out: a file for the new model, ending in .onnx.
        search: What the search does by default.
        lm: Language model of n-grams: a binary one of words, ending in .lm.
    """
    from speechrnn.models import loading
    from speechrnn.tasks.recognition.attachments import attach

    attach(loading.file_of(model), out, lexicon=lexicon, lm=lm, overwrite=overwrite, **search)
    print(f"{out}: {os.path.getsize(out) / 1e6:.1f} MB")
    return 0
