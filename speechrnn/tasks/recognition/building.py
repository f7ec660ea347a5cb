"""Build a recognizer for a manifest: its vocabulary, its features and its network."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from speechrnn.data.examples import read_whole, readable
from speechrnn.data.manifest import Example
from speechrnn.faults import check_choice
from speechrnn.features import LogMel
from speechrnn.features.base import FeatureLayer
from speechrnn.tasks.recognition.attention import AttentionRecognizer
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.options import DecoderNetwork, TransducerNetwork
from speechrnn.tasks.recognition.transducer import TransducerRecognizer
from speechrnn.text import Vocabulary
from speechrnn.text.subwords import Subwords

_ENCODERS: dict[str, tuple[type[Any], type[Any]]] = {
    "transducer": (TransducerRecognizer, TransducerNetwork),
    "attention": (AttentionRecognizer, DecoderNetwork),
}
"""Class of the recognizer, and class of its options, by criterion, for recognizers whose network is an encoder."""


def for_manifest(
    examples: Sequence[Example],
    *,
    sample_rate: int | None = None,
    subwords: int | None = None,
    vocabulary: Vocabulary | None = None,
    features: FeatureLayer | Mapping[str, Any] | None = None,
    criterion: Literal["ctc", "transducer", "attention"] = "ctc",
    **network: Any,
) -> SpeechRecognizer:
    """Build an untrained recognizer whose vocabulary fits the texts of a manifest.

    Args:
        examples: Examples with texts.
        sample_rate: Sample rate of the model in Hz; by default 16000.
        subwords: Write this many subwords, learned from the texts, instead of characters; needs the extra `subwords`.
        vocabulary: The vocabulary, instead of one made from the texts.
        features: A layer, or options of `LogMel` such as `{"num_mels": 40}`. With `normalize="global"` they are
            adapted to the examples, unless they have been already.
        criterion: Type of recognizer: "ctc"; "transducer", a `TransducerRecognizer`; or "attention", an
            `AttentionRecognizer`.
        **network: Options of `recurrent_ctc`, such as `units` and `layers`; for a transducer also those of
            `symbol_predictor`, and with attention those of `DecoderNetwork`, such as `joint`.

    Raises:
        ValueError: There is no text, or an option is out of its range or belongs to another criterion.
    """
    check_choice("criterion", criterion, ("ctc", *_ENCODERS))
    options_of = {name: {field.name for field in fields(options)} for name, (_, options) in _ENCODERS.items()}
    joint_options = {name: network.pop(name) for name in sorted(set().union(*options_of.values())) if name in network}
    if others := [name for name in joint_options if name not in options_of.get(criterion, ())]:
        supported = " or ".join(f'criterion="{name}"' for name, known in options_of.items() if others[0] in known)
        raise ValueError(f'{others[0]}: only with {supported}. Received: criterion="{criterion}".')
    layer = features if isinstance(features, FeatureLayer) else LogMel(int(sample_rate or 16000), **(features or {}))
    if layer.needs_statistics:
        layer.adapt(readable(examples, lambda example: read_whole(example, layer.sample_rate)))
    vocabulary = vocabulary or vocabulary_of(examples, subwords=subwords)
    if criterion == "ctc":
        acoustic = recurrent_ctc(num_features=layer.num_features, vocabulary_size=len(vocabulary), **network)
        return SpeechRecognizer(layer, acoustic, vocabulary)
    recognizer_class, options_class = _ENCODERS[criterion]
    options = options_class(**joint_options)
    encoder = recurrent_ctc(num_features=layer.num_features, vocabulary_size=options.joint, **network)
    given = {**vars(options), "dropout": network.get("dropout", 0.0)}
    return recognizer_class.from_encoder(layer, vocabulary, encoder, **given)


def vocabulary_of(examples: Sequence[Example], *, subwords: int | None = None) -> Vocabulary:
    """A vocabulary of the characters of the examples' texts, or of subwords learned from them.

    Args:
        examples: Examples with texts.
        subwords: Number of subwords; by default characters.

    Raises:
        ValueError: There is no text.
    """
    texts = [example.text or "" for example in examples]
    return Vocabulary.from_texts(texts) if subwords is None else Subwords.from_texts(texts, subwords)
