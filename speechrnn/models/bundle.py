"""What every bundle is: features and a network in one `.keras` file, run on batches of signals of any length."""

import os
import zipfile
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import layers as _features  # noqa: F401 - registers the layers that a file may hold
from speechrnn.layers.blocks import stride
from speechrnn.models.protocols import padded

__all__ = ["FORMAT_VERSION", "Bundle", "read"]

FORMAT_VERSION = 1
"""Layout of the saved file; a reader refuses one that is newer than itself."""


class Bundle(keras.Model):
    """Features and a network, called on signals or on features; a subclass knows what the outputs mean.

    Args:
        features: A layer of `speechrnn.features`.
        network: Model from `[features (batch, frames, features), frames (batch,)]` to logits.
        card: Anything to know about the model, as JSON can hold it.
        outputs: How many outputs the network must have.
        outputs_are: What they stand for, for the error.

    Raises:
        ValueError: Features, network and outputs do not fit each other.
    """

    def __init__(
        self,
        features: keras.Layer,
        network: keras.Model,
        card: dict[str, Any] | None,
        *,
        outputs: int,
        outputs_are: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        given, width = network.output_shape[-1], network.input_shape[0][-1]
        if given != outputs:
            raise ValueError(f"The network must have {outputs} outputs, {outputs_are}. Received: {given} outputs.")
        if width != features.num_features:
            raise ValueError(
                f"The network expects {width} features a frame. Received: {type(features).__name__} with "
                f"num_features={features.num_features}."
            )
        self.features, self.network, self.card = features, network, card or {}
        if not features.built:
            features.build((None, None))
        self.built = True

    @property
    def sample_rate(self) -> int:
        """Samples per second that signals must have."""
        return self.features.sample_rate

    @property
    def channels(self) -> int | None:
        """Channels of a signal `(samples, channels)`; None for a mono signal `(samples,)`."""
        return getattr(self.features, "channels", None)

    @property
    def stride(self) -> int:
        """Frames of features per frame of logits."""
        return stride(self.network)

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

    def served(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What a server gives out, by name."""
        return {"logits": self(inputs, training=False), "frames": self.logit_frames(inputs)}

    def bare(self) -> Self:
        """A fresh model of the same parts, as it was before it was compiled: Keras saves no optimiser with it."""
        raise NotImplementedError

    def _outputs(self, signals: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
        """Outputs of the network for signals padded to one batch, and the feature frames of each."""
        batch, lengths = padded(signals, self.channels)
        outputs = self._forward(tf.constant(batch), tf.constant(lengths)).numpy()
        return outputs, [int(self.features.frame_count(int(n))) for n in lengths]

    @property
    def _forward(self) -> Any:
        if "_compiled_forward" not in self.__dict__:
            shape = (None, None) if self.channels is None else (None, None, self.channels)
            signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None,), tf.int32)]
            function = tf.function(lambda s, n: self({"signal": s, "length": n}, training=False), signature)
            # Past Keras's attribute tracking: a function is no part of the model's state.
            object.__setattr__(self, "_compiled_forward", function)
        return self._compiled_forward

    def _parts(self) -> dict[str, Any]:
        """Configuration of what every bundle has."""
        return {
            "format_version": FORMAT_VERSION,
            "features": keras.saving.serialize_keras_object(self.features),
            "network": keras.saving.serialize_keras_object(self.network),
            "card": self.card,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
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
        return cls(**config)


def read(path: str | os.PathLike[str]) -> keras.Model:
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
