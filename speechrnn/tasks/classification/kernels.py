"""Fit a classifier of random convolution kernels by ridge regression, without gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from speechrnn.data.examples import read_example
from speechrnn.data.manifest import Example
from speechrnn.features import RawSignal
from speechrnn.layers.kernels import RandomKernels
from speechrnn.runtime.batches import padded
from speechrnn.tasks.classification.building import classes_of
from speechrnn.tasks.classification.model import SequenceClassifier

_PENALTIES = np.logspace(-3, 3, 10)
_SCALES = np.logspace(-1, 2, 61)
_BATCH = 32


def kernel_classifier(
    examples: Sequence[Example], *, features: int = 9996, seed: int = 0, card: dict[str, Any] | None = None
) -> SequenceClassifier:
    """Fit a classifier of whole signals within seconds; few examples are enough.

    It is a linear model of the features of `RandomKernels`, fitted by ridge regression. The penalty, and the factor
    that converts its outputs to logits, are chosen by leave-one-out cross-validation.

    Args:
        examples: Signals of one rate and number of channels, with `label`.
        features: Approximate number of features.
        seed: Seed of the kernels' channels and thresholds.
        card: Information about the model.

    Returns:
        A bundle like those of `train`, without a recurrent layer.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed; it comes with the extra `speechrnn[signals]`.
        ValueError: The examples have no label, or fewer than two classes.
    """
    from sklearn.linear_model import RidgeClassifierCV

    task, classes = classes_of(examples)
    if task != "single":
        raise ValueError(f"`kernel_classifier` needs a class for each example. Received: examples for {task!r}.")
    records = [read_example(example) for example in examples]
    channels = records[0][0].shape[1]
    raw = RawSignal(records[0][1], window=1, hop=1, channels=channels, normalize="global")
    raw.adapt(signal for signal, _ in records)
    normalized = [(signal - raw.mean) / np.maximum(raw.std, raw.min_std) for signal, _ in records]
    kernels = RandomKernels(int(np.median([len(signal) for signal in normalized])), features=features, seed=seed)
    kernels.adapt(normalized)
    batches = [kernels(*padded(normalized[i : i + _BATCH], channels)) for i in range(0, len(normalized), _BATCH)]
    values = np.concatenate(batches).astype("float64")  # float32 is not exact enough for small penalties
    mean, std = values.mean(0), values.std(0)
    std = np.where(std > 0, std, 1.0)
    truth = [classes.index(str(example.label)) for example in examples]
    values = (values - mean) / std
    ridge = RidgeClassifierCV(alphas=_PENALTIES).fit(values, truth)
    weight, bias = np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
    if len(classes) == 2:
        weight, bias = np.stack([-weight[0], weight[0]]), np.array([-bias[0], bias[0]])
    scale = _scale(_left_out(values, values @ weight.T + bias, truth, ridge.alpha_), truth)
    weight, bias = scale * weight / std, scale * bias
    inputs, frames = keras.Input((None, channels), name="features"), keras.Input((), dtype="int32", name="frames")
    logits = keras.layers.Dense(len(classes), dtype="float32", name="logits")
    network = keras.Model([inputs, frames], logits(kernels(inputs, frames)), name="kernel_classifier")
    logits.set_weights([weight.T, bias - weight @ mean])
    return SequenceClassifier(raw, network, classes, card=card)


def _left_out(shares: np.ndarray, outputs: np.ndarray, truth: list[int], penalty: float) -> np.ndarray:
    """Leave-one-out outputs of a ridge regression: for each example, those of the same regression on all others."""
    target = np.where(np.eye(outputs.shape[1])[truth] > 0, 1.0, -1.0)
    values, vectors = np.linalg.eigh(shares @ shares.T)
    leverage = np.square(vectors) @ (values / (values + penalty)) + 1 / len(shares)
    return target - (target - outputs) / np.maximum(1 - leverage, 1e-9)[:, None]


def _scale(outputs: np.ndarray, truth: list[int]) -> float:
    """The factor of the outputs with the largest likelihood, with one more example spread evenly over the classes.

    That keeps the factor finite even if all outputs are right.
    """
    count, classes = outputs.shape
    target = (np.eye(classes)[truth] * count + 1 / classes) / (count + 1)
    logits = _SCALES[:, None, None] * outputs
    losses = np.logaddexp.reduce(logits, axis=-1) - (target * logits).sum(-1)
    return float(_SCALES[losses.mean(-1).argmin()])
