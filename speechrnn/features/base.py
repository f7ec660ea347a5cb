"""Base class of the feature layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import check_choice
from speechrnn.features import spectral
from speechrnn.layers.config import Configured
from speechrnn.layers.steps import cannot_stream


def require(condition: object, requirement: str, received: str) -> None:
    """Raises a ValueError with the requirement and the received value, unless the condition is true."""
    if not condition:
        raise ValueError(f"{requirement} Received: {received}.")


class FeatureLayer(Configured, keras.Layer):
    """Base of the feature layers: frames, masking of the padding, normalization and its statistics.

    The constructor of a subclass ends with `_finish`, and the subclass implements `_compute`. Features are float32
    whatever the global dtype policy: float16 can represent neither the power of a loud frame nor the floor of silence.
    """

    min_std = spectral.MIN_STD
    num_features: int

    def __init__(self, sample_rate: int, *, window: int | None, hop: int | None, normalize: str | None, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        require(sample_rate > 0, "`sample_rate` must be positive.", f"sample_rate={sample_rate}")
        self.sample_rate = sample_rate
        self.window = round(0.025 * sample_rate) if window is None else window
        self.hop = round(0.010 * sample_rate) if hop is None else hop
        self.normalize = normalize
        for name in ("window", "hop"):
            value = getattr(self, name)
            positive = isinstance(value, int) and value > 0
            require(positive, f"`{name}` must be a positive whole number of samples.", f"{name}={value}")
        check_choice("normalize", normalize, ("utterance", "global", None))

    def _finish(self, num_features: int, num_statistics: int) -> None:
        """Creates the weights of the statistics; a subclass calls it when it knows its sizes."""
        self.num_features = num_features
        self._num_statistics = num_statistics
        if self.normalize == "global":
            unknown = keras.initializers.Constant(float("nan"))
            self.mean = self.add_weight(shape=(num_statistics,), initializer=unknown, trainable=False, name="mean")
            self.std = self.add_weight(shape=(num_statistics,), initializer=unknown, trainable=False, name="std")
        self.built = True

    @property
    def frame_period(self) -> float:
        """Seconds between frames."""
        return self.hop / self.sample_rate

    def frame_count(self, length: Any) -> Any:
        """Number of frames of a signal of `length` samples: an int, an integer array or an integer tensor."""
        return spectral.frame_count(length, window=self.window, hop=self.hop)

    def _compute(self, signal: tf.Tensor, length: Any, training: bool) -> tf.Tensor:
        """Features before normalization."""
        raise NotImplementedError

    def _normalized(self, features: tf.Tensor, frames: Any) -> tf.Tensor:
        if self.normalize == "utterance":
            return spectral.normalize_utterance(features, frames, min_std=self.min_std)
        if self.normalize == "global":
            # Checked in the graph, since a bundle is traced before its weights are loaded.
            message = 'normalize="global" needs statistics: call `adapt(signals)` first.'
            std = tf.debugging.check_numerics(tf.convert_to_tensor(self.std), message)
            return spectral.normalize(features, self.mean, std, min_std=self.min_std)
        return features

    def _as_float(self, signal: Any) -> tf.Tensor:
        signal = tf.convert_to_tensor(signal)
        if not signal.dtype.is_floating:
            raise ValueError(
                f"A signal must be floating point in [-1, 1]. Received: {signal.dtype.name}. "
                "Divide 16-bit samples by 32768."
            )
        return tf.cast(signal, tf.float32)

    def call(self, signal: Any, length: Any = None, training: bool = False) -> tf.Tensor:
        """Computes the features; frames past `frame_count(length)` are zeros."""
        signal = self._as_float(signal)
        if length is None:
            return self._normalized(self._compute(signal, None, training), None)
        frames = self.frame_count(tf.cast(length, tf.int32))
        features = self._compute(spectral.mask_signal(signal, length), length, training)
        return spectral.mask_frames(self._normalized(features, frames), frames)

    @property
    def carried_samples(self) -> int:
        """Samples from before a block that its first window needs."""
        return self.window - self.hop

    def initial_state(self, batch: int | None, shape: tuple) -> dict[str, tuple]:
        """The samples carried over to the next block; at the start of a stream they are its first samples.

        Raises:
            ValueError: The features cannot be computed block by block.
        """
        self._check_stream()
        if self.window < self.hop:
            raise cannot_stream(
                self, f"`window` must be at least `hop`. Received: window={self.window}, hop={self.hop}"
            )
        if self.normalize == "utterance":
            raise cannot_stream(
                self,
                'normalize="utterance" needs the whole signal before its first frame. Train with normalize="global" '
                "(--normalize global)",
            )
        if self.normalize == "global" and not np.isfinite([*self.mean.numpy(), *self.std.numpy()]).all():
            raise ValueError('normalize="global" needs statistics: call `adapt(signals)` before the export.')
        return {"carry": (batch, self.carried_samples, *shape[2:])} if self.carried_samples else {}

    def step(self, states: dict[str, Any], samples: Any, frames: Any) -> tuple[Any, dict[str, Any]]:
        """Computes the features of a block.

        Args:
            states: See `initial_state`.
            samples: float32 `(batch, frames * hop[, channels])`, the samples after the carried ones.
            frames: int32 `(batch,)`, number of valid frames; the others become zeros.
        """
        values, *next_states = FeatureStep(self)(samples, frames, *states.values())
        return values, dict(zip(states, next_states, strict=True))

    def _check_stream(self) -> None:
        """Raises if the subclass's features cannot be computed block by block."""
        raise cannot_stream(self, f"only LogMel, MFCC and RawSignal features can. Received: {type(self).__name__}")

    def _block(self, signal: tf.Tensor) -> tf.Tensor:
        """Features, not normalized, of the carried samples and those of a block."""
        raise NotImplementedError

    def compute_output_spec(self, signal: Any, length: Any = None, training: bool = False) -> keras.KerasTensor:
        """Shape and dtype of the features."""
        return keras.KerasTensor(self.compute_output_shape(signal.shape), dtype="float32")

    def compute_output_shape(self, signal_shape: tuple, length_shape: tuple | None = None) -> tuple:
        """`(..., samples)` to `(..., frames, features)`."""
        samples = signal_shape[-1]
        return (*signal_shape[:-1], None if samples is None else self.frame_count(samples), self.num_features)

    @property
    def needs_statistics(self) -> bool:
        """Whether `adapt` must still be called."""
        return self.normalize == "global" and not np.isfinite(self.std).all()

    def adapt(self, data: Iterable) -> None:
        """Measures the mean and standard deviation that `normalize="global"` uses.

        Args:
            data: A `tf.data.Dataset` or any iterable of signals `(samples,)`, of padded batches `{"signal", "length"}`,
                or of tuples that begin with one of these.
        """
        require(self.normalize == "global", '`adapt` needs normalize="global".', f"normalize={self.normalize!r}")
        count, total, squares = 0, 0.0, 0.0
        for item in data:
            for signal in _signals(item):
                rows = np.reshape(np.asarray(self._statistics_of(signal), "float64"), [-1, self._num_statistics])
                count += len(rows)
                total = total + rows.sum(axis=0)
                squares = squares + np.square(rows).sum(axis=0)
        require(count > 0, "`adapt` needs at least one whole frame.", "none")
        mean = total / count
        self.mean.assign(mean)
        self.std.assign(np.sqrt(np.maximum(squares / count - np.square(mean), 0.0)))

    def _statistics_of(self, signal: np.ndarray) -> tf.Tensor:
        """The values whose mean and standard deviation are measured, `(..., statistics)`."""
        return self._compute(self._as_float(signal), None, False)


