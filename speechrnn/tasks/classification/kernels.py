"""A classifier that is solved, not trained: random kernels, and a ridge regression of what they see."""

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
    """A classifier of whole signals that has learned from these examples: few of them are enough, and seconds.

    A linear model of the shares that `RandomKernels` gives, by ridge regression. The penalty is chosen by leaving one
    example out at a time, and so is the factor that makes probabilities of its outputs.

    Args:
        examples: Signals of one rate and number of channels, with `label`.
        features: Shares, about.
        seed: Of the kernels' channels and thresholds.
        card: Anything to know about the model.

    Returns:
        A bundle as `train` gives it, without a recurrent layer.

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
    standard = [(signal - raw.mean) / np.maximum(raw.std, raw.min_std) for signal, _ in records]
    kernels = RandomKernels(int(np.median([len(signal) for signal in standard])), features=features, seed=seed)
    kernels.adapt(standard)
    batches = [kernels(*padded(standard[i : i + _BATCH], channels)) for i in range(0, len(standard), _BATCH)]
    shares = np.concatenate(batches).astype("float64")  # small penalties leave nothing of float32's residuals
    mean, spread = shares.mean(0), shares.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    truth = [classes.index(str(example.label)) for example in examples]
    shares = (shares - mean) / spread
    solved = RidgeClassifierCV(alphas=_PENALTIES).fit(shares, truth)
    weight, bias = np.atleast_2d(solved.coef_), np.atleast_1d(solved.intercept_)
    if len(classes) == 2:
        weight, bias = np.stack([-weight[0], weight[0]]), np.array([-bias[0], bias[0]])
    scale = _scale(_left_out(shares, shares @ weight.T + bias, truth, solved.alpha_), truth)
    weight, bias = scale * weight / spread, scale * bias
    values, frames = keras.Input((None, channels), name="features"), keras.Input((), dtype="int32", name="frames")
    logits = keras.layers.Dense(len(classes), dtype="float32", name="logits")
    network = keras.Model([values, frames], logits(kernels(values, frames)), name="kernel_classifier")
    logits.set_weights([weight.T, bias - weight @ mean])
    return SequenceClassifier(raw, network, classes, card=card)


def _left_out(shares: np.ndarray, outputs: np.ndarray, truth: list[int], penalty: float) -> np.ndarray:
    """Outputs for each example of the same ridge regression of all others, from those of the whole one."""
    wanted = np.where(np.eye(outputs.shape[1])[truth] > 0, 1.0, -1.0)
    values, vectors = np.linalg.eigh(shares @ shares.T)
    own = np.square(vectors) @ (values / (values + penalty)) + 1 / len(shares)
    return wanted - (wanted - outputs) / np.maximum(1 - own, 1e-9)[:, None]


def _scale(outputs: np.ndarray, truth: list[int]) -> float:
    """The factor with the largest likelihood, as if there were one more example, of any class alike.

    So no number of right answers makes certain.
    """
    count, classes = outputs.shape
    target = (np.eye(classes)[truth] * count + 1 / classes) / (count + 1)
    logits = _SCALES[:, None, None] * outputs
    lost = np.logaddexp.reduce(logits, axis=-1) - (target * logits).sum(-1)
    return float(_SCALES[lost.mean(-1).argmin()])
