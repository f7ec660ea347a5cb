"""Measure how well a language model predicts a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from speechrnn.cli import terminal
from speechrnn.cli.verb import Verb
from speechrnn.data import sentences

if TYPE_CHECKING:
    from speechrnn.decoding.lm.ngram import Perplexity


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    return Verb("lm perplexity", perplexity, hints={"--no-normalize": "now called --no-normalize-texts."})


def perplexity(
    *texts: Annotated[str, "TEXT"], model: Annotated[str, "LM"], normalize_texts: bool = True, json: bool = False
) -> int:
    """Measure the perplexity of a text under a language model, including the ends of sentences.

    Args:
        texts: Files with one sentence per line, also compressed (.gz, .xz), or manifests (.jsonl).
        model: A .lm or ARPA file, or a recurrent model (.keras or .onnx).
        json: one object.
    """
    from speechrnn.models import loading

    sentence_iterator = sentences.read(texts, normalize=normalize_texts)
    recurrent = model.endswith(".onnx") or loading.is_keras(model)
    result: Perplexity
    if recurrent:
        from speechrnn.decoding import rescoring

        result = rescoring.perplexity(terminal.load_any(model, "language model"), sentence_iterator)
    else:
        from speechrnn.decoding.lm import ngram

        result = ngram.load(model).perplexity(sentence_iterator)
    if json:
        print(terminal.as_json(asdict(result)))
    elif recurrent:
        bits = asdict(result)["bits_per_character"]
        print(
            f"perplexity {result.perplexity:.2f} per word, {bits:.3f} bits per character; "
            f"{result.words:,} words, all spelled"
        )
    else:
        print(
            f"perplexity {result.perplexity:.2f}, {result.known:.2f} without unknown words; "
            f"{result.unknown:,} of {result.words:,} words are unknown"
        )
    return 0