class FeatureStep(keras.Operation):
    """The features of one block, as a Keras operation.

    Args:
        layer: The feature layer.

    Call arguments:
        samples, frames: See `FeatureLayer.step`.
        carried: The state, if there is one.

    Returns:
        float32 `(batch, frames, features)`, and the next state, if there is one.
    """

    def __init__(self, layer: FeatureLayer) -> None:
        super().__init__()
        self.layer = layer

    def call(self, samples: Any, frames: Any, *carried: Any) -> tuple[Any, ...]:
        """See the class."""
        layer, signal = self.layer, tf.concat([*carried, samples], axis=1)
        values = layer._block(signal)
        if layer.normalize == "global":
            values = spectral.normalize(values, layer.mean, layer.std, min_std=layer.min_std)
        values = tf.reshape(values, (tf.shape(values)[0], tf.shape(values)[1], layer.num_features))
        return spectral.mask_frames(values, frames), *(signal[:, -each.shape[1] :] for each in carried)

    def compute_output_spec(self, samples: Any, frames: Any, *carried: Any) -> tuple[keras.KerasTensor, ...]:
        """Shapes and dtypes."""
        batch, size = samples.shape[:2]
        shape = (batch, None if size is None else size // self.layer.hop, self.layer.num_features)
        return keras.KerasTensor(shape, "float32"), *(keras.KerasTensor(each.shape, "float32") for each in carried)


def _signals(item: Any) -> Iterable[np.ndarray]:
    """The signals in one element of a dataset, without their padding."""
    if isinstance(item, tuple | list):
        item = item[0]
    if not isinstance(item, dict):
        return [np.asarray(item)]
    signal = np.asarray(item["signal"])
    return [row[:length] for row, length in zip(signal, np.asarray(item["length"]), strict=True)]
