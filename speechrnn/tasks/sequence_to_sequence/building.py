"""Build an encoder-decoder for pairs."""

from collections.abc import Sequence
from typing import Any, Literal

from speechrnn.faults import check_choice
from speechrnn.tasks.sequence_to_sequence.model import SequenceToSequence
from speechrnn.tasks.sequence_to_sequence.network import attention_network
from speechrnn.tasks.sequence_to_sequence.pairs import pairs_of
from speechrnn.text import Phones, Vocabulary

__all__ = ["for_manifest"]

Symbols = Literal["characters", "words"] | Vocabulary


def for_manifest(
    examples: Sequence[Any],
    *,
    source: Symbols = "characters",
    target: Symbols = "characters",
    max_length: int | None = None,
    **network: Any,
) -> SequenceToSequence:
    """Build an untrained encoder-decoder with the symbols of the pairs.

    Args:
        examples: Pairs, see `pairs_of`.
        source: What the sources are made of: "characters", "words" (anything with spaces between, such as phones), or
            a vocabulary.
        target: The same of the targets.
        max_length: Most symbols of a target; by default as many as the longest one has.
        **network: Options of `attention_network`, such as `units` and `layers`.

    Raises:
        ValueError: There is no pair, or an option is out of its range.
    """
    pairs = pairs_of(examples)
    if not pairs:
        raise ValueError("An encoder-decoder needs at least one pair of texts. Received none.")
    source_vocabulary = _vocabulary("source", source, [pair.source for pair in pairs])
    target_vocabulary = _vocabulary("target", target, [pair.target for pair in pairs])
    if max_length is None:
        known = [pair.target for pair in pairs if not target_vocabulary.missing(pair.target)]
        max_length = max((len(target_vocabulary.encode(text)) for text in known), default=1)
    made = attention_network(source_size=len(source_vocabulary), target_size=len(target_vocabulary), **network)
    return SequenceToSequence(made, source_vocabulary, target_vocabulary, max_length=max(max_length, 1))


def _vocabulary(name: str, symbols: Symbols, texts: Sequence[str]) -> Vocabulary:
    if isinstance(symbols, Vocabulary):
        return symbols
    check_choice(name, symbols, ("characters", "words"), other="a vocabulary")
    return (Phones if symbols == "words" else Vocabulary).from_texts(texts)
