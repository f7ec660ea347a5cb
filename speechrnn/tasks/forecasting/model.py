"""Forecaster: a forecaster of features, network and quantiles in one `.keras` file."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import RawSignal
from speechrnn.losses import QuantileLoss, check_quantiles
from speechrnn.models import bundle
from speechrnn.signals.calendar import checked_cycles
from speechrnn.tasks.forecasting.methods import ForecasterMethods


@keras.saving.register_keras_serializable(package="speechrnn")
class Forecaster(ForecasterMethods, bundle.SignalBundle):
    """A forecaster: predicts quantiles of future values from past values, in the units of the series.

    Save it with `model.save("name.keras")`, and read it with `speechrnn.load` or `keras.saving.load_model`. It can be
    compiled and fitted like any Keras model on batches of `speechrnn.pipeline.windows`; the loss is the pinball loss in
    standard deviations of each channel, so that the units of channels do not matter.

    Args:
        features: A `RawSignal` of single samples, `RawSignal(rate, window=1, hop=1, channels=n)`, with
            `normalize="global"` (after `adapt`) or None, and without filters; `n` counts all columns.
        network: Model from `[features (batch, frames, channels), frames (batch,)]` to forecasts
            `(batch, horizon, channels, quantiles)`, as `speechrnn.networks.recurrent_forecaster` makes it.
        context: Samples that a forecast is made from.
        quantiles: What the network's outputs are, rising, in (0, 1).
        known: Names of columns behind the channels whose values are known ahead; what they are called in files.
        calendar: Cycles, "day", "week" and "year", whose sine and cosine are the last columns.
        card: Anything to know about the model (training data, license, scores), as JSON can hold it.

    Call arguments:
        inputs: `{"signal": float32 (batch, samples, columns), "length": int32 (batch,)}`, or features computed by the
            same layer beforehand: `{"features": float32 (batch, frames, columns), "frames": int32 (batch,)}`. With
            known columns or a calendar the last `horizon` samples are those to forecast; the channels are not read
            there.

    Returns:
        float32 `(batch, horizon, channels, quantiles)`, in the unit of each channel. Outside of training the quantiles
        rise: crossing ones are sorted, which brings each nearer to the true one.

    Raises:
        ValueError: Features, network and quantiles do not fit each other.

    Reference:
        Chernozhukov, Fernandez-Val and Galichon, "Quantile and probability curves without crossing", Econometrica 78,
        2010.
    """

    kind = "forecaster"

    def __init__(
        self,
        features: RawSignal,
        network: keras.Model,
        context: int,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        *,
        known: Sequence[str] = (),
        calendar: Sequence[str] = (),
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        shares = check_quantiles(quantiles)
        super().__init__(features, network, card, outputs=len(shares), outputs_are="one for each quantile", **kwargs)
        _check_features(features)
        self.known, self.calendar = tuple(known), checked_cycles(calendar)
        known_columns = len(self.known) + 2 * len(self.calendar)
        outputs, channels = network.output_shape, features.channels - known_columns
        if len(outputs) != 4 or outputs[1] is None or outputs[2] != channels:
            raise ValueError(
                f"The network must forecast (batch, horizon, {channels}, quantiles), as recurrent_forecaster does: of "
                f"{features.channels} columns of features {known_columns} are known ahead. Received: outputs {outputs}."
            )
        if context < 1:
            raise ValueError(f"`context` must be at least 1. Received: context={context}.")
        self.context, self.quantiles = context, shares
        self._default_loss = QuantileLoss(shares)

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Number of columns that are forecast."""
        return self.network.output_shape[2]

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Number of samples that are forecast."""
        return self.network.output_shape[1]

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation that each channel is divided by, float32 `(channels,)`; ones without normalization."""
        return np.asarray(self._spread)

    def serving_outputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The forecast."""
        return {"forecast": self(inputs, training=False)}

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        normalized = super().call(inputs, training=training)
        if not training:  # each quantile learns best alone
            normalized = tf.sort(normalized, axis=-1)
        if self.features.normalize is None:
            return normalized
        return normalized * self._spread[:, None] + tf.convert_to_tensor(self.features.mean)[: self.channels, None]

    def _loss(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        return loss(tf.cast(y, tf.float32) / self._spread, y_pred / self._spread[:, None], sample_weight)

    def _forecasts(self, read: Sequence[np.ndarray]) -> np.ndarray:
        return self._outputs(read)[0]

    @property
    def _spread(self) -> tf.Tensor:
        """`scale` in a graph, which is traced before weights are read."""
        if self.features.normalize is None:
            return tf.ones(self.channels)
        return tf.maximum(tf.convert_to_tensor(self.features.std)[: self.channels], self.features.min_std)


def _check_features(features: Any) -> None:
    fits = (
        isinstance(features, RawSignal)
        and features.window == features.hop == 1
        and features.channels is not None
        and features.normalize in ("global", None)
        and not features.filters
    )
    if not fits:
        raise ValueError(
            "Forecasts are made of single samples, with statistics that can be undone: the features must be "
            'RawSignal(rate, window=1, hop=1, channels=n, normalize="global"), without filters. '
            f"Received: {type(features).__name__} with {getattr(features, 'get_config', dict)()}."
        )
