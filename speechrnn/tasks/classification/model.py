"""SequenceClassifier: a classifier of features, network and class names in one `.keras` file."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from speechrnn.layers.config import Configured
from speechrnn.layers.graph import layers_of
from speechrnn.losses import ClassLoss
from speechrnn.losses.reduction import weights_like
from speechrnn.losses.targets import classes_like, shares_like
from speechrnn.models import bundle
from speechrnn.runtime.batches import check_signals
from speechrnn.tasks.classification.methods import ClassifierMethods
from speechrnn.text.tokens import Tokens


@keras.saving.register_keras_serializable(package="speechrnn")
class SequenceClassifier(ClassifierMethods, bundle.SignalBundle):
    """A classifier of signals, sounds or texts: computes logits over classes from signals.

    Save it with `model.save("name.keras")`, and read it with `speechrnn.load` or `keras.saving.load_model`. It can be
    compiled and fitted like any Keras model on batches of `speechrnn.pipeline.batches`.

    Args:
        features: A layer of `speechrnn.features`; its `channels` are those of the signals.
        network: Model from `[features (batch, frames, features), frames (batch,)]` to logits, as
            `speechrnn.recurrent_classifier` makes it.
        classes: Names of the classes; the network must have one output for each.
        task: "single" (one class per signal), "multi" (any number of them at once) or "frames" (one class per frame);
            None means "frames" for a network without pooling and "single" for one with pooling.
        card: Information about the model (training data, license, scores), as JSON values.

    Call arguments:
        inputs: `{"signal": float32 (batch, samples[, channels]), "length": int32 (batch,)}`, or features computed by
            the same layer beforehand: `{"features": float32 (batch, frames, features), "frames": int32 (batch,)}`.

    Returns:
        float32 `(batch, classes)` or, for "frames", `(batch, ceil(frames / stride), classes)`, unnormalized.

    Raises:
        ValueError: Features, network, classes and task do not fit each other.
    """

    kind = "classifier"

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        classes: Sequence[str],
        *,
        task: Literal["single", "multi", "frames"] | None = None,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        names = tuple(map(str, classes))
        if len(set(names)) < max(2, len(names)):
            raise ValueError(f"There must be two or more classes, each with a name of its own. Received: {names}.")
        super().__init__(features, network, card, outputs=len(names), outputs_are="one for each class", **kwargs)
        per_frame = len(network.output_shape) == 3
        task = task or ("frames" if per_frame else "single")
        if task not in ("single", "multi", "frames") or (task == "frames") != per_frame:
            raise ValueError(
                '`task` must be "frames" for a network with an output for each frame, and "single" or "multi" for '
                f"one with an output for the whole. Received: {task!r} with outputs {network.output_shape}."
            )
        rows = {layer.input_dim for layer in layers_of(network) if isinstance(layer, keras.layers.Embedding)}
        if rows != (set() if self.tokens is None else {len(self.tokens)}):
            required = "none, without Symbols" if self.tokens is None else f"one, of {len(self.tokens)} tokens"
            raise ValueError(f"The network must have {required} to embed. Received: embeddings of {sorted(rows)}.")
        self.classes, self.task = names, task
        self._default_loss, self._accuracy = ClassLoss(multi=task == "multi"), Accuracy(multi=task == "multi")

    @property
    def tokens(self) -> Tokens | None:
        """Tokens of a classifier of texts; None if it classifies signals."""
        return getattr(self.features, "tokens", None)

    @property
    def per_frame(self) -> bool:
        """Whether the model gives one answer per frame instead of one per signal."""
        return self.task == "frames"

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The accuracy and the metrics of `compile`, besides the loss."""
        self._accuracy.update_state(y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def probabilities(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Probabilities of the classes for a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each, or `(samples, channels)` if the features have channels.

        Returns:
            For each signal float32 `(classes,)`; per frame `(ceil(frame_count / stride), classes)`. They add up to 1
            unless several classes can be true at once.

        Raises:
            ValueError: A signal has another number of channels, or is too short.
        """
        check_signals(signals, self.channels, None if self.per_frame else self.features.window)
        if not any(self.features.frame_count(len(signal)) for signal in signals):
            return [np.zeros((0, len(self.classes)), "float32") for _ in signals]
        outputs, frames = self._outputs(signals)
        probabilities = (tf.sigmoid if self.task == "multi" else tf.nn.softmax)(outputs).numpy()
        return [
            row[: -(-n // self.stride)] if self.per_frame else row for row, n in zip(probabilities, frames, strict=True)
        ]


@keras.saving.register_keras_serializable(package="speechrnn")
class Accuracy(Configured, keras.metrics.Metric):
    """Share of correct rows, or frames that have a class; if several classes can be true, of rows and classes."""

    def __init__(self, multi: bool = False, name: str = "accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.multi = multi
        self.right = self.add_weight(name="right", initializer="zeros")
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch; targets and logits are those of `speechrnn.losses.ClassLoss`."""
        y_pred = tf.convert_to_tensor(y_pred)
        if self.multi:
            hits, known = (shares_like(y_true, y_pred) > 0.5) == (y_pred > 0), tf.ones_like(y_pred, tf.bool)
        else:
            truth = classes_like(y_true, y_pred)
            truth = tf.argmax(truth, -1, tf.int32) if truth.dtype.is_floating else truth
            hits, known = truth == tf.argmax(y_pred, -1, tf.int32), truth >= 0
        weight = tf.where(known, weights_like(tf.cast(known, tf.float32), sample_weight), 0.0)
        self.right.assign_add(tf.reduce_sum(weight * tf.cast(hits, tf.float32)))
        self.total.assign_add(tf.reduce_sum(weight))

    def result(self) -> Any:
        """The share, float32 scalar; 0 before the first batch."""
        return tf.math.divide_no_nan(tf.convert_to_tensor(self.right), tf.convert_to_tensor(self.total))
