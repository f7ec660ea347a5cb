"""A new classifier for a manifest: task, classes, rate, channels and a network that suits them."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from speechrnn import audio, signals
from speechrnn.cli.options import collect
from speechrnn.data.examples import chosen_channels, read_example
from speechrnn.data.manifest import Example

if TYPE_CHECKING:
    from speechrnn.features.base import FeatureLayer
    from speechrnn.tasks.classification.model import SequenceClassifier

NETWORK = "speechrnn.tasks.classification.network:recurrent_classifier"
_FRAMES, _MOST_BLOCKS = 120, 6
"""Frames that the blocks of a signal's front end leave, about, and how many blocks there are at most."""


def classes_of(examples: Sequence[Example]) -> tuple[Literal["single", "multi", "frames"], list[str]]:
    """What the examples are labelled with, "single", "multi" or "frames", and the names of the classes.

    Raises:
        ValueError: They have neither a label, tags nor labels, or fewer than two classes.
    """
    labels = [example.label for example in examples if example.label is not None]
    tags = [tag for example in examples for tag in example.extra.get("tags", ())]
    parts = [label for example in examples for label in example.labels or ()]
    pieces = [part[-1] if isinstance(part, tuple | list) else part for part in parts]
    kinds: list[tuple[Literal["single", "multi", "frames"], list[Any]]]
    kinds = [("frames", pieces), ("multi", tags), ("single", labels)]
    for task, found in kinds:
        names = sorted({str(name) for name in found if name is not None})
        if names:
            if len(names) < 2:
                raise ValueError(f"There must be two or more classes. Received: {names}.")
            return task, names
    raise ValueError("The examples have neither `label`, `labels` nor `tags` in `extra`. Prepare them with labels.")


def make(arguments: argparse.Namespace, examples: Sequence[Example], network: dict[str, Any]) -> SequenceClassifier:
    """A classifier that has learnt nothing."""
    from speechrnn.tasks.classification.model import SequenceClassifier
    from speechrnn.tasks.classification.network import recurrent_classifier

    task, classes = classes_of(examples)
    sound = all(Path(e.path).suffix.lower() in audio.SUFFIXES and "channels" not in e.extra for e in examples)
    features = _sound(arguments, examples) if sound else _signal(arguments, examples)
    if features.normalize == "global":
        features.adapt(_signals(examples, features))
    frames = statistics.median(features.frame_count(round(e.duration * features.sample_rate)) for e in examples)
    suited = {
        "dropout": 0.2,
        "pooling": None if task == "frames" else "attention",
        "over": "spectrum" if sound else "time",
        "filters": 16 if sound else 32,
        "convolutions": 2 if sound or task == "frames" else _blocks(frames),
    }
    made = recurrent_classifier(num_features=features.num_features, num_classes=len(classes), **{**suited, **network})
    return SequenceClassifier(features, made, classes, task=task)


def _blocks(frames: float) -> int:
    return int(np.clip(np.round(np.log2(max(frames, 1) / _FRAMES)), 1, _MOST_BLOCKS))


def _sound(arguments: argparse.Namespace, examples: Sequence[Example]) -> FeatureLayer:
    """Log-mel energies; their level is kept, since a steady sound is nothing else."""
    from speechrnn.features import LogMel

    rate = arguments.sample_rate or audio.probe(examples[0].path, encoding=examples[0].encoding).sample_rate
    return LogMel(int(rate), **{"normalize": "global", **collect(arguments, arguments.features)})


def _signal(arguments: argparse.Namespace, examples: Sequence[Example]) -> FeatureLayer:
    """The samples of all channels, one by one; several channels keep their level, since it may mean something."""
    from speechrnn.features import RawSignal

    info = signals.probe(
        examples[0].path,
        row=examples[0].extra.get("row"),
        rate=examples[0].extra.get("rate"),
        channels=chosen_channels(examples[0]),
    )
    count = len(info.channels)
    own = {"window": 1, "hop": 1, "normalize": "global" if count > 1 else "utterance"}
    given = collect(arguments, arguments.features)
    unknown = sorted(set(given) - set(own))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: for sounds only. Received: {examples[0].path}, a signal.")
    rate = arguments.sample_rate or info.rate
    return RawSignal(int(rate) if float(rate).is_integer() else rate, channels=count, **{**own, **given})


def _signals(examples: Sequence[Example], features: FeatureLayer) -> Iterator[np.ndarray]:
    """Signals of the examples that can be read; training names the others."""
    channels = getattr(features, "channels", None)
    for example in examples:
        with suppress(OSError, ValueError):
            found, _ = read_example(example, channels=channels, sample_rate=features.sample_rate)
            yield found if channels is not None else found.mean(axis=1)
