"""The decoder for command-line options, whose best texts are optionally rescored by a recurrent language model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from speechrnn.decoding import options

if TYPE_CHECKING:
    from speechrnn.decoding.options import Decoder
    from speechrnn.text import Vocabulary

_WIDTH = 64


def decoder(
    vocabulary: Vocabulary,
    *,
    rescore: str | os.PathLike[str] | None = None,
    rescore_weight: float = 0.5,
    rescore_bonus: float = 0.0,
    rescore_best: int = 30,
    **search: Any,
) -> Decoder:
    """Rescoring: a recurrent language model judges the best texts of the beam search.

    Args:
        vocabulary: Of the recognizer.
        rescore: A .onnx or .keras language model, made by `speechrnn train --task generate`.
        rescore_weight: Weight of its log probability, relative to the score of the search.
        rescore_bonus: Added for each word when rescoring.
        rescore_best: Number of texts to judge, at most the beam's width.
        **search: Of `speechrnn.decoding.options.decoder`.

    Raises:
        ValueError: A file cannot be read, or does not fit the vocabulary.
    """
    if rescore is None:
        return options.decoder(vocabulary, **search)
    from speechrnn.decoding import BeamSearch, LexiconSearch, Rescored
    from speechrnn.models.loading import load_session  # which needs NumPy; a help text does not

    if search.get("beam") is None:
        search["beam"] = _WIDTH
    search_decoder = options.decoder(vocabulary, **search)
    if not isinstance(search_decoder, BeamSearch | LexiconSearch):
        raise TypeError(f"Rescoring needs a beam search. Received: {type(search_decoder).__name__}.")
    model = load_session(rescore, kind="language model", threads=1)  # each of several processes has its own
    return Rescored(search_decoder, model, weight=rescore_weight, bonus=rescore_bonus, best=rescore_best)
