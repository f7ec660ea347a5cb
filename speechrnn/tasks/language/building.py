"""Build a language model for texts."""

from collections.abc import Sequence
from typing import Any, Literal

from speechrnn.data.manifest import Example
from speechrnn.faults import check_choice
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.language.network import recurrent_lm
from speechrnn.text import Phones, Vocabulary


def for_manifest(
    examples: Sequence[Example | str],
    *,
    vocabulary: Vocabulary | None = None,
    symbols: Literal["characters", "words"] = "characters",
    **network: Any,
) -> LanguageModel:
    """Build an untrained language model for the symbols of texts.

    Args:
        examples: Texts, or examples with texts.
        vocabulary: What it writes, such as a recognizer's; the symbols of the texts if not given.
        symbols: What the texts are made of: "characters", or "words", which are anything with spaces between.
        **network: Options of `recurrent_lm`, such as `units` and `layers`.

    Raises:
        ValueError: There is no text, or an option is out of its range.
    """
    texts = [example if isinstance(example, str) else example.text or "" for example in examples]
    check_choice("symbols", symbols, ("characters", "words"))
    vocabulary = vocabulary or (Phones if symbols == "words" else Vocabulary).from_texts(texts)
    return LanguageModel(recurrent_lm(vocabulary_size=len(vocabulary), **network), vocabulary)
