"""A new recognizer for a manifest: its vocabulary, its features and its network."""

from collections.abc import Mapping, Sequence
from typing import Any

from speechrnn.data.examples import read_whole, readable
from speechrnn.data.manifest import Example
from speechrnn.features import LogMel
from speechrnn.features.base import FeatureLayer
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.text import Vocabulary
from speechrnn.text.subwords import Subwords

__all__ = ["for_manifest", "vocabulary_of"]


def for_manifest(
    examples: Sequence[Example],
    *,
    sample_rate: int | None = None,
    subwords: int | None = None,
    vocabulary: Vocabulary | None = None,
    features: FeatureLayer | Mapping[str, Any] | None = None,
    **network: Any,
) -> SpeechRecognizer:
    """A recognizer that has learned nothing and fits the texts of a manifest.

    Args:
        examples: Examples with texts.
        sample_rate: Hz of the signals that the features are computed from; 16000 if not given.
        subwords: Write this many subwords, learned from the texts, instead of characters; needs sentencepiece.
        vocabulary: What it writes, instead of what the texts have.
        features: A layer, or options of `LogMel` such as `{"num_mels": 40}`. With `normalize="global"` they are
            adapted to the examples, unless they have been already.
        **network: Options of `recurrent_ctc`, such as `units` and `layers`.

    Raises:
        ValueError: There is no text, or an option is out of its range.
    """
    layer = features if isinstance(features, FeatureLayer) else LogMel(int(sample_rate or 16000), **(features or {}))
    if layer.needs_statistics:
        layer.adapt(readable(examples, lambda example: read_whole(example, layer.sample_rate)))
    vocabulary = vocabulary or vocabulary_of(examples, subwords=subwords)
    built = recurrent_ctc(num_features=layer.num_features, vocabulary_size=len(vocabulary), **network)
    return SpeechRecognizer(layer, built, vocabulary)


def vocabulary_of(examples: Sequence[Example], *, subwords: int | None = None) -> Vocabulary:
    """The characters of the examples' texts, or subwords learned from them.

    Args:
        examples: Examples with texts.
        subwords: How many subwords; characters where it is not given.

    Raises:
        ValueError: There is no text.
    """
    texts = [example.text or "" for example in examples]
    return Vocabulary.from_texts(texts) if subwords is None else Subwords.from_texts(texts, subwords)
