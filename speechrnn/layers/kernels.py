"""Features of a signal from many fixed convolutions: MiniRocket's share of frames above a threshold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from speechrnn.layers.config import Configured
from speechrnn.layers.masking import LengthMask, zero_padding

_TAPS, _MAX_DILATIONS = 9, 32
_POSITIONS = np.array(list(itertools.combinations(range(_TAPS), 3)))  # of the three weights of 2; the others are -1
_GOLDEN = (np.sqrt(5) + 1) / 2


@keras.saving.register_keras_serializable(package="speechrnn")
class RandomKernels(Configured, keras.layers.Layer):
    """The share of a signal's frames in which each of many fixed convolutions exceeds a threshold.

    The convolutions are the 84 kernels of nine taps with three weights of 2 and six of -1, each at up to 32 dilations,
    the widest as long as the signal, over a few randomly chosen channels. Thresholds are quantiles of the outputs for
    training signals, so `adapt` must be called before the layer is used. The layer has no trained weights; a linear
    model of its outputs learns from few examples.

    The features are MiniRocket's, except that every convolution pads the signal with zeros at both ends.

    Args:
        length: Frames of a typical signal, which the widest dilation spans.
        features: Number of features, rounded down to a multiple of 84.
        seed: Seed for the choice of channels, and of the signals that thresholds are taken from.

    Call arguments:
        values: float `(batch, frames, channels)`.
        frames: int32 `(batch,)`, the valid frames of each row; padding never matters.

    Returns:
        float32 `(batch, num_features)`, in [0, 1]; zeros for a row without frames.

    Reference:
        Dempster, Schmidt and Webb, "MiniRocket: a very fast (almost) deterministic transform for time series
        classification", KDD 2021.
    """

    not_streamable = "its outputs are shares of the whole signal"

    def __init__(self, length: int, *, features: int = 9996, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if length < 1 or features < len(_POSITIONS):
            raise ValueError(
                f"`length` must be at least 1 and `features` at least {len(_POSITIONS)}. Received: {length=}, "
                f"{features=}."
            )
        self.length, self.features, self.seed = length, features, seed
        per_kernel = features // len(_POSITIONS)
        widest = np.log2(max(1.0, (length - 1) / (_TAPS - 1)))
        steps = np.floor(2 ** np.linspace(0, widest, min(per_kernel, _MAX_DILATIONS))).astype(int)
        dilations, counts = np.unique(steps, return_counts=True)
        counts = counts * (per_kernel // counts.sum())
        counts[: per_kernel - counts.sum()] += 1
        self._dilations = list(zip(dilations.tolist(), counts.tolist(), strict=True))

    @property
    def num_features(self) -> int:
        """Number of features, over all kernels and dilations."""
        return len(_POSITIONS) * sum(count for _, count in self._dilations)

    @property
    def convolutions(self) -> Iterator[tuple[int, np.ndarray, Any]]:
        """Each dilation, its kernels, float32 `(9, channels, 84)`, and its thresholds, a tensor `(84, count)`."""
        start = 0
        for (dilation, count), kernel in zip(self._dilations, self._kernels, strict=True):
            size = len(_POSITIONS) * count
            yield dilation, kernel, ops.reshape(self.thresholds[start : start + size], (len(_POSITIONS), count))
            start += size

    def build(self, values_shape: Any, frames_shape: Any = None) -> None:
        """Make the thresholds' weight, and draw the channels of each convolution."""
        channels, rng = values_shape[-1], np.random.default_rng(self.seed)
        base = np.full((len(_POSITIONS), _TAPS), -1.0, "float32")
        np.put_along_axis(base, _POSITIONS, 2.0, axis=1)
        self._kernels = []
        for _ in self._dilations:
            chosen = np.zeros((len(_POSITIONS), channels), "float32")
            for row in chosen:
                size = int(2 ** rng.uniform(0, np.log2(min(channels, _TAPS) + 1)))
                row[rng.choice(channels, size, replace=False)] = 1
            self._kernels.append(np.einsum("kt,kc->tck", base, chosen))
        self.thresholds = self.add_weight(
            shape=(self.num_features,), initializer="zeros", trainable=False, name="thresholds"
        )
        self.built = True

    def adapt(self, signals: Any) -> None:
        """Set the thresholds from signals, float `(frames, channels)` each; every convolution uses one, at random."""
        signals = [np.asarray(signal, np.float32) for signal in signals]
        if not signals:
            raise ValueError("`adapt` needs at least one signal. Received none.")
        if not self.built:
            self.build((None, None, signals[0].shape[1]))
        rng, thresholds, start = np.random.default_rng([self.seed, 1]), [], 0
        for (dilation, count), kernel in zip(self._dilations, self._kernels, strict=True):
            sample = rng.integers(len(signals), size=min(len(signals), 8))
            outputs = [np.asarray(self._convolve(signals[i][None], kernel, dilation))[0] for i in sample]
            for k in range(len(_POSITIONS)):
                shares = ((start + np.arange(1, count + 1)) * _GOLDEN) % 1
                thresholds.append(np.quantile(outputs[k % len(outputs)][:, k], shares))
                start += count
        self.thresholds.assign(np.concatenate(thresholds))

    def call(self, values: Any, frames: Any) -> Any:
        """See the class."""
        mask = LengthMask()(frames, values)
        values = zero_padding(ops.cast(values, "float32"), mask)
        valid = ops.cast(mask, "float32")[:, :, None]
        lengths = ops.maximum(ops.cast(frames, "float32"), 1.0)[:, None]
        shares = []
        for dilation, kernel, thresholds in self.convolutions:
            kinds, count = thresholds.shape
            outputs = self._convolve(values, kernel, dilation)
            above = [ops.sum(ops.cast(outputs > thresholds[:, i], "float32") * valid, axis=1) for i in range(count)]
            shares.append(ops.reshape(ops.stack(above, axis=2), (-1, kinds * count)) / lengths)
        return ops.concatenate(shares, axis=1)

    def compute_output_spec(self, values: Any, frames: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((values.shape[0], self.num_features), "float32")

    def _convolve(self, values: Any, kernel: np.ndarray, dilation: int) -> Any:
        """float32 `(batch, frames, 84)`."""
        around = dilation * (_TAPS // 2)
        padded = ops.pad(values, ((0, 0), (around, around), (0, 0)))
        return ops.conv(padded, kernel, padding="valid", dilation_rate=dilation)
