"""Average several models into one, whose error is lower than most of theirs if each was trained from another seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from speechrnn.layers.config import argument_names, serialized
from speechrnn.models.bundle import SignalBundle

__all__ = ["averaged", "check_averages", "reinitialized"]

_Model = TypeVar("_Model", bound=SignalBundle)
_NOT_COMPARED = ("network", "features", "card")
"""Constructor arguments in which averaged models may differ, or which are compared in another way."""


def averaged(models: Sequence[_Model], *, card: dict[str, Any] | None = None) -> _Model:
    """One model whose outputs are the mean of several models' outputs; it takes as long as all of them together.

    Args:
        models: Classifiers, forecasters or recognizers by CTC, all of one kind, with the same classes, quantiles or
            vocabulary and equal features. They are copied.
        card: Information about the model; the first one's card if not given.

    Returns:
        A model of the same kind, which is saved, exported and evaluated like any other.

    Raises:
        ValueError: The list is empty, or two models do not fit each other.

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
    first, *others = models
    check_averages(first)
    parts = _parts(first)
    for number, model in enumerate(others, start=2):
        if type(model) is not type(first):
            raise ValueError(
                f"Models must be of one kind. Received: a {first.kind}, and as number {number} a {model.kind}."
            )
        others_parts = _parts(model)
        if different := {n: (parts[n], others_parts[n]) for n in sorted(parts) if parts[n] != others_parts[n]}:
            raise ValueError(
                f"Models must be equal but for their weights. Received, with number {number}: {different}."
            )
        if not _equal(model.features, first.features):
            raise ValueError(f"Models must have equal features. Received: others in number {number}.")
        if first.network.output_shape[1] is None and model.stride != first.stride:
            raise ValueError(
                f"Models must have equal strides. Received: {first.stride}, and {model.stride} in {number}."
            )
    features, frames = (keras.Input(each.shape[1:], dtype=each.dtype, name=each.name) for each in first.network.inputs)
    members = [_copied(model.network, f"member_{number}") for number, model in enumerate(models, start=1)]
    outputs = [member([features, frames]) for member in members]
    mean = keras.layers.Average(dtype="float32", name="mean")(outputs) if len(outputs) > 1 else outputs[0]
    network = keras.Model([features, frames], mean, name="averaged")
    return first.with_parts(network=network, card=first.card if card is None else card)


def check_averages(model: Any) -> None:
    """Refuse a model that `averaged` does not support.

    Raises:
        ValueError: It has further networks besides `network`, or takes no signals.
    """
    others = (name for name in argument_names(type(model)) if name not in _NOT_COMPARED)
    if not isinstance(model, SignalBundle) or any(isinstance(getattr(model, name), keras.Layer) for name in others):
        raise ValueError(
            f"Only classifiers, forecasters and recognizers by CTC can be averaged. Received: a {type(model).__name__}."
        )


def reinitialized(model: _Model) -> _Model:
    """A copy of a model with new random weights, drawn from the generator that `keras.utils.set_random_seed` seeds.

    Weights that are not trained, such as adapted statistics and frozen layers, are copied.
    """
    network = type(model.network).from_config(model.network.get_config())
    for new, old in zip(network.non_trainable_weights, model.network.non_trainable_weights, strict=True):
        new.assign(old)
    return model.with_parts(network=network)


def _parts(model: SignalBundle) -> dict[str, Any]:
    """The constructor arguments that must be equal, as JSON values."""
    return {name: serialized(getattr(model, name)) for name in argument_names(type(model)) if name not in _NOT_COMPARED}


def _equal(one: keras.Layer, other: keras.Layer) -> bool:
    """Whether two feature layers have the same class, the same options and, up to rounding, the same statistics."""
    options = [{**features.get_config(), "name": ""} for features in (one, other)]
    weights = zip(one.get_weights(), other.get_weights(), strict=False)
    return type(one) is type(other) and options[0] == options[1] and all(np.allclose(a, b) for a, b in weights)


def _copied(network: keras.Model, name: str) -> keras.Model:
    copy = type(network).from_config({**network.get_config(), "name": name})
    copy.set_weights(network.get_weights())
    return copy
