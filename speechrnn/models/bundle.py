"""Base classes of bundles: a network and the meaning of its outputs in one `.keras` file, with methods to use it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import check_options
from speechrnn.features import layers as _features  # noqa: F401 - registers the layers that a file may hold
from speechrnn.features import symbols as _symbols  # noqa: F401
from speechrnn.layers.config import argument_names, serialized
from speechrnn.layers.frames import checked_stride
from speechrnn.models import guard, kinds
from speechrnn.models.answers import ModelMethods, is_manifest
from speechrnn.runtime.batches import padded
from speechrnn.runtime.onnxfile import check_path
from speechrnn.text import Vocabulary

__all__ = ["FORMAT_VERSION", "Bundle", "SignalBundle", "TwoPartBundle", "read"]

FORMAT_VERSION = 1
"""Version of the saved file's layout; files of newer versions are refused."""

_OF_KERAS = frozenset(inspect.signature(keras.Model.export).parameters) | {
    "opset_version",
    "is_static",
    "jax2tf_kwargs",
}
"""Options of Keras's own `export`."""


class Bundle(ModelMethods, keras.Model):
    """A network with everything that is needed to use it; a subclass defines what the outputs mean.

    Args:
        network: Model whose last axis is the outputs.
        card: Information about the model, as JSON values.
        outputs: Number of outputs that the network must have.
        outputs_are: What they stand for, for the error message.

    Raises:
        ValueError: The network is not functional, or has another number of outputs.
    """

    kind: ClassVar[str]
    """Name of its kind in `speechrnn.models.kinds`."""
    _default_loss: keras.losses.Loss | None = None
    """The loss if `compile` was not given one of its class; None for a kind whose `_loss` has no options."""
    vocabularies: ClassVar[tuple[str, ...]] = ("vocabulary",)
    """Names of constructor arguments that are vocabularies."""

    def __init__(
        self, network: keras.Model, card: dict[str, Any] | None, *, outputs: int, outputs_are: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(network, keras.Model) or len(getattr(network, "outputs", None) or ()) != 1:
            raise ValueError(
                "The network must be a functional Keras model, keras.Model(inputs, output), with one output. Received: "
                f"{network!r:.200}."
            )
        size = network.output_shape[-1]
        if size != outputs:
            raise ValueError(f"The network must have {outputs} outputs, {outputs_are}. Received: {size} outputs.")
        self.network, self.card = network, card or {}
        self.built = True

    def serving_outputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The outputs of a SavedModel's serving function, by name."""
        raise NotImplementedError

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The kind's loss plus the layers' losses; to set its options, `compile` with a loss of the same class.

        Raises:
            ValueError: `compile` was given another loss.
        """
        default, loss = self._default_loss, self.loss
        if loss is not None and not (default is not None and isinstance(loss, type(default))):
            options = (
                "." if default is None else f", or set its options by speechrnn.losses.{type(default).__name__}(...)."
            )
            raise ValueError(
                f"A {type(self).__name__} has its own loss. Leave `loss` out of `compile`{options} Received: "
                f"loss={loss!r}."
            )
        loss = default if loss is None else loss
        return sum(self.losses, start=self._loss(loss, x, y, y_pred, sample_weight, training))

    def _loss(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        return loss(y, y_pred, sample_weight)

    def with_parts(self, **others: Any) -> Self:
        """A new, uncompiled model of the same parts, some of them replaced; Keras saves no optimizer with it."""
        parts = {name: getattr(self, name) for name in argument_names(type(self))}
        return type(self)(**{**parts, **others}, name=self.name)

    @classmethod
    def for_manifest(cls, examples: Sequence[Any], **options: Any) -> Self:
        """Build an untrained model that suits a manifest.

        Args:
            examples: Examples of the manifest.
            **options: Options of the network and of the features, instead of those that suit the examples.

        Raises:
            TypeError: An option is unknown.
            ValueError: An option is out of its range, or the examples lack what this kind of model learns.
        """
        kind = kinds.named(cls.kind)
        if kind.build is None:
            raise ValueError(f"A {kind.noun} cannot be made from a manifest.")
        return kinds.resolve(kind.build)(examples, **options)

    def evaluate(self, x: Any = None, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """Evaluate the model on a manifest; on arrays or batches this is Keras's own `evaluate`.

        Args:
            x: Examples, or the path of a manifest. Anything else goes to `keras.Model.evaluate`.
            *args: See `keras.Model.evaluate`.
            **options: See the `evaluate` function of this kind of model, or `keras.Model.evaluate`.

        Returns:
            A report; it prints itself.
        """
        if is_manifest(x, self.is_example):
            return self.evaluate_examples(x, **options)
        return keras.Model.evaluate(self, x, *args, **options)

    def export(self, filepath: str | os.PathLike[str], format: str | None = None, **options: Any) -> Any:
        """Write the model for other programs; extends Keras's own method with this package's formats.

        Args:
            filepath: The file, or the folder of a SavedModel. Its ending decides the format if `format` is not given.
            format: "onnx", "litert" or "savedmodel", or a format of `keras.Model.export`.
            **options: `int8`, `streaming`, `overwrite`, see `speechrnn.export.writing.export`; with an option of
                Keras's, such as `input_signature`, Keras's method is called.

        Returns:
            The path of the file or folder.

        Raises:
            TypeError: An option is unknown.
        """
        to = format or kinds.resolve("speechrnn.export.targets:of_ending")(filepath) or "savedmodel"
        known = {field.name for field in fields(kinds.resolve("speechrnn.export.options:ExportOptions"))}
        unknown = options.keys() - known
        if to not in kinds.resolve("speechrnn.export.targets:TARGETS") or unknown & _OF_KERAS:
            chosen = {} if format is None else {"format": format}
            return keras.Model.export(self, os.fspath(filepath), **chosen, **options)
        check_options(unknown, known | {"format"}, "export")
        return kinds.resolve("speechrnn.export.writing:export")(self, filepath, to=to, **options)

    def _compiled(self, function: Any, signature: list[Any], *, name: str = "forward") -> Any:
        """A `tf.function` of the model, traced once and cached under a name."""
        attribute = f"_compiled_{name}"
        if attribute not in self.__dict__:
            # Bypasses Keras's attribute tracking: a function is not part of the model's state.
            object.__setattr__(self, attribute, tf.function(function, signature))
        return self.__dict__[attribute]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and the version of this layout."""
        parts = {name: serialized(getattr(self, name)) for name in argument_names(type(self))}
        return {"format_version": FORMAT_VERSION, **parts, "name": self.name}

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
        for name, part in config.items():
            if name in cls.vocabularies:
                config[name] = Vocabulary.from_config(part)
            elif name != "card" and isinstance(part, dict) and "class_name" in part:
                config[name] = keras.saving.deserialize_keras_object(part, custom_objects=custom_objects)
        return cls(**config)


class TwoPartBundle(Bundle):
    """A network of an encoder, which begins with an embedding of symbols, and a decoder.

    Args:
        network: Contains a model `encoder`, with a layer `embedding`, and a `decoder`.
        card: See `Bundle`.
        symbols: Number of symbols that the encoder must embed.
        **kwargs: See `Bundle`.

    Raises:
        ValueError: The parts do not fit each other.
    """

    decoder_class: ClassVar[type[keras.Layer]] = keras.Model
    made_by: ClassVar[str]
    """Name of the function that builds such networks, for the error message."""

    def __init__(self, network: keras.Model, card: dict[str, Any] | None, *, symbols: int, **kwargs: Any) -> None:
        super().__init__(network, card, **kwargs)
        parts = {layer.name: layer for layer in network.layers}
        required = {"encoder": keras.Model, "decoder": self.decoder_class}
        if not all(isinstance(parts.get(name), kind) for name, kind in required.items()):
            layers = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in parts.items())
            raise ValueError(
                f"The network must have models `encoder` and `decoder`, as {self.made_by} makes it. Received: {layers}."
            )
        rows = self.encoder.get_layer("embedding").input_dim
        if rows != symbols:
            raise ValueError(
                f"The encoder must have {symbols} symbols, one for each of the vocabulary and one for the padding. "
                f"Received: {rows}."
            )

    @property
    def encoder(self) -> keras.Model:
        """The part of the network that reads the input symbols."""
        return self.network.get_layer("encoder")

    @property
    def decoder(self) -> Any:
        """The part of the network that produces the output."""
        return self.network.get_layer("decoder")


