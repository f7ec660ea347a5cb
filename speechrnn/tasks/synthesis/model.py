"""SpeechSynthesizer: a network, its phones and the spectra that it writes in one `.keras` file."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features import LogMel
from speechrnn.models import bundle
from speechrnn.tasks.synthesis.methods import SynthesizerMethods
from speechrnn.tasks.synthesis.network import VARIANCES
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.text import Phones


@keras.saving.register_keras_serializable(package="speechrnn")
class SpeechSynthesizer(SynthesizerMethods, bundle.TwoPartBundle):
    """A voice: phones go in, the spectrum of speech comes out; texts are spoken by `speak`.

    Written by plain `model.save("voice.keras")`, read by `speechrnn.load`; `speechrnn.train` trains it on recordings of
    one speaker that `speechrnn.tasks.synthesis.aligned` has aligned.

    Args:
        network: As `voice_network` makes it.
        vocabulary: The phones, silence (`sil`) among them; the network's embedding has one row more.
        features: The `LogMel` layer, with `normalize=None`, whose values the network writes.
        levels: Mean and standard deviation of `"pitch"`, in natural logarithms of hertz, and of `"energy"`, which the
            network knows in units of these.
        card: Anything to know about the model, as JSON can hold it.

    Call arguments:
        inputs: `{"phones": int32 (batch, phones), "count": int32 (batch,), "variances": float32 (batch, phones, 3),
            "shares": float32 (batch, steps, phones), "places": float32 (batch, steps, 1), "steps": int32 (batch,)}`;
            see `voice_network` and `speechrnn.tasks.synthesis.sound.spread`.

    Returns:
        `{"variances": float32 (batch, phones, 3), "first": float32 (batch, frames, features), "spectrum": the same}`:
        what is foretold of the phones, and the frames before and after they were corrected; zeros in the padding.

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
        """What the spectra are of."""
        return Sound.of(self.features)

    @property
    def sample_rate(self) -> int:
        """Samples per second of what it says."""
        return self.features.sample_rate

    @property
    def frames_per_step(self) -> int:  # type: ignore[override]
        """Frames that the decoder writes at once."""
        return self.decoder.get_layer("frames").units // self.features.num_features

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """See the class."""
        read, foretold = self.encoder([inputs["phones"], inputs["count"]], training=training)
        given = [read, *(inputs[name] for name in ("variances", "count", "shares", "places", "steps"))]
        first, spectrum = self.decoder(given, training=training)
        return {"variances": foretold, "first": first, "spectrum": spectrum}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The sum of `losses`."""
        return tf.add_n(list(self.losses_of(x, y, y_pred).values()))

    def losses_of(self, x: Any, y: Any, y_pred: Any) -> dict[str, Any]:
        """What is minimized, over the valid frames and phones of the batch.

        `spectrum` is the mean absolute and half squared distance in nats of both spectra; `duration`, `pitch` and
        `energy` are squared distances of what is foretold.

        Args:
            x: See the class; `frames` int32 `(batch,)` are the valid ones.
            y: The spectrum of the recording, float32 `(batch, frames, features)`.
            y_pred: What `call` returned.
        """
        count = tf.shape(y)[1]
        shown = tf.sequence_mask(x["frames"], count, tf.float32)[:, :, None]
        values = tf.reduce_sum(shown) * y.shape[-1]

        def distance(found: Any) -> Any:
            apart = (found[:, :count] - y) * shown
            return tf.reduce_sum(tf.abs(apart) + 0.5 * tf.square(apart)) / values

        phones = tf.sequence_mask(x["count"], tf.shape(x["phones"])[1], tf.float32)[:, :, None]
        squared = tf.reduce_sum(tf.square((y_pred["variances"] - x["variances"]) * phones), [0, 1])
        duration, pitch, energy = tf.unstack(squared / tf.reduce_sum(phones), num=VARIANCES)
        spectra = 0.5 * (distance(y_pred["first"]) + distance(y_pred["spectrum"]))
        return {"spectrum": spectra, "duration": duration, "pitch": 0.1 * pitch, "energy": 0.1 * energy}

    def foretold(self, phones: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """See `SynthesizerMethods`."""
        forward = self._compiled(
            lambda ids, count: self.encoder([ids, count], training=False),
            [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)],
            name="encoder",
        )
        read, variances = forward(tf.constant([phones], tf.int32), tf.constant([len(phones)], tf.int32))
        return read.numpy()[0], variances.numpy()[0]

    def frames(self, read: np.ndarray, variances: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """See `SynthesizerMethods`."""
        spec = [tf.TensorSpec(each.shape, each.dtype) for each in self.decoder.inputs]
        forward = self._compiled(lambda *given: self.decoder(list(given), training=False)[1], spec, name="decoder")
        given = self._decoder_inputs(read, variances, counts)
        return forward(*map(tf.constant, given.values())).numpy()[0, : int(np.sum(counts))]
