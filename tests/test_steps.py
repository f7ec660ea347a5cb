"""Steps: block by block every layer gives what it gives of the whole, or says why it cannot."""

import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from contracts import steps_equal_whole

from speechrnn import features, layers
from speechrnn.export.onnx import writes
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.steps import signal_steps, write_steps
from speechrnn.layers.graph import walk
from speechrnn.layers.steps import Steps, step_network
from speechrnn.tasks.classification.network import recurrent_classifier
from speechrnn.tasks.recognition.network import recurrent_ctc

K = keras.layers
WIDTH = 6


def network_of(*chain, masked=False, weights=True):
    """The layers one behind the other, between zeroed padding on either side."""
    keras.utils.set_random_seed(0)
    values, frames = keras.Input((None, WIDTH), name="values"), keras.Input((), dtype="int32", name="frames")
    mask = layers.LengthMask()(frames, values)
    x = layers.ZeroPadding()(values, mask)
    for layer in chain:
        x = layer(x, mask=mask) if masked else layer(x)
    network = keras.Model([values, frames], x)
    rng = np.random.default_rng(1)
    network.set_weights([value + rng.uniform(0.05, 0.3, value.shape) for value in network.get_weights()])
    return network


def image(*chain):
    return (K.Reshape((-1, WIDTH, 1)), *chain, K.Reshape((-1, 12)))


def residual(values, frames):
    """A look-ahead beside a way around it, and one more behind both; the mask waits as well."""
    mask = layers.LengthMask()(frames, values)
    x = layers.ZeroPadding()(values, mask)
    y = x + K.Dense(WIDTH, use_bias=False)(layers.LookAhead(2)(x))
    return K.Dense(3)(layers.LookAhead(1)(layers.ZeroPadding()(y, mask)))


def twice(values, frames):
    """One layer at two places, each with its own states."""
    layer, mask = layers.GRU(WIDTH, return_sequences=True), layers.LengthMask()(frames, values)
    return layer(layer(values, mask=mask), mask=mask)


def functional(build):
    values, frames = keras.Input((None, WIDTH), name="values"), keras.Input((), dtype="int32", name="frames")
    return keras.Model([values, frames], build(values, frames))


SEQUENCES = {"return_sequences": True}
CAN = {
    "LSTM": lambda: network_of(layers.LSTM(4, **SEQUENCES), masked=True),
    "LSTM, zeros where masked": lambda: network_of(
        layers.LSTM(4, **SEQUENCES, zero_output_for_mask=True), masked=True
    ),
    "GRU": lambda: network_of(layers.GRU(4, **SEQUENCES, reset_after=False), masked=True),
    "SimpleRNN, last output": lambda: network_of(layers.SimpleRNN(4), masked=True),
    "LookAhead": lambda: network_of(layers.LookAhead(3)),
    "StackFrames": lambda: network_of(layers.StackFrames(2)),
    "MaskedPooling, mean": lambda: network_of(layers.MaskedPooling("mean"), masked=True),
    "MaskedPooling, max": lambda: network_of(layers.MaskedPooling("max"), masked=True),
    "MaskedPooling, last": lambda: network_of(layers.MaskedPooling("last"), masked=True),
    "AttentionPooling": lambda: network_of(layers.AttentionPooling(2), masked=True),
    "Keras's LSTM": lambda: network_of(K.LSTM(4, **SEQUENCES)),
    "Keras's GRU": lambda: network_of(K.GRU(4, **SEQUENCES), masked=True),
    "Keras's SimpleRNN": lambda: network_of(K.SimpleRNN(4, **SEQUENCES)),
    "dense and normalized": lambda: network_of(K.Dense(5), K.BatchNormalization(), K.LayerNormalization(), K.ReLU()),
    "causal convolution": lambda: network_of(K.Conv1D(4, 3, dilation_rate=2, padding="causal", activation="tanh")),
    "causal convolution with a stride": lambda: network_of(K.Conv1D(4, 5, strides=2, padding="causal")),
    "padded convolution": lambda: network_of(K.ZeroPadding1D((2, 0)), K.Conv1D(4, 3)),
    "padded convolution with a stride": lambda: network_of(K.ZeroPadding1D((2, 2)), K.Conv1D(4, 5, strides=4)),
    "spectral convolution": lambda: network_of(*image(K.ZeroPadding2D(1), K.Conv2D(4, 3, strides=2))),
    "maximum of two": lambda: network_of(K.MaxPooling1D(2)),
    "mean of two": lambda: network_of(K.AveragePooling1D(2)),
    "sequential": lambda: network_of(keras.Sequential([K.Input((None, WIDTH)), K.Dense(4), K.GRU(3, **SEQUENCES)])),
    "look-aheads and a way around": lambda: functional(residual),
    "one layer twice": lambda: functional(twice),
    "classifier": lambda: recurrent_classifier(
        num_features=WIDTH, num_classes=3, units=4, layers=1, bidirectional=False, pooling="attention"
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", CAN.values(), ids=CAN)
def test_steps_equal_whole(make, rng):
    steps_equal_whole(make(), rng)


def test_every_layer_of_ours_is_here_or_says_why_not():
    ours = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)} - {
        "ChronoBias",
        "ExecutionPath",
    }
    shown = {name.split(",")[0] for name in CAN} | {"LengthMask", "ZeroPadding"}  # which stand in each of them
    assert ours - shown == {name for name in ours if hasattr(getattr(layers, name), "not_streamable")}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: network_of(K.Bidirectional(layers.GRU(3, **SEQUENCES), name="b")), "`b`.*--no-bidirectional"),
        (lambda: network_of(layers.GRU(3, **SEQUENCES, go_backwards=True, name="g")), "GRU `g`.*backwards"),
        (lambda: network_of(K.Conv1D(4, 3, padding="same", name="c")), "Conv1D `c`.*pad by hand"),
        (lambda: network_of(K.Conv1D(4, 3, name="c")), "Conv1D `c`.*2 to 2 frames of zeros.*Received: 0"),
        (lambda: network_of(K.ZeroPadding1D(1), K.Dense(3, name="d")), "Dense `d`.*Received: 1"),
        (lambda: network_of(layers.LookAhead(1), layers.GRU(3, name="g")), "GRU `g`.*follows a look-ahead"),
        (lambda: network_of(K.Softmax(axis=1, name="n")), "`n`.*that of the frames"),
        (lambda: network_of(K.GlobalAveragePooling1D(name="p")), "`p`.*a method `step`"),
        (lambda: functional(lambda v, n: (v + n[:, None, None])[:, 1:]), "GetItem .*selects frames"),
    ],
)  # fmt: skip
def test_what_cannot_stream_says_why(make, said):
    with pytest.raises(ValueError, match=said):
        step_network(make())