class SignalBundle(Bundle):
    """Features and a network, called on signals or on features.

    Args:
        features: A layer of `speechrnn.features`.
        network: Model from `[features (batch, frames, features), frames (batch,)]` to logits.
        card: See `Bundle`.
        outputs: See `Bundle`.
        outputs_are: See `Bundle`.

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
        super().__init__(network, card, outputs=outputs, outputs_are=outputs_are, **kwargs)
        shapes = [tuple(given.shape) for given in network.inputs]
        if [len(shape) for shape in shapes] != [3, 1]:
            raise ValueError(
                "The network must take [features (batch, frames, features), frames (batch,)], also if it does not need "
                f"the frames. Received: inputs {shapes}."
            )
        width = shapes[0][-1]
        if width != features.num_features:
            raise ValueError(
                f"The network expects {width} features per frame. Received: {type(features).__name__} with "
                f"num_features={features.num_features}."
            )
        self.features, self._stride = features, checked_stride(network)
        if not features.built:
            features.build((None, None))

    @property
    def sample_rate(self) -> int:
        """Samples per second that signals must have."""
        return self.features.sample_rate

    @property
    def channels(self) -> int | None:
        """Channels of a signal `(samples, channels)`; None for a mono signal `(samples,)`."""
        return getattr(self.features, "channels", None)

    @property
    def columns(self) -> int | None:
        """Columns of a signal as the network reads it: its channels, and any further inputs."""
        return self.channels

    @property
    def stride(self) -> int:
        """Frames of features per frame of logits."""
        return self._stride

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
        """Number of valid frames in the logits of `inputs`: int32 `(batch,)`."""
        frames = inputs["frames"] if "frames" in inputs else self.features.frame_count(inputs["length"])
        return -(-tf.cast(frames, tf.int32) // self.stride)

    def serving_outputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """See `Bundle.serving_outputs`."""
        return {"logits": self(inputs, training=False), "frames": self.logit_frames(inputs)}

    def _outputs(self, signals: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
        """The network's outputs for signals padded to one batch, and the number of feature frames of each signal."""
        batch, lengths = padded(signals, self.columns)
        shape = (None, None) if self.columns is None else (None, None, self.columns)
        forward = self._compiled(
            lambda s, n: self({"signal": s, "length": n}, training=False),
            [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None,), tf.int32)],
        )
        outputs = forward(tf.constant(batch), tf.constant(lengths)).numpy()
        return outputs, [int(self.features.frame_count(int(n))) for n in lengths]


def read(path: str | os.PathLike[str]) -> keras.Model:
    """Read any Keras model from its `.keras` file, in Keras's safe mode: no code in the file is run.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, or needs classes that are not registered.
    """
    path = os.fspath(path)
    check_path(path)
    guard.check(path)
    if not path.endswith(".keras"):  # Keras goes by the name
        raise ValueError(f"{path}: is a .keras model by another name. Rename it, so that it ends in .keras.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as a speechrnn model: {reason}{guard.newer_keras_hint(path)}"
        ) from error
