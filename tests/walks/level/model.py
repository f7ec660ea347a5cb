"""What needs TensorFlow: the bundle, how it is trained, and its graph."""

import keras
import numpy as np
import tensorflow as tf

from speechrnn.data.examples import read_whole
from speechrnn.export.exporter import SignalExporter
from speechrnn.features import RawSignal
from speechrnn.layers import LengthMask, MaskedPooling
from speechrnn.models.bundle import SignalBundle
from speechrnn.training.options import TrainingOptions
from speechrnn.training.task import Task

from .session import Measures


@keras.saving.register_keras_serializable(package="speechrnn")
class LevelMeter(Measures, SignalBundle):
    kind = "level meter"

    def __init__(self, features, network, *, card=None, **kwargs):
        super().__init__(features, network, card, outputs=1, outputs_are="the level", **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tf.reduce_mean(tf.square(y - y_pred[:, 0]))

    def levels(self, signals):
        return self._outputs(signals)[0][:, 0]


class Leveling(Task):
    options_class = TrainingOptions
    monitors = {"loss": 1}  # noqa: RUF012

    def batches(self, split):
        signals = np.stack([read_whole(example, self.model.sample_rate) for example in split.examples])
        levels = np.array([example.extra["level"] for example in split.examples], "float32")
        lengths = np.full(len(signals), signals.shape[1], "int32")
        return tf.data.Dataset.from_tensors(({"signal": signals, "length": lengths}, levels))


class LevelExporter(SignalExporter):
    def write_outputs(self, graph, outputs, frames):
        graph.output(graph.add("Squeeze", outputs, np.array([1])), "level", "float32", ("batch",))

    def kind_metadata(self):
        return {}


def for_manifest(examples):
    features = RawSignal(8000, window=80, hop=80, normalize=None)
    values, frames = keras.Input((None, features.num_features)), keras.Input((), dtype="int32")
    pooled = MaskedPooling("mean")(values, mask=LengthMask()(frames, values))
    return LevelMeter(features, keras.Model([values, frames], keras.layers.Dense(1)(pooled)))
