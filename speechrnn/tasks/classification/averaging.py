"""Several classifiers as one, which errs less than any of them where each was trained from another seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from speechrnn.tasks.classification.model import SequenceClassifier

__all__ = ["averaged"]


def averaged(models: Sequence[SequenceClassifier], *, card: dict[str, Any] | None = None) -> SequenceClassifier:
    """One classifier whose logits are the means of those of several, so that it takes as long as all of them.

    Args:
        models: Classifiers of the same classes and task, with equal features; they are copied.
        card: Anything to know about the model; the first one's card if not given.

    Returns:
        A classifier like any other: it is saved, exported and measured as one.

    Raises:
        ValueError: There is no model, or two do not fit each other.

    Example:
    >>> from speechrnn import RawSignal, SequenceClassifier, recurrent_classifier
    >>> def one():
    ...     network = recurrent_classifier("gru", num_features=2, num_classes=2, units=4, layers=1)
    ...     return SequenceClassifier(RawSignal(100, window=1, hop=1, channels=2), network, ["rest", "walk"])
    >>> averaged([one(), one()]).classes
    ('rest', 'walk')
    """
    if not models:
        raise ValueError("There must be a model to average. Received: none.")
    first = models[0]
    for number, model in enumerate(models[1:], start=2):
        if (model.classes, model.task, model.stride) != (first.classes, first.task, first.stride):
            raise ValueError(
                f"Models must have the same classes, task and stride. Received: {first.classes}, {first.task!r}, "
                f"{first.stride}, and as number {number} {model.classes}, {model.task!r}, {model.stride}."
            )
        if not _equal(model.features, first.features):
            raise ValueError(f"Models must have equal features. Received: others in number {number}.")
    features, frames = (
        keras.Input(given.shape[1:], dtype=given.dtype, name=given.name) for given in first.network.inputs
    )
    members = [_copied(model.network, f"member_{number}") for number, model in enumerate(models, start=1)]
    logits = [member([features, frames]) for member in members]
    mean = keras.layers.Average(dtype="float32", name="logits")(logits) if len(logits) > 1 else logits[0]
    network = keras.Model([features, frames], mean, name="averaged_classifier")
    return SequenceClassifier(
        first.features, network, first.classes, task=first.task, card=first.card if card is None else card
    )


def _equal(one: keras.Layer, other: keras.Layer) -> bool:
    """Whether features have the same class, options and, but for rounding, statistics."""
    options = [{**features.get_config(), "name": ""} for features in (one, other)]
    weights = zip(one.get_weights(), other.get_weights(), strict=False)
    return type(one) is type(other) and options[0] == options[1] and all(np.allclose(a, b) for a, b in weights)


def _copied(network: keras.Model, name: str) -> keras.Model:
    copy = type(network).from_config({**network.get_config(), "name": name})
    copy.set_weights(network.get_weights())
    return copy