FEATURES = {
    "log-mel": lambda: features.LogMel(4000, num_mels=12, f_min=60, normalize=None),
    "log-mel with a high-pass filter": lambda: features.LogMel(
        4000, num_mels=12, f_min=60, preemphasis=0.9, normalize="global"
    ),
    "mfcc": lambda: features.MFCC(4000, num_coefficients=5, num_mels=12, f_min=60, normalize="global"),
    "samples": lambda: features.RawSignal(4000, window=40, hop=20, normalize="global"),
    "samples one by one": lambda: features.RawSignal(4000, window=1, hop=1),
}


@pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)
def test_steps_of_features_equal_whole(make, rng):
    layer, signal = make(), rng.normal(size=(2, 2000)).astype("float32")
    if layer.normalize == "global":
        layer.adapt(list(signal))
    length, hop, blocks = np.array([2000, 1500], "int32"), layer.hop, 3 if layer.hop > 1 else 400
    whole = layer(signal, length).numpy()
    steps = Steps(batch=2)
    inputs = [keras.Input(batch_shape=(2, blocks * hop), name="samples"), keras.Input(batch_shape=(2,), dtype="int32")]
    made = steps.build(inputs, [steps.layer(layer, *inputs)], name="features")
    shared = layer.window - layer.hop
    states = [np.zeros(shape, "float32") for shape in made.states.values()]
    for state in states:
        state[:, state.shape[1] - shared :] = signal[:, :shared]
    found, rest = [], signal[:, shared:]
    for first in range(0, rest.shape[1] - blocks * hop + 1, blocks * hop):
        count = np.clip(layer.frame_count(length) - first // hop, 0, blocks).astype("int32")
        now = [rest[:, first : first + blocks * hop], count, *states]
        output, *states = keras.tree.flatten(made.model([tf.constant(each) for each in now]))
        found.append(output)
    joined = np.concatenate(found, axis=1)
    np.testing.assert_allclose(joined, whole[:, : joined.shape[1]], rtol=0, atol=2e-5)


# A layer of one's own


@keras.saving.register_keras_serializable(package="mine")
class Sums(keras.Layer):
    """Sums of all frames so far."""

    def call(self, values):
        return keras.ops.cumsum(values, axis=1)

    def initial_state(self, batch, shape):
        return {"sum": (batch, 1, shape[-1])}

    def step(self, states, values):
        summed = states["sum"] + Sums()(values)
        return summed, {"sum": summed[:, -1:]}


@writes(Sums)
def _sums(graph, layer, values):
    return graph.add("CumSum", values.name, np.int64(1))


def test_a_layer_of_ones_own_streams_and_is_written(rng):
    network = network_of(Sums(name="sums"), K.Dense(2))
    steps_equal_whole(network, rng)
    graph, steps = Graph("mine"), step_network(network, batch=1)
    write_steps(graph, steps, {"values": (1, "frames", WIDTH)}, {"sums": (1, "frames", 2)})
    session = onnxruntime.InferenceSession(graph.model({}).SerializeToString(), providers=["CPUExecutionProvider"])
    values, state, found = rng.normal(size=(1, 12, WIDTH)).astype("float32"), np.zeros((1, 1, WIDTH), "float32"), []
    for block in np.split(values, 4, axis=1):
        given = {"values": block, "frames": np.array([3], "int32"), "sums_sum": state}
        output, state = session.run(None, given)
        found.append(output)
    whole = network([values, np.array([12], "int32")]).numpy()
    np.testing.assert_allclose(np.concatenate(found, axis=1), whole, rtol=0, atol=1e-5)


def test_samples_of_one_channel_and_recognizers_make_one_network_of_steps():
    layer = features.LogMel(4000, num_mels=12, f_min=60, normalize=None)
    network = recurrent_ctc(num_features=12, vocabulary_size=5, units=3, layers=1, bidirectional=False, look_ahead=2)
    steps = signal_steps(layer, network, samples=40)
    assert (next(iter(steps.states)), steps.delay) == ("carry", 2)
    assert steps.model.output_shape[0] == (1, 1, 5)


def every_layer(values, frames):
    """All of ours that stream, in one network."""
    mask = layers.LengthMask()(frames, values)
    x = layers.ZeroPadding()(values, mask)
    for make in (layers.LSTM, layers.GRU, layers.SimpleRNN):
        x = make(4, **SEQUENCES)(x, mask=mask)
    pooled = [layers.MaskedPooling("mean")(x, mask), layers.AttentionPooling(2)(x, mask)]
    return K.Concatenate()(pooled), layers.LookAhead(2)(layers.StackFrames(2)(layers.ZeroPadding()(x, mask)))


def test_every_layer_loads_and_steps_in_a_fresh_process(tmp_path):
    network = functional(every_layer)
    values, frames = np.linspace(-1, 1, 8 * WIDTH, dtype="float32").reshape(1, 8, WIDTH), np.array([8], "int32")
    network.save(tmp_path / "all.keras")
    np.savez(tmp_path / "known.npz", values, frames, *network([values, frames], training=False))
    script = (
        "import sys, keras, numpy as np, tensorflow as tf, speechrnn.layers\n"
        "from speechrnn.layers.steps import step_network\n"
        "network = keras.saving.load_model(f'{sys.argv[1]}/all.keras', safe_mode=True)\n"
        "values, frames, pooled, looked = np.load(f'{sys.argv[1]}/known.npz').values()\n"
        "steps = step_network(network, batch=1)\n"
        "states = [np.zeros(shape, 'float32') for shape in steps.states.values()]\n"
        "found, given = [], np.concatenate([values, 0 * values[:, :4]], axis=1)\n"
        "for start in (0, 4, 8):\n"
        "    now = [given[:, start:start + 4], np.clip(frames - start, 0, 4), *states]\n"
        "    first, second, *states = steps.model([tf.constant(each) for each in now])\n"
        "    found.append(second)\n"
        "np.testing.assert_allclose(first, pooled, rtol=0, atol=1e-5)\n"
        "joined = np.concatenate(found, axis=1)[:, steps.delay:]\n"
        "np.testing.assert_allclose(joined[:, :3], looked[:, :3], rtol=0, atol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_new_operations_are_not_named_like_those_of_a_network_that_was_read():
    keras.utils.clear_session()  # names begin anew, as in the process that made the network
    network = functional(residual)
    names = {operation.name for operation in network.operations}
    keras.utils.clear_session()  # and in the one that reads it
    assert (
        len(step_network(network).model.operations) > len(names) > len({name.rstrip("_0123456789") for name in names})
    )


def test_a_network_that_is_program_text_has_no_graph():
    class Text(keras.Model):
        def call(self, values):
            return values

    with pytest.raises(ValueError, match="Text `t`, whose `call` has no graph"):
        walk(Text(name="t"), [], lambda call: [])
