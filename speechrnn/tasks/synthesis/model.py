"""SpeechSynthesizer: a voice of a network, its phones and the parameters of its spectra in one `.keras` file."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import LogMel
from speechrnn.losses.reduction import weights_like
from speechrnn.models import bundle
from speechrnn.tasks.synthesis.methods import SynthesizerMethods
from speechrnn.tasks.synthesis.network import VARIANCES
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.text import Phones


@keras.saving.register_keras_serializable(package="speechrnn")
class SpeechSynthesizer(SynthesizerMethods, bundle.TwoPartBundle):
    """A voice: predicts log-mel spectra from phones; `speak` reads texts aloud.

    Save it with `model.save("voice.keras")`, and read it with `speechrnn.load`; `speechrnn.train` trains it on
    recordings of one speaker that were aligned by `speechrnn.tasks.synthesis.aligned`.

    Args:
        network: A network as `voice_network` builds it.
        vocabulary: The phones, including silence (`sil`); the network's embedding has one more row.
        features: The `LogMel` layer, with `normalize=None`, whose values the network predicts.
        levels: Mean and standard deviation of `"pitch"`, in natural logarithms of hertz, and of `"energy"`, by which
            the network's values are normalized.
        card: Information about the model, as JSON values.

    Call arguments:
        inputs: `{"phones": int32 (batch, phones), "count": int32 (batch,), "variances": float32 (batch, phones, 3),
            "shares": float32 (batch, steps, phones), "places": float32 (batch, steps, 1), "steps": int32 (batch,)}`;
            see `voice_network` and `speechrnn.tasks.synthesis.sound.spread`.

    Returns:
        `{"variances": float32 (batch, phones, 3), "first": float32 (batch, frames, features), "spectrum": the same}`:
        the predicted variances of the phones, and the frames before and after the convolutions; zeros in the padding.

    Raises:
        ValueError: The parts do not fit each other.
    """

    kind = "synthesizer"
    made_by = "voice_network"

    def __init__(
        self,
        network: keras.Model,
        vocabulary: Phones,
        features: LogMel,
        levels: dict[str, tuple[float, float]],
        *,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            network,
            card,
            symbols=len(vocabulary),
            outputs=features.num_features,
            outputs_are="one for each mel band",
            **kwargs,
        )
        if features.normalize is not None or features.deltas:
            raise ValueError(
                "A voice writes plain log-mel energies: normalize=None and deltas=0. "
                f"Received: normalize={features.normalize!r}, deltas={features.deltas}."
            )
        self.vocabulary, self.features = vocabulary, features
        self.levels = {name: (float(mean), float(spread)) for name, (mean, spread) in levels.items()}
        if not features.built:
            features.build((None, None))

    @property
    def sound(self) -> Sound:
        """The parameters of the spectra."""
        return Sound.of(self.features)

    @property
    def sample_rate(self) -> int:
        """Samples per second of its speech."""
        return self.features.sample_rate

    @property
    def frames_per_step(self) -> int:  # type: ignore[override]
        """Frames per step of the decoder."""
        return self.decoder.get_layer("frames").units // self.features.num_features

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        encoded, predicted = self.encoder([inputs["phones"], inputs["count"]], training=training)
        decoder_inputs = [encoded, *(inputs[name] for name in ("variances", "count", "shares", "places", "steps"))]
        first, spectrum = self.decoder(decoder_inputs, training=training)
        return {"variances": predicted, "first": first, "spectrum": spectrum}

    def _loss(self, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        """The sum of `losses_of`."""
        return tf.add_n(list(self.losses_of(x, y, y_pred, sample_weight).values()))

    def losses_of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The terms of the loss, over the valid frames and phones of the batch.

        `spectrum` is the mean absolute plus half the mean squared error of both spectra, in nats; `duration`, `pitch`
        and `energy` are squared errors of the predicted variances.

        Args:
            x: See the class; `frames` int32 `(batch,)` is the number of valid frames.
            y: The spectrum of the recording, float32 `(batch, frames, features)`.
            y_pred: What `call` returned.
            sample_weight: Weights of the rows, float `(batch,)`, or None.
        """
        count, weight = tf.shape(y)[1], weights_like(tf.cast(x["count"], tf.float32), sample_weight)[:, None, None]
        valid = tf.sequence_mask(x["frames"], count, tf.float32)[:, :, None] * weight
        values = tf.reduce_sum(valid) * y.shape[-1]

        def distance(predicted: Any) -> Any:
            error = predicted[:, :count] - y
            return tf.math.divide_no_nan(tf.reduce_sum((tf.abs(error) + 0.5 * tf.square(error)) * valid), values)

        phones = tf.sequence_mask(x["count"], tf.shape(x["phones"])[1], tf.float32)[:, :, None] * weight
        squared = tf.reduce_sum(tf.square(y_pred["variances"] - x["variances"]) * phones, [0, 1])
        duration, pitch, energy = tf.unstack(tf.math.divide_no_nan(squared, tf.reduce_sum(phones)), num=VARIANCES)
        spectra = 0.5 * (distance(y_pred["first"]) + distance(y_pred["spectrum"]))
        return {"spectrum": spectra, "duration": duration, "pitch": 0.1 * pitch, "energy": 0.1 * energy}

    def predict_variances(self, phones: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `SynthesizerMethods`."""
        forward = self._compiled(
            lambda ids, count: self.encoder([ids, count], training=False),
            [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)],
            name="encoder",
        )
        encoded, variances = forward(tf.constant([phones], tf.int32), tf.constant([len(phones)], tf.int32))
        return encoded.numpy()[0], variances.numpy()[0]

    def frames(self, encoded: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """See `SynthesizerMethods`."""
        spec = [tf.TensorSpec(each.shape, each.dtype) for each in self.decoder.inputs]
        forward = self._compiled(lambda *inputs: self.decoder(list(inputs), training=False)[1], spec, name="decoder")
        given = self._decoder_inputs(encoded, variances, counts)
        return forward(*map(tf.constant, given.values())).numpy()[0, : int(np.sum(counts))]
