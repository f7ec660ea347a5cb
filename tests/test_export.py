"""Export: the `.onnx` gives what Keras gives, for every feature layer, network and layer that can be written."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from speechrnn import layers
from speechrnn.export import savedmodel
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.export.writing import export, onnx_bytes
from speechrnn.features import MFCC, BandPass, LogMel, LogSpectrogram, Notch, RawSignal, RobustScale
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.session import RecognizerSession as Session
from speechrnn.text import Vocabulary

RATE, VOCABULARY = 4000, Vocabulary(" abc")
LENGTHS = (3000, 1777, 100, 99, 0)
"""Samples of the rows of a ragged batch: whole frames, exactly one frame, less than one, none."""

FEATURES = {
    "log-mel": LogMel(RATE, num_mels=12, f_min=60),
    "log-mel with everything": LogMel(
        RATE, num_mels=9, window=90, hop=37, fft_length=256, f_min=100, f_max=1500, mel_scale="htk", mel_norm=None,
        floor=1e-6, preemphasis=0.97, dither=0.01, deltas=2, delta_width=5, normalize="utterance",
    ),
    "log-mel of an odd window": LogMel(RATE, num_mels=9, window=91, hop=40, fft_length=128, f_min=100),
    "log-mel as it is": LogMel(RATE, num_mels=12, f_min=60, normalize=None),
    "mfcc": MFCC(RATE, num_coefficients=7, num_mels=12, f_min=60, deltas=1),
    "mfcc, global": MFCC(RATE, num_coefficients=7, num_mels=12, f_min=60, normalize="global"),
    "raw": RawSignal(RATE, window=100, hop=60, normalize="utterance"),
    "samples": RawSignal(RATE, window=1, hop=1),
    "raw, global": RawSignal(RATE, window=64, hop=64, normalize="global"),
    "spectrogram": LogSpectrogram(RATE, window=100, hop=60),
    "spectrogram, filtered": LogSpectrogram(
        RATE, window=91, hop=40, fft_length=120, f_min=100, f_max=1800, normalize="global", filters=[RobustScale()]
    ),
    "raw, filtered": RawSignal(
        RATE, window=100, hop=60, filters=(BandPass(RATE, low=50, high=900), Notch(RATE, 200, width=80), RobustScale())
    ),
}  # fmt: skip
NETWORKS = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "one direction": {"bidirectional": False, "cell": "gru"},
    "stacked": {"stack": 3, "dropout": 0.2},
    "convolutions": {"convolutions": 2, "filters": 4},
    "convolution and stack": {"convolutions": 1, "filters": 4, "stack": 2},
    "plain": {"layer_norm": False, "residual": False},
}


def recognizer(features, **options):
    """A small one whose weights, statistics of batch normalization included, are all at random."""
    keras.utils.set_random_seed(0)
    if features.normalize == "global":
        features.adapt([np.random.default_rng(5).normal(size=4000).astype("float32")])
    sizes = {"num_features": features.num_features, "vocabulary_size": len(VOCABULARY), "units": 5, "layers": 2}
    network = recurrent_ctc(**sizes | options)
    rng = np.random.default_rng(1)
    network.set_weights([value + rng.uniform(0.05, 0.3, value.shape) for value in network.get_weights()])
    return SpeechRecognizer(features, network, VOCABULARY, card={"name": "test"})


def ragged(rng):
    """A batch whose padding is NaN, and its lengths."""
    signal = (0.1 * rng.normal(size=(len(LENGTHS), max(LENGTHS)))).astype("float32")
    for row, length in zip(signal, LENGTHS, strict=True):
        row[length:] = np.nan
    return signal, np.array(LENGTHS, "int32")


def run(content, feed):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feed)


def check_equals_keras(model, rng):
    signal, length = ragged(rng)
    logits, frames = run(onnx_bytes(model), {"signal": signal, "length": length})
    expected = model({"signal": signal, "length": length}, training=False).numpy()
    np.testing.assert_array_equal(frames, model.logit_frames({"length": length}))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    assert np.ptp(expected[0], axis=0).max() > 0.01  # there is something to compare


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_features_in_the_file_equal_keras(features, rng):
    check_equals_keras(recognizer(features, layers=1), rng)


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_networks_in_the_file_equal_keras(options, rng):
    check_equals_keras(recognizer(FEATURES["log-mel"], **options), rng)


def test_a_model_of_half_precision_becomes_float32(rng):
    whole, half = (recognizer(FEATURES["log-mel"], convolutions=1, dtype=t) for t in ("float32", "mixed_bfloat16"))
    half.set_weights(whole.get_weights())
    signal, length = ragged(rng)
    found, expected = (run(onnx_bytes(m), {"signal": signal, "length": length})[0] for m in (half, whole))
    np.testing.assert_array_equal(found, expected)


def test_a_batch_too_short_for_any_frame_gives_none(rng):
    model = recognizer(FEATURES["log-mel with everything"], convolutions=1, stack=2)
    feed = {"signal": np.ones((2, 7), "float32"), "length": np.array([7, 0], "int32")}
    logits, frames = run(onnx_bytes(model), feed)
    assert frames.tolist() == [0, 0]
    assert not logits.any()


# Single layers


def functional(layer, width=6, **options):
    """`layer` between inputs `(batch, frames, width)` with lengths and an output."""
    values, frames = keras.Input((None, width)), keras.Input((), dtype="int32")
    mask = layers.LengthMask()(frames, values)
    kept = layers.ZeroPadding()(values, mask)
    given = {"mask": mask} if options.pop("masked", False) else {}
    return keras.Model([values, frames], layer(kept, **given))


def check_network(network, rng, lengths=(11, 6, 1), width=6):
    rng_weights = np.random.default_rng(2)
    network.set_weights([value + rng_weights.uniform(0.05, 0.3, value.shape) for value in network.get_weights()])
    values = rng.normal(size=(len(lengths), max(lengths), width)).astype("float32")
    frames = np.array(lengths, "int32")
    expected = network([values, frames], training=False).numpy()
    np.testing.assert_allclose(written(network, width, values, frames), expected, rtol=0, atol=1e-5)


def written(network, width, values, frames):
    graph = Graph("test")
    names = [graph.input("x", "float32", ("b", "t", width)), graph.input("n", "int32", ("b",))]
    (result,) = write_network(graph, network, names)
    graph.output(result, "y", "float32", [None] * len(network.output_shape))
    return run(graph.model({}).SerializeToString(), {"x": values, "n": frames})[0]


K = keras.layers
LAYERS = {
    "gru, reset before": (lambda: layers.GRU(4, return_sequences=True, reset_after=False), True),
    "lstm without bias": (lambda: layers.LSTM(4, return_sequences=True, use_bias=False), True),
    "lstm of other functions": (
        lambda: K.LSTM(4, activation="elu", recurrent_activation="hard_sigmoid", return_sequences=True), False),
    "rnn, linear": (lambda: K.SimpleRNN(3, activation="linear", return_sequences=True), False),
    "last output": (lambda: layers.LSTM(4), True),
    "last output of both": (lambda: K.Bidirectional(layers.GRU(4)), True),
    "backwards": (lambda: layers.GRU(4, go_backwards=True), True),
    "zeros where masked": (lambda: layers.GRU(4, return_sequences=True, zero_output_for_mask=True), True),
    "last output, zeros where masked": (lambda: layers.GRU(4, zero_output_for_mask=True), True),
    "backwards, zeros where masked": (lambda: K.LSTM(4, go_backwards=True, zero_output_for_mask=True), True),
    "both, summed": (lambda: K.Bidirectional(K.LSTM(4, return_sequences=True), merge_mode="sum"), False),
    "both, averaged": (lambda: K.Bidirectional(layers.SimpleRNN(4), merge_mode="ave"), True),
    "mean over time": (lambda: K.GlobalAveragePooling1D(), True),
    "mean over all": (lambda: K.GlobalAveragePooling1D(), False),
    "maximum over time": (lambda: K.GlobalMaxPooling1D(), False),
    "convolution": (lambda: K.Conv1D(4, 3, padding="same", dilation_rate=2, activation="relu"), False),
    "causal convolution": (lambda: K.Conv1D(4, 3, strides=2, padding="causal"), False),
    "pooling": (lambda: K.MaxPooling1D(1, strides=2), False),
    "dense": (lambda: K.Dense(3, activation="softmax"), False),
    "silu": (lambda: K.Dense(3, activation="silu"), False),
    "batch normalization": (lambda: K.BatchNormalization(), False),
    "sequential": (lambda: keras.Sequential([K.Input((None, 6)), K.Dense(4), K.LayerNormalization()]), False),
}  # fmt: skip


@pytest.mark.parametrize(("make", "masked"), LAYERS.values(), ids=LAYERS)
def test_layers_equal_keras(make, masked, rng):
    keras.utils.set_random_seed(3)
    check_network(functional(make(), masked=masked), rng)


def test_operations_between_layers_equal_keras(rng):
    values, frames = keras.Input((None, 6)), keras.Input((), dtype="int32")
    halved = -((-frames) // 2)  # rounds up, by dividing what is negative
    x = keras.ops.concatenate([values[:, :, 1:4], keras.ops.expand_dims(values[:, :, -1], -1)], axis=-1)
    total = keras.ops.sum(keras.ops.where(x > 0, x, 0.5 * x), axis=1)
    count = keras.ops.expand_dims(keras.ops.cast(halved, "float32"), 1)
    check_network(keras.Model([values, frames], total / count), rng)


def test_a_network_within_a_network_and_a_shared_layer(rng):
    dense = K.Dense(6)
    inner_input = keras.Input((None, 6))
    inner = keras.Model(inner_input, dense(K.Activation("tanh")(dense(inner_input))))
    check_network(functional(inner), rng)


@keras.saving.register_keras_serializable(package="tests")
def hard_sigmoid(values):
    """That of Keras 2."""
    return keras.ops.clip(0.2 * values + 0.5, 0, 1)


class Strange(keras.Layer):
    def call(self, values):
        return values


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Strange(name="odd"), "Strange `odd` cannot be exported: no writer is registered for it"),
        (lambda: layers.LSTM(4, stateful=False, return_state=False, name="x", activation="gelu"), "activation=gelu"),
        (
            lambda: layers.LSTM(4, recurrent_activation=hard_sigmoid),
            "recurrent_activation=hard_sigmoid of .*test_export",
        ),
        (lambda: K.Bidirectional(layers.GRU(4, activation=hard_sigmoid)), "activation=hard_sigmoid of .*test_export"),
        (lambda: layers.SimpleRNN(4, activation="softplus"), "activation=softplus"),
        (lambda: K.Conv1D(4, 3, strides=2, padding="same", name="c"), "Conv1D `c`.*depends on the length"),
        (lambda: K.MaxPooling1D(2, padding="same", name="n"), "MaxPooling1D `n`.*must be .valid"),
        (lambda: layers.GRU(4, go_backwards=True, return_sequences=True, name="g"), "GRU `g`.*Bidirectional"),
    ],
)
def test_what_cannot_be_written_is_named(make, said, rng):
    network = functional(make())
    with pytest.raises(ValueError, match=said):
        written(network, 6, np.zeros((1, 3, 6), "float32"), np.array([3], "int32"))


def test_a_network_that_keras_quantized_is_refused():
    network = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(3, name="last")])
    network.get_layer("last").quantize("int8")
    with pytest.raises(ValueError, match="Weight .*last/.* cannot be exported: Keras quantized it, to int8"):
        write_network(Graph("quantized"), network, ["x"])


def test_statistics_that_were_never_measured_are_refused():
    features = LogMel(RATE, num_mels=12, f_min=60, normalize="global")
    network = recurrent_ctc(num_features=12, vocabulary_size=5, units=3, layers=1)
    with pytest.raises(ValueError, match="call `adapt"):
        onnx_bytes(SpeechRecognizer(features, network, VOCABULARY))


# The file


def test_int8_is_smaller_and_near(rng, caplog):
    model = recognizer(LogMel(RATE, num_mels=12, f_min=60))
    big = recurrent_ctc(num_features=12, vocabulary_size=5, units=64, layers=2)
    model = SpeechRecognizer(model.features, big, VOCABULARY)
    whole, small = onnx_bytes(model), onnx_bytes(model, int8=True)
    assert len(small) < 0.55 * len(whole)
    signals = [(0.1 * rng.normal(size=3000)).astype("float32")]
    exact, near = (Session(content).logits(signals)[0] for content in (whole, small))
    assert 0 < np.abs(near - exact).max() < 0.1 * np.ptp(exact)
    assert Session(small).metadata["precision"] == "int8"
    assert caplog.text == ""


def test_int8_says_what_stays_as_it_is(caplog):
    with caplog.at_level("INFO", "speechrnn"):
        content = onnx_bytes(recognizer(FEATURES["log-mel"], cell="gru"), int8=True)
    assert "no int8 kernel for GRU" in caplog.text
    assert Session(content).metadata["precision"] == "float32"


def test_export_writes_beside_the_model_and_replaces_nothing_unasked(tmp_path):
    recognizer(FEATURES["log-mel"], layers=1).save(tmp_path / "m.keras")
    assert export(tmp_path / "m.keras") == str(tmp_path / "m.onnx")
    with pytest.raises(FileExistsError, match="--overwrite"):
        export(tmp_path / "m.keras")
    assert export(tmp_path / "m.keras", int8=True, overwrite=True) == str(tmp_path / "m.onnx")
    assert Session(tmp_path / "m.onnx").metadata["precision"] == "int8"
    with pytest.raises(ValueError, match="must be one of onnx, .*Received: to='coreml'"):
        export(tmp_path / "m.keras", to="coreml")
    with pytest.raises(ValueError, match="m.tflite: has the ending of the format litert. Received: to='onnx'"):
        export(tmp_path / "m.keras", tmp_path / "m.tflite", to="onnx")


# SavedModel


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_savedmodel_gives_the_same_with_built_in_operations_only(cell, rng, tmp_path, monkeypatch):
    model = recognizer(FEATURES["log-mel"], cell=cell, layers=1, convolutions=1)
    folder = export(model, tmp_path / "serving" / "1", to="savedmodel")
    served = tf.saved_model.load(folder).signatures["serving_default"]
    signal, length = ragged(rng)
    found = served(signal=tf.constant(signal), length=tf.constant(length))
    np.testing.assert_allclose(found["logits"], model({"signal": signal, "length": length}), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found["frames"], model.logit_frames({"length": length}))
    saved = SavedModel.FromString((tmp_path / "serving" / "1" / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    operations = {node.op for function in functions for node in function.node_def}
    assert "While" in operations or "StatelessWhile" in operations
    assert not [operation for operation in operations if "Cudnn" in operation or "Xla" in operation]
    assert not [function for function in functions if function.attr["_XlaMustCompile"].b]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "serving" / "1").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(FileExistsError, match="--overwrite"):
        export(model, folder, to="savedmodel")
    if cell == "lstm":  # once more over it, as on a machine with a GPU
        monkeypatch.setattr(savedmodel.tf.config, "list_physical_devices", lambda kind: ["a GPU"])
        export(model, folder, to="savedmodel", overwrite=True)
        again = tf.saved_model.load(folder).signatures["serving_default"]
        found = again(signal=tf.constant(signal), length=tf.constant(length))["logits"]
        np.testing.assert_allclose(found, model({"signal": signal, "length": length}), rtol=0, atol=1e-4)
        assert [path.name for path in (tmp_path / "serving").iterdir()] == ["1"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="is no SavedModel, so it is not replaced"):
        export(model, tmp_path / "mine", to="savedmodel", overwrite=True)
