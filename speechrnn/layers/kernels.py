"""Fixed convolutions of many widths, of which only shares are learned from: what random kernels see of a signal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from speechrnn.layers.config import Configured
from speechrnn.layers.masking import LengthMask, zero_padding

_TAPS, _MOST_DILATIONS = 9, 32
_POSITIONS = np.array(list(itertools.combinations(range(_TAPS), 3)))  # of the three weights of 2; the others are -1
_GOLDEN = (np.sqrt(5) + 1) / 2


@keras.saving.register_keras_serializable(package="speechrnn")
class RandomKernels(Configured, keras.layers.Layer):
    """The share of a signal in which each of many fixed convolutions exceeds a threshold.

    The convolutions are the 84 kernels of nine taps with three weights of 2 and six of -1, each at up to 32 dilations,
    the widest as long as the signal, over a few channels drawn for it. Thresholds are quantiles of what they give for
    training signals, so `adapt` must be called before anything is computed. Nothing here is trained; a linear model of
    these shares learns from few examples.

    Unlike MiniRocket, whose features these are otherwise, every convolution sees zeros beyond the ends.

    Args:
        length: Frames of a usual signal, which the widest dilation spans.
        features: Shares, about: a multiple of 84, and no more than that.
        seed: Of the channels and of the signals that thresholds are taken from.

    Call arguments:
        values: float `(batch, frames, channels)`.
        frames: int32 `(batch,)`, the valid frames of each row; what lies behind them never matters.

    Returns:
        float32 `(batch, num_features)`, in [0, 1]; zeros for a row without frames.

    Reference:
        Dempster, Schmidt and Webb, "MiniRocket: a very fast (almost) deterministic transform for time series
        classification", KDD 2021.
    """

    not_streamable = "shares are those of the whole signal"

    def __init__(self, length: int, *, features: int = 9996, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if length < 1 or features < len(_POSITIONS):
            raise ValueError(
                f"`length` must be at least 1 and `features` at least {len(_POSITIONS)}. Received: {length=}, "
                f"{features=}."
            )
        self.length, self.features, self.seed = length, features, seed
        each = features // len(_POSITIONS)
        widest = np.log2(max(1.0, (length - 1) / (_TAPS - 1)))
        steps = np.floor(2 ** np.linspace(0, widest, min(each, _MOST_DILATIONS))).astype(int)
        dilations, counts = np.unique(steps, return_counts=True)
        counts = counts * (each // counts.sum())
        counts[: each - counts.sum()] += 1
        self._plan = list(zip(dilations.tolist(), counts.tolist(), strict=True))

    @property
    def num_features(self) -> int:
        """How many shares there are."""
        return len(_POSITIONS) * sum(count for _, count in self._plan)

    @property
    def convolutions(self) -> Iterator[tuple[int, np.ndarray, Any]]:
        """Each dilation, its kernels, float32 `(9, channels, 84)`, and its thresholds, a tensor `(84, count)`."""
        place = 0
        for (dilation, count), kernel in zip(self._plan, self._kernels, strict=True):
            size = len(_POSITIONS) * count
            yield dilation, kernel, ops.reshape(self.thresholds[place : place + size], (len(_POSITIONS), count))
            place += size

    def build(self, values_shape: Any, frames_shape: Any = None) -> None:
        """Make the thresholds' weight, and draw the channels of each convolution."""
        channels, rng = values_shape[-1], np.random.default_rng(self.seed)
        base = np.full((len(_POSITIONS), _TAPS), -1.0, "float32")
        np.put_along_axis(base, _POSITIONS, 2.0, axis=1)
        self._kernels = []
        for _ in self._plan:
            taken = np.zeros((len(_POSITIONS), channels), "float32")
            for row in taken:
                size = int(2 ** rng.uniform(0, np.log2(min(channels, _TAPS) + 1)))
                row[rng.choice(channels, size, replace=False)] = 1
            self._kernels.append(np.einsum("kt,kc->tck", base, taken))
        self.thresholds = self.add_weight(
            shape=(self.num_features,), initializer="zeros", trainable=False, name="thresholds"
        )
        self.built = True

    def adapt(self, signals: Any) -> None:
        """Take thresholds from signals, float `(frames, channels)` each: one drawn at random for each convolution."""
        signals = [np.asarray(signal, np.float32) for signal in signals]
        if not signals:
            raise ValueError("`adapt` needs at least one signal. Received none.")
        if not self.built:
            self.build((None, None, signals[0].shape[1]))
        rng, found, place = np.random.default_rng([self.seed, 1]), [], 0
        for (dilation, count), kernel in zip(self._plan, self._kernels, strict=True):
            some = rng.integers(len(signals), size=min(len(signals), 8))
            seen = [np.asarray(self._convolved(signals[i][None], kernel, dilation))[0] for i in some]
            for k in range(len(_POSITIONS)):
                shares = ((place + np.arange(1, count + 1)) * _GOLDEN) % 1
                found.append(np.quantile(seen[k % len(seen)][:, k], shares))
                place += count
        self.thresholds.assign(np.concatenate(found))

    def call(self, values: Any, frames: Any) -> Any:
        """See the class."""
        mask = LengthMask()(frames, values)
        values = zero_padding(ops.cast(values, "float32"), mask)
        there = ops.cast(mask, "float32")[:, :, None]
        number = ops.maximum(ops.cast(frames, "float32"), 1.0)[:, None]
        shares = []
        for dilation, kernel, least in self.convolutions:
            kinds, count = least.shape
            seen = self._convolved(values, kernel, dilation)
            over = [ops.sum(ops.cast(seen > least[:, i], "float32") * there, axis=1) / number for i in range(count)]
            shares.append(ops.reshape(ops.stack(over, axis=2), (-1, kinds * count)))
        return ops.concatenate(shares, axis=1)

    def compute_output_spec(self, values: Any, frames: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor((values.shape[0], self.num_features), "float32")

    def _convolved(self, values: Any, kernel: np.ndarray, dilation: int) -> Any:
        """float32 `(batch, frames, 84)`."""
        around = dilation * (_TAPS // 2)
        padded = ops.pad(values, ((0, 0), (around, around), (0, 0)))
        return ops.conv(padded, kernel, padding="valid", dilation_rate=dilation)
