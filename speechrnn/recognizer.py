"""SpeechRecognizer: features, network and vocabulary in one `.keras` file."""

import os
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn import networks
from speechrnn.features import layers as _features  # noqa: F401 - registers the layers that a file may hold
from speechrnn.losses import CTC, required_frames
from speechrnn.protocols import Recognizer
from speechrnn.text import Vocabulary

__all__ = ["FORMAT_VERSION", "Recognizer", "SpeechRecognizer", "load"]

FORMAT_VERSION = 1
"""Layout of the saved file; a reader refuses one that is newer than itself."""


@keras.saving.register_keras_serializable(package="speechrnn")
class SpeechRecognizer(keras.Model):
    """Features, network and vocabulary: a signal goes in, logits over the vocabulary come out.

    Written by plain `model.save("name.keras")`, read by `speechrnn.recognizer.load` or
    `keras.saving.load_model`. It can be compiled and fitted like any Keras model on batches of
    `speechrnn.pipeline.batches`; the loss is CTC over each row's own frames.

    Args:
        features: A layer of `speechrnn.features`.
        network: Model from `[features (batch, frames, features), frames (batch,)]` to logits, as
            `speechrnn.networks.recurrent_ctc` makes it.
        vocabulary: The characters; the network's outputs must be as many.
        card: Anything to know about the model (training data, licence, scores), as JSON can hold it.

    Call arguments:
        inputs: `{"signal": float32 (batch, samples), "length": int32 (batch,)}`, or features computed by the same
            layer beforehand: `{"features": float32 (batch, frames, features), "frames": int32 (batch,)}`.

    Returns:
        float32 `(batch, ceil(frames / stride), vocabulary)`, unnormalised.

    Raises:
        ValueError: Features, network and vocabulary do not fit each other.
    """

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        vocabulary: Vocabulary,
        *,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        outputs, width = network.output_shape[-1], network.input_shape[0][-1]
        if outputs != len(vocabulary):
            raise ValueError(
                f"The network must have {len(vocabulary)} outputs, one for each symbol of the vocabulary and the "
                f"blank. Received: {outputs} outputs."
            )
        if width != features.num_features:
            raise ValueError(
                f"The network expects {width} features a frame. Received: {type(features).__name__} with "
                f"num_features={features.num_features}."
            )
        self.features, self.network, self.vocabulary, self.card = features, network, vocabulary, card or {}
        self._ctc, self._token_errors = CTC(), TokenErrorRate(name="token_error_rate")
        if not features.built:
            features.build((None, None))
        self.built = True

    @property
    def sample_rate(self) -> int:
        """Samples per second that signals must have."""
        return self.features.sample_rate

    @property
    def stride(self) -> int:
        """Frames of features per frame of logits."""
        return networks.stride(self.network)

    @property
    def frame_period(self) -> float:
        """Seconds between two frames of logits."""
        return self.features.frame_period * self.stride

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        if "features" in inputs:
            return self.network([inputs["features"], inputs["frames"]], training=training)
        values = self.features(inputs["signal"], inputs["length"], training=training)
        return self.network([values, self.features.frame_count(inputs["length"])], training=training)

    def logit_frames(self, inputs: dict[str, Any]) -> Any:
        """Valid frames of the logits of `inputs`: int32 `(batch,)`."""
        frames = inputs["frames"] if "frames" in inputs else self.features.frame_count(inputs["length"])
        return -(-tf.cast(frames, tf.int32) // self.stride)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """CTC over each row's own frames, and the losses the layers add; `compile(loss=CTC(...))` gives it options."""
        loss = (self.loss if isinstance(self.loss, CTC) else self._ctc)(y, y_pred, sample_weight, self.logit_frames(x))
        for extra in self.losses:
            loss += extra
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Token error rate by the best path, beside the loss."""
        self._token_errors.update_state(y, y_pred, sample_weight, self.logit_frames(x))
        return self.get_metrics_result()

    def logits(self, signals: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Logits of a batch of signals at `sample_rate`.

        Args:
            signals: float32 `(samples,)` each.

        Returns:
            For each signal float32 `(ceil(frame_count / stride), vocabulary)`; nothing of the padding is left.
        """
        lengths = np.array([len(s) for s in signals], "int32")
        if not len(lengths):
            return []
        frames = [int(self.features.frame_count(int(n))) for n in lengths]
        if not max(frames):
            return [np.zeros((0, len(self.vocabulary)), "float32") for _ in signals]
        batch = np.zeros((len(signals), lengths.max()), "float32")
        for row, signal in zip(batch, signals, strict=True):
            row[: len(signal)] = signal
        out = self._forward(tf.constant(batch), tf.constant(lengths)).numpy()
        stride = self.stride
        return [row[: -(-n // stride)] for row, n in zip(out, frames, strict=True)]

    @property
    def _forward(self) -> Any:
        if "_compiled_forward" not in self.__dict__:
            signature = [tf.TensorSpec((None, None), tf.float32), tf.TensorSpec((None,), tf.int32)]
            function = tf.function(lambda s, n: self({"signal": s, "length": n}, training=False), signature)
            # Past Keras's attribute tracking: a function is no part of the model's state.
            object.__setattr__(self, "_compiled_forward", function)
        return self._compiled_forward

    def get_config(self) -> dict[str, Any]:
        """The parts, and the version of this layout."""
        return {
            "format_version": FORMAT_VERSION,
            "features": keras.saving.serialize_keras_object(self.features),
            "network": keras.saving.serialize_keras_object(self.network),
            "vocabulary": self.vocabulary.get_config(),
            "card": self.card,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SpeechRecognizer":
        """The model that `get_config` described.

        Raises:
            ValueError: The file was written in a newer layout.
        """
        config = dict(config)
        version = config.pop("format_version", None)
        if version is None or version > FORMAT_VERSION:
            raise ValueError(
                f"The model's format version must be at most {FORMAT_VERSION}. Received: {version}. "
                "Install a newer speechrnn to read it."
            )
        for part in ("features", "network"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects=custom_objects)
        config["vocabulary"] = Vocabulary.from_config(config["vocabulary"])
        return cls(**config)


@keras.saving.register_keras_serializable(package="speechrnn")
class TokenErrorRate(keras.metrics.Metric):
    """Edit distance between best-path tokens and targets, summed, over the number of target tokens."""

    def __init__(self, name: str = "token_error_rate", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.errors = self.add_weight(name="errors", initializer="zeros")
        self.tokens = self.add_weight(name="tokens", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None, frames: Any = None) -> None:
        """Adds a batch: targets `(batch, labels)`, logits `(batch, frames, vocabulary)`."""
        y_true = tf.cast(y_true, tf.int32)
        best = tf.argmax(y_pred, -1, tf.int32)
        if frames is not None:
            best = tf.where(tf.sequence_mask(frames, tf.shape(best)[1]), best, 0)
        repeated = tf.pad(best[:, 1:] == best[:, :-1], [[0, 0], [1, 0]])
        hypothesis = tf.sparse.from_dense(_left_packed(tf.where(repeated, 0, best)))
        errors = tf.edit_distance(hypothesis, tf.sparse.from_dense(y_true), normalize=False)
        tokens = tf.cast(tf.math.count_nonzero(y_true, 1), tf.float32)
        weight = tf.ones_like(tokens) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        if frames is not None:
            weight = tf.where(required_frames(y_true) <= frames, weight, 0.0)
        self.errors.assign_add(tf.reduce_sum(weight * errors))
        self.tokens.assign_add(tf.reduce_sum(weight * tokens))

    def result(self) -> Any:
        """float32 scalar; 0 while there were no tokens."""
        return tf.math.divide_no_nan(tf.convert_to_tensor(self.errors), tf.convert_to_tensor(self.tokens))


def _left_packed(ids: tf.Tensor) -> tf.Tensor:
    """Each row's non-zero entries moved to its front."""
    order = tf.argsort(tf.cast(ids == 0, tf.int32), axis=1, stable=True)
    return tf.gather(ids, order, batch_dims=1)


def load(path: str | os.PathLike[str]) -> SpeechRecognizer:
    """Read a recogniser from its `.keras` file, in Keras's safe mode: no code in the file is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not whole, or another program's, or holds another kind of model.
    """
    model = load_any(path)
    if not isinstance(model, SpeechRecognizer):
        raise ValueError(
            f"{os.fspath(path)}: must hold a SpeechRecognizer. Received: a {type(model).__name__}, which another "
            "program wrote."
        )
    return model


def load_any(path: str | os.PathLike[str]) -> keras.Model:
    """Read any Keras model from its `.keras` file, in Keras's safe mode: no code in the file is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not whole, or holds what only another program can read.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such model file.")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path}: is a folder. A model is one .keras file.")
    _check_archive(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: cannot be read as a speechrnn model: {reason}") from error


def _check_archive(path: str) -> None:
    """A `.keras` file is a zip archive with a configuration and weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            missing = {"config.json", "model.weights.h5"} - set(archive.namelist())
            broken = archive.testzip()
    except zipfile.BadZipFile:
        raise ValueError(
            f"{path}: is not a .keras model, or is cut off. Copy it again, or save it with model.save()."
        ) from None
    if missing:
        raise ValueError(f"{path}: is not a .keras model. It lacks {', '.join(sorted(missing))}.")
    if broken:
        raise ValueError(f"{path}: is damaged at {broken}. Copy it again.")
