"""Base class of the feature layers for sensors: several channels, and filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import spectral
from speechrnn.features.base import FeatureLayer, require
from speechrnn.features.filter_layers import SignalFilter


class ChannelLayer(FeatureLayer):
    """Features of a signal of one or more channels, filtered first if there are filters.

    The constructor of a subclass ends with `_finish`, and its `call` begins with `_samples`.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        window: int | None,
        hop: int | None,
        channels: int | None,
        normalize: str | None,
        filters: Sequence[SignalFilter],
        **kwargs: Any,
    ):
        super().__init__(sample_rate, window=window, hop=hop, normalize=normalize, **kwargs)
        self.channels = channels
        self.filters = tuple(filters)
        require(channels is None or channels > 0, "`channels` must be positive or None.", f"channels={channels}")
        wrong = [f for f in self.filters if not isinstance(f, SignalFilter)]
        require(not wrong, "`filters` must be layers of speechrnn.features.filter_layers.", repr(wrong[:1]))
        wrong = [f for f in self.filters if getattr(f, "sample_rate", sample_rate) != sample_rate]
        require(not wrong, f"`filters` must be made for {sample_rate} Hz.", repr(wrong[:1]))

    def compute_output_shape(self, signal_shape: tuple, length_shape: tuple | None = None) -> tuple:
        """`(..., samples[, channels])` to `(..., frames, features)`."""
        return super().compute_output_shape(signal_shape if self.channels is None else signal_shape[:-1])

    def _samples(self, signal: Any, length: Any = None) -> tf.Tensor:
        """float32 `(..., samples, channels)`, filtered, with zeros in the padding."""
        samples = self._as_float(signal)
        if self.channels is None:
            samples = samples[..., tf.newaxis]
        if length is not None:
            samples = spectral.mask_frames(samples, length)
        return self._filtered(samples, length)

    def _filtered(self, samples: tf.Tensor, length: Any) -> tf.Tensor:
        if len(samples.shape) == 2:  # one signal, not a batch
            return self._filtered(samples[tf.newaxis], None if length is None else tf.reshape(length, [1]))[0]
        for layer in self.filters:
            samples = layer(samples, length)
        return samples

    def _without_padding(self, features: tf.Tensor, signal: Any, length: Any) -> tf.Tensor:
        """The features with their static shape, and zeros after each row's valid frames."""
        features = tf.ensure_shape(features, self.compute_output_shape(signal.shape))
        if length is None:
            return features
        return spectral.mask_frames(features, self.frame_count(tf.cast(length, tf.int32)))

    def _statistics_of(self, signal: np.ndarray) -> tf.Tensor:
        return self._samples(signal)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The layer of a `get_config`."""
        filters = [keras.saving.deserialize_keras_object(layer) for layer in config.get("filters", ())]
        return cls(**{**config, "filters": filters})
