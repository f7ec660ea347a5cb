"""A new recognizer for a manifest: its vocabulary, its features and its network."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from speechrnn.data.examples import read_whole, readable
from speechrnn.data.manifest import Example
from speechrnn.features import LogMel
from speechrnn.features.base import FeatureLayer
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.options import TransducerNetwork
from speechrnn.tasks.recognition.transducer import TransducerRecognizer
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
    criterion: Literal["ctc", "transducer"] = "ctc",
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
        criterion: What it is trained by: "ctc", or "transducer", which makes a `TransducerRecognizer`.
        **network: Options of `recurrent_ctc`, such as `units` and `layers`, and of a transducer those of
            `symbol_predictor`, such as `joint`.

    Raises:
        ValueError: There is no text, or an option is out of its range or of the other criterion.
    """
    if criterion not in ("ctc", "transducer"):
        raise ValueError(f'`criterion` must be "ctc" or "transducer". Received: {criterion!r}.')
    own = {field.name: network.pop(field.name) for field in fields(TransducerNetwork) if field.name in network}
    if own and criterion == "ctc":
        raise ValueError(f'{", ".join(own)}: only with criterion="transducer". Received: criterion="ctc".')
    layer = features if isinstance(features, FeatureLayer) else LogMel(int(sample_rate or 16000), **(features or {}))
    if layer.needs_statistics:
        layer.adapt(readable(examples, lambda example: read_whole(example, layer.sample_rate)))
    vocabulary = vocabulary or vocabulary_of(examples, subwords=subwords)
    if criterion == "ctc":
        built = recurrent_ctc(num_features=layer.num_features, vocabulary_size=len(vocabulary), **network)
        return SpeechRecognizer(layer, built, vocabulary)
    options = TransducerNetwork(**own)
    encoder = recurrent_ctc(num_features=layer.num_features, vocabulary_size=options.joint, **network)
    given = {**vars(options), "dropout": network.get("dropout", 0.0)}
    return TransducerRecognizer.begun_from(layer, vocabulary, encoder, **given)


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
