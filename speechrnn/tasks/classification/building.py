"""Build a classifier for a manifest: its classes, its features and a network that suits them."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from speechrnn import audio
from speechrnn.data.examples import probe_example, read_example, readable
from speechrnn.data.manifest import Example
from speechrnn.data.texts import unit_of
from speechrnn.features import LogMel, RawSignal, Symbols
from speechrnn.features.base import FeatureLayer
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.classification.network import recurrent_classifier
from speechrnn.text.tokens import Tokens

_FRAMES, _MAX_BLOCKS = 120, 6
"""Approximate number of frames after the convolutional blocks, and largest number of blocks."""


def for_manifest(
    examples: Sequence[Example],
    *,
    sample_rate: float | None = None,
    features: FeatureLayer | Mapping[str, Any] | None = None,
    lowercase: bool = True,
    least: int = 1,
    **network: Any,
) -> SequenceClassifier:
    """Build an untrained classifier that fits the labels and signals of a manifest.

    Features of sounds are log-mel energies, normalized with global statistics so that they keep the level, which is all
    that identifies a steady sound. Other signals are read sample by sample with all channels; several channels keep
    their levels, which may be meaningful. For texts the network begins with an embedding of their tokens.

    Args:
        examples: Recordings, or texts as `speechrnn.data.texts.text_example` makes them, with `label` (one class each),
            `labels` (one class per frame) or `tags` in `extra` (several classes at once).
        sample_rate: Sample rate of the model in Hz; by default that of the first example.
        features: A layer, or options of `LogMel` for sounds and of `RawSignal` for signals. With `normalize="global"`
            they are adapted to the examples, unless they have been already.
        lowercase: Whether upper and lower case count as the same, in texts.
        least: How often a token must occur to be known, in texts; rarer ones count as unknown.
        **network: Options of `recurrent_classifier`; by default they follow from the data.

    Raises:
        ValueError: The examples have no labels or fewer than two classes, or an option is out of its range.
    """
    task, classes = classes_of(examples)
    if isinstance(features, Symbols) or any(unit_of(example) for example in examples):
        symbols = features if isinstance(features, Symbols) else _symbols(examples, features, lowercase, least)
        defaults = {"dropout": 0.3, "pooling": None if task == "frames" else "attention"}
        defaults |= {"symbols": len(symbols.tokens), "num_classes": len(classes)}
        built = recurrent_classifier(num_features=1, **{**defaults, **network})
        return SequenceClassifier(symbols, built, classes, task=task)
    sound = all(Path(e.path).suffix.lower() in audio.SUFFIXES and "channels" not in e.extra for e in examples)
    if isinstance(features, FeatureLayer):
        layer = features
    else:
        layer = (_sound if sound else _signal)(examples[0], sample_rate, features or {})
    adapt(layer, examples)
    frames = statistics.median(layer.frame_count(round(e.duration * layer.sample_rate)) for e in examples)
    defaults = {
        "dropout": 0.2,
        "pooling": None if task == "frames" else "attention",
        "over": "spectrum" if sound else "time",
        "filters": 16 if sound else 32,
        "convolutions": 2 if sound or task == "frames" else _blocks(frames),
    }
    built = recurrent_classifier(num_features=layer.num_features, num_classes=len(classes), **{**defaults, **network})
    return SequenceClassifier(layer, built, classes, task=task)


def _symbols(examples: Sequence[Example], features: Any, lowercase: bool, least: int) -> Symbols:
    units = {unit_of(example) for example in examples}
    unit = unit_of(examples[0])
    if unit is None or len(units) > 1 or features:
        raise ValueError(
            "Texts must all be cut into the same, and have no features of sounds. Received: "
            f"{', '.join(sorted(map(str, units)))}, features={features!r}."
        )
    tokens = Tokens.from_texts((e.text or "" for e in examples), unit=unit, lowercase=lowercase, least=least)
    return Symbols(tokens.symbols, unit=unit, lowercase=lowercase)


def adapt(layer: FeatureLayer, examples: Sequence[Example]) -> None:
    """Compute the statistics of a layer that needs them, from the examples that can be read."""
    if layer.needs_statistics:
        layer.adapt(readable(examples, lambda example: _signal_of(example, layer)))


def classes_of(examples: Sequence[Example]) -> tuple[Literal["single", "multi", "frames"], list[str]]:
    """The task of labeled examples, "single", "multi" or "frames", and the names of their classes.

    Raises:
        ValueError: They have neither a label, tags nor labels, or fewer than two classes.
    """
    labels = [example.label for example in examples if example.label is not None]
    tags = [tag for example in examples for tag in example.extra.get("tags", ())]
    parts = [label for example in examples for label in example.labels or ()]
    pieces = [part[-1] if isinstance(part, tuple | list) else part for part in parts]
    by_task: dict[Literal["single", "multi", "frames"], list[Any]]
    by_task = {"frames": pieces, "multi": tags, "single": labels}
    for task, values in by_task.items():
        names = sorted({str(name) for name in values if name is not None})
        if names:
            if len(names) < 2:
                raise ValueError(f"There must be two or more classes. Received: {names}.")
            return task, names
    raise ValueError("The examples have neither `label`, `labels` nor `tags` in `extra`. Prepare them with labels.")


def _blocks(frames: float) -> int:
    return int(np.clip(np.round(np.log2(max(frames, 1) / _FRAMES)), 1, _MAX_BLOCKS))


def _sound(first: Example, sample_rate: float | None, options: Mapping[str, Any]) -> FeatureLayer:
    rate = sample_rate or audio.probe(first.path, encoding=first.encoding).sample_rate
    return LogMel(int(rate), **{"normalize": "global", **options})


def _signal(first: Example, sample_rate: float | None, options: Mapping[str, Any]) -> FeatureLayer:
    info = probe_example(first)
    count = len(info.channels)
    defaults = {"window": 1, "hop": 1, "normalize": "global" if count > 1 else "utterance"}
    if unknown := sorted(set(options) - set(defaults)):
        raise ValueError(f"{', '.join(unknown)}: for sounds only. Received: {first.path}, a signal.")
    rate = sample_rate or info.rate
    return RawSignal(int(rate) if float(rate).is_integer() else rate, channels=count, **{**defaults, **options})


def _signal_of(example: Example, layer: FeatureLayer) -> np.ndarray:
    """The signal of an example, float32 `(samples, channels)`, or `(samples,)` for a layer without channels."""
    channels = getattr(layer, "channels", None)
    signal, _ = read_example(example, channels=channels, sample_rate=layer.sample_rate)
    return signal if channels is not None else signal.mean(axis=1)
